//! A database that is cut off, swallows what it is sent, is read-only or restarted: what is fresh is still served, what
//! must be written is refused, what was answered is kept, and all of it mends itself.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::api::{Answer, Api, client};
use crate::support::browser::{Browser, Page};
use crate::support::database::{Database, own_pair, own_server};
use crate::support::link::Way;
use crate::support::site::{Kind, Plan, Site};
use crate::support::stage::Stage;
use crate::support::valetkey::{Setup, Valetkey};
use crate::support::wait::{together, until, within};

async fn linked(kind: Kind, lease: &str) -> Option<Site> {
    let site = Plan::on(kind).linked().set("REFRESH_LEASE", lease).build().await?;
    site.connect(&site.user()).await;
    Some(site)
}

fn set(site: &Site, way: Way) {
    site.link.as_ref().expect("a link").set(way);
}

async fn health(valetkey: &Valetkey, path: &str) -> u16 {
    let answer = Answer::to(client().get(format!("{}{path}", valetkey.base()))).await;
    answer.status
}

/// Makes sure that the process tells of the outage: it lives, is not ready, writes nothing and says when to come again.
async fn is_degraded(valetkey: &Valetkey, user: &Api) {
    assert_eq!(
        (health(valetkey, "/healthz").await, health(valetkey, "/readyz").await),
        (200, 503)
    );
    for refused in [
        user.on("api", "_start_oauth_flow", json!({})).await,
        user.renew("api").await,
    ] {
        refused.refused(503, "store_unavailable");
        assert!(refused.retry_after() >= 1);
    }
}

async fn until_ready(valetkey: &Valetkey) {
    let start = Instant::now();
    until("the service to be ready", async || {
        (health(valetkey, "/readyz").await == 200).then_some(())
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

async fn until_renewed(user: &Api) -> String {
    let answer = until("a renewal", async || {
        Some(user.renew("api").await).filter(|a| a.status == 200)
    })
    .await;
    answer.expect(200)["access_token"].as_str().expect("a token").to_owned()
}

/// Begins a renewal at the first process; what the provider answers is held back until the way to the database is this.
async fn renew_while(site: &Site, way: Way) -> Answer {
    let gate = site.fake.hold_tokens();
    let user = site.user();
    let mut asking = JoinSet::from_iter([async move { user.renew("api").await }]);
    until("the request", async || (site.fake.refreshes() == 1).then_some(())).await;
    set(site, way);
    gate.open();
    asking.join_next().await.expect("a call").expect("no panic")
}

fn token_of(answer: &Answer) -> String {
    answer.expect(200)["access_token"].as_str().expect("a token").to_owned()
}

async fn renewals(user: &Api) -> usize {
    let mut records = user.audit("token.refresh").await;
    records.retain(|record| record["outcome"] == "ok");
    records.len()
}

#[tokio::test]
async fn g27_a_database_that_is_down_costs_no_token_and_no_restart() {
    let Some(site) = linked(Kind::Database, "30s").await else {
        return;
    };
    let (first, user) = (&site.nodes[0], site.user());
    let token = user.token_text("api").await;
    set(&site, Way::Cut);
    let start = Instant::now();
    is_degraded(first, &user).await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(site.fake.refreshes(), 0, "nothing is provoked that cannot be stored");
    let calls = (0..50).map(|_| {
        let user = user.clone();
        async move { user.token_text("api").await }
    });
    assert!(together(calls).await.iter().all(|served| *served == token));
    assert_eq!(user.call("api", "/api/whoami").await["status"], "ok");

    set(&site, Way::Open);
    until_ready(first).await;
    assert_ne!(until_renewed(&user).await, token);
    assert_eq!(site.fake.refreshes(), 1);
}

#[tokio::test]
async fn g20_a_pair_that_the_database_did_not_take_is_served_and_written_when_it_is_back() {
    let Some(site) = linked(Kind::Replicas, "20s").await else {
        return;
    };
    let (user, other) = (site.user(), site.user_at(1));
    let old = user.token_text("api").await;
    let new = token_of(&renew_while(&site, Way::Cut).await);
    assert_ne!(new, old);
    assert_eq!(user.token_text("api").await, new, "from memory");
    assert_eq!(user.call("api", "/api/whoami").await["status"], "ok");
    // G40: the others serve what they have, and do not spend the refresh token a second time.
    assert_eq!(other.token_text("api").await, old);
    let early = tokio::time::timeout(Duration::from_millis(500), other.renew("api")).await;
    assert!(early.is_err(), "the lease is not over, and nobody has a newer token");

    set(&site, Way::Open);
    for node in 0..3 {
        until("the token everywhere", async || {
            (site.user_at(node).token_text("api").await == new).then_some(())
        })
        .await;
    }
    assert_eq!((site.fake.refreshes(), renewals(&other).await), (1, 1));
    until_ready(&site.nodes[0]).await;
    site.is_alive(&user).await;
}

#[tokio::test]
async fn g40_a_process_that_was_cut_off_for_longer_than_its_lease_heals_what_others_had_to_give_up() {
    let Some(site) = linked(Kind::Replicas, "1500ms").await else {
        return;
    };
    let (user, other) = (site.user(), site.user_at(1));
    let new = token_of(&renew_while(&site, Way::Cut).await);
    // The lease is over: whoever takes it cannot know that somebody has the pair.
    let told = until("the end of the lease", async || {
        Some(other.renew("api").await).filter(|a| a.status != 200)
    })
    .await;
    told.refused(409, "authorization_required");
    assert_eq!(other.status("api").await, "reauthorize refresh_outcome_unknown");
    assert_eq!(user.token_text("api").await, new, "it still has it");
    set(&site, Way::Open);
    until("the write", async || {
        (other.status("api").await == "connected").then_some(())
    })
    .await;
    for node in 0..3 {
        until("the token everywhere", async || {
            let answer = site.user_at(node).token("api").await;
            (answer.status == 200 && token_of(&answer) == new).then_some(())
        })
        .await;
    }
    assert_eq!(site.fake.refreshes(), 2);
    site.is_alive(&other).await;
}

#[tokio::test]
async fn g14_a_commit_whose_acknowledgement_is_lost_on_the_way_is_recognised() {
    let Some(site) = linked(Kind::Replicas, "20s").await else {
        return;
    };
    let (user, other) = (site.user(), site.user_at(1));
    let old = user.token_text("api").await;
    let new = token_of(&renew_while(&site, Way::Deaf).await);
    assert_eq!(user.token_text("api").await, new, "from memory");
    until("the write, at another process", async || {
        let seen = other.token_text("api").await;
        (seen != old).then_some(()).inspect(|()| assert_eq!(seen, new))
    })
    .await;
    set(&site, Way::Open);
    until("the second write", async || {
        let metrics = user.metrics().await;
        metrics.contains("outcome=\"recognised\"} 1").then_some(())
    })
    .await;
    assert_eq!((site.fake.refreshes(), renewals(&other).await), (1, 1));
    site.is_alive(&user).await;
}

#[tokio::test]
async fn g28_a_database_that_swallows_everything_is_as_good_as_down() {
    let Some(site) = linked(Kind::Database, "30s").await else {
        return;
    };
    let user = site.user();
    let token = user.token_text("api").await;
    set(&site, Way::Silent);
    let start = Instant::now();
    let calls = (0..40).map(|number| {
        let user = user.clone();
        async move {
            if number % 4 == 0 {
                let started = user.on("api", "_start_oauth_flow", json!({})).await;
                started.refused(503, "store_unavailable");
            } else {
                assert_eq!(user.token("api").await.status, 200);
            }
        }
    });
    together(calls).await;
    // The time to notice it, however many wait.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(site.fake.refreshes(), 0);
    set(&site, Way::Open);
    until_ready(&site.nodes[0]).await;
    assert_ne!(until_renewed(&user).await, token);
}

/// The first request notices that nobody answers, and the others know it; both are quick.
#[tokio::test]
async fn g27_a_database_that_answers_nobody_costs_a_request_less_than_a_second() {
    let Some(site) = linked(Kind::Database, "30s").await else {
        return;
    };
    let (first, user) = (&site.nodes[0], site.user());
    for round in 1..=2 {
        let token = user.token_text("api").await;
        set(&site, Way::Silent);
        for _ in 0..3 {
            for name in ["renew", "_start_oauth_flow"] {
                let start = Instant::now();
                let refused = match name {
                    "renew" => user.renew("api").await,
                    start => user.on("api", start, json!({})).await,
                };
                assert!(
                    start.elapsed() < Duration::from_secs(1),
                    "{name}: {:?}",
                    start.elapsed()
                );
                refused.refused(503, "store_unavailable");
                assert!(refused.retry_after() >= 1);
            }
            let start = Instant::now();
            assert_eq!(user.token_text("api").await, token);
            assert_eq!(
                (health(first, "/healthz").await, health(first, "/readyz").await),
                (200, 503)
            );
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        }
        assert_eq!(site.fake.refreshes(), round - 1);
        set(&site, Way::Open);
        until_ready(first).await;
        assert_ne!(until_renewed(&user).await, token);
    }
}

#[tokio::test]
async fn g26_a_database_that_is_read_only_is_read_and_costs_no_token() {
    let Some(database) = Database::new().await else { return };
    let stage = Stage::per_user_with(Setup::new().set("DATABASE_URL", &database.url())).await;
    stage.connect(&stage.user, "api").await;
    let token = stage.user.token_text("api").await;
    database.set_read_only(true).await;
    is_degraded(&stage.valetkey, &stage.user).await;
    assert_eq!(stage.fake.refreshes(), 0);
    assert_eq!(stage.user.token_text("api").await, token);
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    assert_eq!(stage.user.status("api").await, "connected", "from the database");
    database.set_read_only(false).await;
    until_ready(&stage.valetkey).await;
    assert_ne!(until_renewed(&stage.user).await, token);
    assert_eq!(stage.fake.refreshes(), 1);
}

/// What callers see while a server is restarted: the calls that succeeded, and whatever else was answered.
async fn load(user: Api, until: Instant) -> Vec<u16> {
    let mut others = Vec::new();
    while Instant::now() < until {
        assert_eq!(user.token("api").await.status, 200, "what is fresh is served all along");
        let renewed = user.renew("api").await;
        if renewed.status != 200 {
            others.push(renewed.status);
        }
    }
    others
}

#[tokio::test]
async fn g27_a_server_that_is_restarted_under_load_loses_nothing() {
    let Some((server, _dir)) = own_server() else { return };
    let stage = Stage::per_user_with(Setup::new().set("DATABASE_URL", &server.url())).await;
    let users: Vec<_> = (0..4).map(|n| stage.admin.for_user(&format!("user-{n}"))).collect();
    for user in &users {
        stage.connect(user, "api").await;
    }
    let end = Instant::now() + Duration::from_millis(2_500);
    let callers: JoinSet<_> = users.iter().cloned().map(|user| load(user, end)).collect();
    let server = tokio::task::spawn_blocking(move || {
        server.down().expect("stopped");
        server.up().expect("started");
        server
    });
    let server = server.await.expect("a server");
    let failed: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    assert!(failed.iter().all(|status| *status == 503), "{failed:?}");
    until_ready(&stage.valetkey).await;
    for user in &users {
        assert_eq!(user.status("api").await, "connected");
        until_renewed(user).await;
        assert_eq!(user.call("api", "/api/whoami").await["status"], "ok");
    }
    drop(stage);
    drop(server);
}

/// Renews without a pause; the token that was answered last.
async fn renew_for(user: Api, until: Instant) -> Option<String> {
    let mut last = None;
    while Instant::now() < until {
        let renewed = user.renew("api").await;
        match renewed.status {
            200 => last = Some(token_of(&renewed)),
            503 => {}
            status => panic!("{status}"),
        }
    }
    last
}

/// The provider takes each refresh token once: had a write been lost, the token of before would be sent again, and refused.
#[tokio::test]
async fn g29_a_synchronous_standby_that_is_promoted_has_everything_that_was_confirmed() {
    let Some(([primary, standby], url)) = own_pair() else {
        return;
    };
    let stage = Stage::per_user_with(Setup::new().set("DATABASE_URL", &url)).await;
    let users: Vec<_> = (0..4).map(|n| stage.admin.for_user(&format!("user-{n}"))).collect();
    for user in &users {
        stage.connect(user, "api").await;
    }
    let before = stage.fake.refreshes();
    let end = Instant::now() + Duration::from_secs(4);
    let renewing: JoinSet<_> = users.iter().cloned().map(|user| renew_for(user, end)).collect();
    until("renewals", async || (stage.fake.refreshes() > before + 8).then_some(())).await;
    let servers = tokio::task::spawn_blocking(move || {
        primary.0.crash().expect("ended");
        standby.0.promote().expect("promoted");
        (primary, standby)
    });
    let servers = servers.await.expect("servers");
    let renewed = renewing.join_all().await.into_iter().flatten().count();
    assert_eq!(renewed, users.len(), "each was renewed");
    until_ready(&stage.valetkey).await;
    for user in &users {
        assert_eq!(user.status("api").await, "connected");
        until_renewed(user).await;
        assert_eq!(user.call("api", "/api/whoami").await["status"], "ok");
    }
    assert!(stage.fake.refreshes() > before + 8 + users.len(), "they went on");
    drop(stage);
    drop(servers);
}

/// A person comes back from the provider; the way to the database is this when the provider's answer comes.
async fn call_back_while(site: &Site, way: Way) -> JoinSet<Page> {
    let exchanges = site.fake.exchanges();
    let started = site.user().start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&started.url).await.to_string();
    let gate = site.fake.hold_tokens();
    let opening = JoinSet::from_iter([async move { browser.open(&callback).await }]);
    until("the exchange", async || {
        (site.fake.exchanges() > exchanges).then_some(())
    })
    .await;
    set(site, way);
    gate.open();
    site.fake.hold_no_more();
    let first = &site.nodes[0];
    until("a write that fails", async || {
        first
            .output()
            .contains("a new grant cannot be stored yet")
            .then_some(())
    })
    .await;
    opening
}

#[tokio::test]
async fn g20_a_grant_that_the_database_did_not_take_at_once_is_stored_when_it_is_back() {
    for way in [Way::Cut, Way::Deaf] {
        let Some(site) = linked(Kind::Database, "30s").await else {
            return;
        };
        let user = site.user();
        let token = user.token_text("api").await;
        let opening = call_back_while(&site, way).await;
        set(&site, Way::Open);
        for page in within("the page", opening.join_all()).await {
            page.connected();
        }
        assert_eq!(user.audit("flow.complete").await.len(), 2, "the first one and this one");
        assert_ne!(user.token_text("api").await, token);
        assert_eq!(site.fake.exchanges(), 2);
        site.is_alive(&user).await;
    }
}

#[tokio::test]
async fn g14_a_grant_whose_write_was_not_acknowledged_is_recognised() {
    let plan = Plan::on(Kind::Database).crash_at("exchange.after_commit=fail");
    let Some(site) = plan.build().await else { return };
    let user = site.user();
    site.connect(&user).await;
    assert_eq!(user.audit("flow.complete").await.len(), 1);
    site.is_alive(&user).await;
}

#[tokio::test]
async fn g07_a_grant_that_the_database_never_took_left_nothing() {
    let Some(mut site) = linked(Kind::Database, "30s").await else {
        return;
    };
    let token = site.user().token_text("api").await;
    let opening = call_back_while(&site, Way::Cut).await;
    site.nodes[0].kill().await;
    drop(opening);
    set(&site, Way::Open);
    site.revive().await;
    assert_eq!(site.user().audit("flow.complete").await.len(), 1, "only the first one");
    assert_eq!(site.user().token_text("api").await, token, "what there was stays");
    site.is_alive(&site.user()).await;
}
