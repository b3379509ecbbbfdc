//! Three processes on one database: what one does, the others know in time, and none of it happens twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, Owner, ProfileUid, SpaceId, Timestamp};

use crate::support::api::{Answer, Api};
use crate::support::browser::Browser;
use crate::support::grants::Rotation;
use crate::support::site::{Kind, Plan, Site, in_vain};
use crate::support::wait::{together, until};

const LEASE: Duration = Duration::from_millis(1_500);

fn plan() -> Plan {
    Plan::on(Kind::Replicas)
}

fn short_lease(rotation: Rotation) -> Plan {
    plan()
        .rotation(rotation)
        .set("REFRESH_LEASE", format!("{}ms", LEASE.as_millis()))
}

fn token_of(answer: &Answer) -> String {
    answer.expect(200)["access_token"].as_str().expect("a token").to_owned()
}

/// Calls that run while the test does something else.
fn begin(api: &Api, renew: bool) -> JoinSet<Answer> {
    let api = api.clone();
    JoinSet::from_iter([async move {
        if renew {
            api.renew("api").await
        } else {
            api.token("api").await
        }
    }])
}

async fn end(mut calls: JoinSet<Answer>) -> Answer {
    calls.join_next().await.expect("a call").expect("no panic")
}

/// Waits until every process hands out this token.
async fn everywhere(site: &Site, token: &str) {
    for node in 0..site.nodes.len() {
        until("the token everywhere", async || {
            let answer = site.user_at(node).token("api").await;
            (answer.status == 200 && token_of(&answer) == token).then_some(())
        })
        .await;
    }
}

async fn until_asked(site: &Site, requests: usize) {
    until("the request", async || {
        (site.fake.refreshes() == requests).then_some(())
    })
    .await;
}

/// Waits until nobody's lease on the connection of `u1` holds any more.
async fn until_lease_is_over(site: &Site) {
    let store = site.open_store().await;
    let key = ConnectionKey {
        space: SpaceId::default_space(),
        connector: ConnectorId::new("api").expect("an id"),
        owner: Owner::User(ProfileUid::new("u1").expect("a user")),
        name: ConnectionName::default_name(),
    };
    until("the end of the lease", async || {
        let row = store.get_connection(&key).await.expect("a read").expect("a connection");
        let now = store.time().await.expect("a read").expect("a clock");
        row.intent.is_none_or(|intent| intent.lease_until < now).then_some(())
    })
    .await;
}

#[tokio::test]
async fn g36_of_hundreds_of_calls_on_an_expired_token_one_renews_it() {
    let Some(site) = plan().build().await else { return };
    site.connect_expired().await;
    let gate = site.fake.hold_tokens();
    let calls = (0..300).map(|number| {
        let user = site.user_at(number % 3);
        async move { token_of(&user.token("api").await) }
    });
    let open = async {
        until_asked(&site, 1).await;
        gate.open();
    };
    let (tokens, ()) = tokio::join!(together(calls), open);
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(site.fake.refreshes(), 1);
    everywhere(&site, &tokens[0]).await;
    assert_eq!(site.fake.refreshes(), 1);
}

#[tokio::test]
async fn g37_the_late_pair_of_a_process_that_stood_still_is_dropped_when_another_was_stored() {
    let leeway = Rotation::Leeway(Duration::from_secs(600));
    let Some(site) = short_lease(leeway).crash_at("refresh.sent=stop").build().await else {
        return;
    };
    site.connect(&site.user()).await;
    let paused = begin(&site.user(), true);
    until_asked(&site, 1).await;
    let newest = token_of(&site.user_at(1).renew("api").await);
    assert_eq!(site.fake.refreshes(), 2);
    site.nodes[0].signal("CONT").await;
    assert_eq!(token_of(&end(paused).await), newest, "it adopts what is stored");
    everywhere(&site, &newest).await;
    assert_eq!(site.fake.refreshes(), 2);
    assert!(
        site.fake.revoked().is_empty(),
        "many providers would end its siblings with it"
    );
    site.is_alive(&site.user()).await;
}

#[tokio::test]
async fn g37_the_late_pair_of_a_process_that_stood_still_is_stored_when_none_came_between() {
    let plan = short_lease(Rotation::SingleUse).crash_at("refresh.sent=stop");
    // Whoever finds the lease over would try the old token once more.
    let plan = plan.set("OAUTH__BACKGROUND_REFRESHES", "0");
    let Some(site) = plan.build().await else { return };
    site.connect(&site.user()).await;
    let old = site.user().token_text("api").await;
    let paused = begin(&site.user(), true);
    until_asked(&site, 1).await;
    until_lease_is_over(&site).await;
    assert_eq!(site.user_at(1).token_text("api").await, old);
    site.nodes[0].signal("CONT").await;
    let late = token_of(&end(paused).await);
    everywhere(&site, &late).await;
    assert_eq!(site.fake.refreshes(), 1);
    site.is_alive(&site.user_at(1)).await;
}

#[tokio::test]
async fn g37_a_late_pair_mends_a_connection_that_others_had_to_give_up() {
    let plan = short_lease(Rotation::SingleUse).crash_at("refresh.sent=stop");
    let Some(site) = plan.build().await else { return };
    site.connect(&site.user()).await;
    let paused = begin(&site.user(), true);
    until_asked(&site, 1).await;
    let other = site.user_at(1);
    other.renew("api").await.refused(409, "authorization_required");
    assert_eq!(other.status("api").await, "reauthorize refresh_outcome_unknown");
    site.nodes[0].signal("CONT").await;
    let late = token_of(&end(paused).await);
    everywhere(&site, &late).await;
    assert_eq!(
        (other.status("api").await.as_str(), site.fake.refreshes()),
        ("connected", 2)
    );
    site.is_alive(&other).await;
}

#[tokio::test]
async fn g41_while_a_dead_process_holds_the_lease_what_works_is_served_at_once() {
    let plan = plan().set("REFRESH_LEASE", "3s").crash_at("refresh.after_intent");
    let Some(mut site) = plan.build().await else { return };
    site.connect(&site.user()).await;
    let old = site.user().token_text("api").await;
    in_vain(site.user().renewal("api")).await;
    site.crashed().await;
    let died = Instant::now();
    let renewed = begin(&site.user_at(2), true);
    let calls = (0..20).map(|_| {
        let user = site.user_at(1);
        async move { user.token_text("api").await }
    });
    assert!(together(calls).await.iter().all(|token| *token == old));
    assert!(died.elapsed() < Duration::from_secs(2), "{:?}", died.elapsed());
    assert_eq!(site.fake.refreshes(), 0, "the lease holds");
    assert_ne!(token_of(&end(renewed).await), old);
    assert!(died.elapsed() < Duration::from_secs(3 + 3), "{:?}", died.elapsed());
    assert_eq!(site.fake.refreshes(), 1);
}

#[tokio::test]
async fn g42_what_is_due_is_renewed_once_by_one_of_three() {
    let Some(site) = plan().build().await else { return };
    let users: Vec<_> = (0..12).map(|number| format!("user-{number}")).collect();
    for (number, user) in users.iter().enumerate() {
        site.connect(&site.nodes[number % 3].admin().for_user(user)).await;
    }
    let first = site.fake.tokens();
    // An hour is nearly over.
    site.let_time_pass(Duration::from_secs(3_570)).await;
    let store = site.open_store().await;
    until("nothing to be due", async || {
        let due = store.list_due(Timestamp(i64::MAX), &[], 100).await.expect("a list");
        let soon = store
            .time()
            .await
            .expect("a read")
            .expect("a clock")
            .plus(Duration::from_secs(600));
        due.iter().all(|due| due.due_at > soon).then_some(())
    })
    .await;
    let requests = site.fake.grants("refresh_token");
    let sent: BTreeSet<_> = requests
        .iter()
        .map(|seen| seen.form()["refresh_token"].clone())
        .collect();
    assert_eq!(
        (requests.len(), sent.len()),
        (users.len(), users.len()),
        "each of them once"
    );
    for (number, user) in users.iter().enumerate() {
        let api = site.nodes[(number + 1) % 3].admin().for_user(user);
        until("the new token", async || {
            (!first.contains(&api.token_text("api").await)).then_some(())
        })
        .await;
    }
    assert_eq!(site.fake.refreshes(), users.len());
}

/// Begins a renewal at the first process, ends the connection at another one while the provider's answer is held back, and
/// makes sure that it stays ended and that what came late was revoked.
async fn ended_meanwhile(site: &Site, ending: impl AsyncFnOnce(&Api)) {
    site.connect(&site.user()).await;
    let gate = site.fake.hold_tokens();
    let renewing = begin(&site.user(), true);
    until_asked(site, 1).await;
    let late: Vec<_> = site.fake.tokens().into_iter().rev().take(2).collect();
    ending(&site.user_at(1)).await;
    gate.open();
    let answer = end(renewing).await;
    assert_ne!(answer.status, 200, "{}", answer.text());
    until("the revocation of what came late", async || {
        let revoked = site.fake.revoked();
        late.iter().all(|token| revoked.contains(token)).then_some(())
    })
    .await;
    assert!(late.iter().all(|token| !site.fake.honours(token)));
}

#[tokio::test]
async fn g43_a_disconnect_at_one_process_is_final_for_a_renewal_at_another() {
    let Some(site) = plan().build().await else { return };
    ended_meanwhile(&site, async |other| {
        other.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    })
    .await;
    for node in 0..3 {
        assert_eq!(site.user_at(node).status("api").await, "not_connected");
        site.user_at(node)
            .token("api")
            .await
            .refused(409, "authorization_required");
    }
}

#[tokio::test]
async fn g43_a_deletion_at_one_process_is_final_for_a_renewal_at_another() {
    let Some(site) = plan().build().await else { return };
    ended_meanwhile(&site, async |other| {
        other.delete("/api/actions/connector/api").await.expect(204);
        // The first process knows of it as well, before the provider answers it.
        until("the end at the other process", async || {
            (site.user().token("api").await.status == 404).then_some(())
        })
        .await;
    })
    .await;
    for node in 0..3 {
        until("the end everywhere", async || {
            (site.user_at(node).token("api").await.status == 404).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn g44_whoever_connects_again_at_one_process_wins_over_a_renewal_at_another() {
    let Some(site) = plan().build().await else { return };
    site.connect(&site.user()).await;
    let gate = site.fake.hold_tokens();
    let renewing = begin(&site.user(), true);
    until_asked(&site, 1).await;
    site.fake.hold_no_more();
    site.connect(&site.user_at(1)).await;
    let token = site.user_at(1).token_text("api").await;
    gate.open();
    end(renewing).await.expect(200);
    everywhere(&site, &token).await;
    assert_eq!(site.user_at(2).call("api", "/api/whoami").await["status"], "ok");
    assert_eq!(site.fake.refreshes(), 1);
    site.is_alive(&site.user()).await;
}

#[tokio::test]
async fn g45_a_connector_that_is_changed_at_one_process_is_another_one_everywhere_soon_after() {
    let Some(site) = plan().build().await else { return };
    site.connect(&site.user()).await;
    for node in 0..3 {
        site.user_at(node).token("api").await.expect(200);
    }
    let mut changed = site.connector(&json!({"clientId": "another-client"}));
    changed.as_object_mut().expect("an object").remove("connector_type_id");
    site.user()
        .put("/api/actions/connector/api", &changed)
        .await
        .expect(200);
    let start = Instant::now();
    for node in 0..3 {
        until("the change", async || {
            let answer = site.user_at(node).token("api").await;
            (answer.status == 409).then_some(())
        })
        .await;
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(site.fake.refreshes(), 0);
}

#[tokio::test]
async fn a_key_that_is_deleted_at_one_process_is_refused_everywhere_soon_after() {
    let Some(site) = plan().build().await else { return };
    let key = site.user().make_key(&["connectors:read"], json!({})).await;
    let at = |node: usize| site.user_at(node).with_key(&key.key);
    for node in 0..3 {
        at(node).get("/api/actions/connectors").await.expect(200);
    }
    let id = {
        let keys = site.user().get("/api/security/api_keys").await.expect(200);
        let keys = keys.as_array().expect("keys").clone();
        let made = keys
            .into_iter()
            .find(|key| key["name"] == "a key of a test")
            .expect("the key");
        made["id"].as_str().expect("an id").to_owned()
    };
    site.user()
        .delete(&format!("/api/security/api_keys/{id}"))
        .await
        .expect(204);
    let start = Instant::now();
    for node in 0..3 {
        until("the refusal", async || {
            (at(node).get("/api/actions/connectors").await.status == 401).then_some(())
        })
        .await;
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_token_is_not_served_for_longer_than_a_second_after_a_disconnect_elsewhere() {
    let Some(site) = plan().build().await else { return };
    site.connect(&site.user()).await;
    for node in 0..3 {
        site.user_at(node).token("api").await.expect(200);
    }
    site.user().on("api", "_oauth_disconnect", json!({})).await.expect(204);
    let start = Instant::now();
    for node in 0..3 {
        let user = site.user_at(node);
        until("the end", async || {
            let asked = start.elapsed();
            let answer = user.token("api").await;
            assert!(
                answer.status == 409 || asked < Duration::from_secs(1),
                "still served after {asked:?}"
            );
            (answer.status == 409).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a51_limits_are_exact_over_three_processes() {
    let Some(site) = plan().set("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "10").build().await else {
        return;
    };
    let starts = (0..30).map(|number| {
        let user = site.user_at(number % 3);
        async move { user.on("api", "_start_oauth_flow", json!({})).await.status }
    });
    let mut statuses = together(starts).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 10], [429; 10], [429; 10]].concat());
}

#[tokio::test]
async fn a56_a_flow_that_one_process_began_is_finished_by_another() {
    let Some(mut site) = plan().build().await else { return };
    let started = site.user().start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&started.url).await;
    site.nodes[0].kill().await;
    let user = site.survivor().await;
    browser.open(callback.as_str()).await.connected();
    assert_eq!(user.status("api").await, "connected");
    let third = site.user_at(2);
    assert_eq!(third.call("api", "/api/whoami").await["status"], "ok");
    assert_eq!(site.fake.exchanges(), 1);
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
}

#[tokio::test]
async fn g62_three_processes_that_start_together_make_one_store() {
    let Some(site) = plan().build().await else { return };
    let keys = site.user().get("/api/security/api_keys").await.expect(200);
    assert_eq!(keys.as_array().expect("keys").len(), 1, "{keys}");
    site.connect(&site.user_at(2)).await;
    let token = site.user_at(2).token_text("api").await;
    everywhere(&site, &token).await;
}
