//! G09 to G14: the process ends, or is not told what it did, while a token is being renewed. What the provider still
//! honours is never lost; what it no longer honours is told as it is.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::api::Api;
use crate::support::grants::Rotation;
use crate::support::site::{Kind, Plan, Site, in_vain, on_a_file_and_of_three, on_every_site};
use crate::support::wait::until;

on_every_site! {
    g09_a_lease_whose_holder_died_is_taken_over
    g11_a_lost_answer_of_a_token_that_works_once_is_told_as_what_it_is
    g13_a_pair_that_was_stored_is_in_use_although_nobody_was_told
    g14_a_write_that_was_not_acknowledged_is_recognised
    g20_a_pair_that_only_the_journal_has_is_taken_up
}

on_a_file_and_of_three! {
    g10_an_intent_that_was_never_sent_is_sent_by_whoever_takes_it_over
    g10_a_family_is_not_risked_while_its_token_works_and_saved_afterwards
    g11_a_lost_answer_is_asked_for_again_where_a_token_works_for_a_while
    g11_a_lost_answer_does_no_harm_to_a_token_that_stays
    g11_a_lost_answer_is_given_again_where_answers_repeat
    g11_past_that_while_the_outcome_is_unknown
    g11_a_family_that_is_lost_serves_its_token_to_the_end
    g12_an_answer_that_was_not_stored_is_as_good_as_lost
    g12_an_answer_that_was_not_stored_is_asked_for_again
}

const LEASE: Duration = Duration::from_millis(1_500);

fn plan(kind: Kind, point: &'static str, rotation: Rotation) -> Plan {
    Plan::on(kind)
        .crash_at(point)
        .rotation(rotation)
        .set("REFRESH_LEASE", format!("{}ms", LEASE.as_millis()))
}

/// A connected account whose renewal the first process does not survive. The token that it had, and where life goes on.
async fn renew_in_vain(site: &mut Site) -> (String, Api) {
    site.connect(&site.user()).await;
    let old = site.user().token_text("api").await;
    in_vain(site.user().renewal("api")).await;
    site.crashed().await;
    (old, site.survivor().await)
}

/// The records of renewals that brought a pair.
async fn renewals(api: &Api) -> Vec<Value> {
    let mut records = api.audit("token.refresh").await;
    records.retain(|record| record["outcome"] == "ok");
    records
}

/// Makes sure that the lost connection says what happened to it, that nothing is tried any more, and that a person can
/// mend it.
async fn is_over(site: &Site, user: &Api) {
    let requests = site.fake.refreshes();
    let refused = user.token("api").await.refused(409, "authorization_required");
    assert_eq!(refused["authorization"]["reason"], "refresh_outcome_unknown");
    assert_eq!(user.status("api").await, "reauthorize refresh_outcome_unknown");
    assert_eq!(site.fake.refreshes(), requests);
    assert!(!site.honours_what_was_sent(), "a grant was given up that lives");
    assert_eq!(user.last_outcome("token.refresh").await, "refresh_outcome_unknown");
    site.connect(user).await;
    site.is_alive(user).await;
}

async fn g09_a_lease_whose_holder_died_is_taken_over(kind: Kind) {
    let Some(mut site) = plan(kind, "refresh.after_lease", Rotation::SingleUse).build().await else {
        return;
    };
    site.connect_expired().await;
    in_vain(site.user().token_request("api")).await;
    site.crashed().await;
    let died = Instant::now();
    let user = site.survivor().await;
    let first = user.token("api").await.expect(200);
    // G41: no longer than the lease, and a little for the work.
    assert!(died.elapsed() < LEASE + Duration::from_secs(4), "{:?}", died.elapsed());
    assert_eq!(user.token("api").await.expect(200), first);
    assert_eq!(site.fake.refreshes(), 1);
    let records = renewals(&user).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["details"]["recovered"], true, "{records:?}");
    site.is_alive(&user).await;
}

async fn g10_an_intent_that_was_never_sent_is_sent_by_whoever_takes_it_over(kind: Kind) {
    let Some(mut site) = plan(kind, "refresh.after_intent", Rotation::SingleUse).build().await else {
        return;
    };
    let (old, user) = renew_in_vain(&mut site).await;
    assert_eq!(site.fake.refreshes(), 0);
    let renewed = user.renew("api").await.expect(200);
    assert_ne!(renewed["access_token"], old.as_str());
    assert_eq!(site.fake.refreshes(), 1);
    site.is_alive(&user).await;
}

async fn g10_a_family_is_not_risked_while_its_token_works_and_saved_afterwards(kind: Kind) {
    let plan = plan(kind, "refresh.after_intent", Rotation::RevokesFamily);
    let Some(mut site) = plan.build().await else { return };
    site.fake.set_lifetime(4);
    let (old, user) = renew_in_vain(&mut site).await;
    assert_eq!(user.token_text("api").await, old);
    assert_eq!(site.fake.refreshes(), 0, "whoever sent it might have");
    site.fake.wait_for_expiry().await;
    site.fake.set_lifetime(3600);
    until("the pause to be over", async || {
        (user.token("api").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(site.fake.refreshes(), 1);
    site.is_alive(&user).await;
}

async fn g11_a_lost_answer_of_a_token_that_works_once_is_told_as_what_it_is(kind: Kind) {
    let Some(mut site) = plan(kind, "refresh.sent", Rotation::SingleUse).build().await else {
        return;
    };
    let (old, user) = renew_in_vain(&mut site).await;
    assert_eq!(
        user.token_text("api").await,
        old,
        "it works, and nothing says otherwise"
    );
    user.renew("api").await.refused(409, "authorization_required");
    assert_eq!(
        site.fake.refreshes(),
        2,
        "sent again once: had the provider not acted, that would have saved it"
    );
    is_over(&site, &user).await;
}

async fn g11_a_lost_answer_is_asked_for_again_where_a_token_works_for_a_while(kind: Kind) {
    let leeway = Rotation::Leeway(Duration::from_secs(600));
    let Some(mut site) = plan(kind, "refresh.sent", leeway).build().await else {
        return;
    };
    saved(&mut site).await;
}

/// The provider gave a pair out that nobody has; asked again, it gives out another one.
async fn saved(site: &mut Site) {
    let (old, user) = renew_in_vain(site).await;
    assert_eq!(site.fake.refreshes(), 1);
    let renewed = user.renew("api").await.expect(200);
    assert_ne!(renewed["access_token"], old.as_str());
    assert_eq!(site.fake.refreshes(), 2);
    let records = renewals(&user).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["details"]["recovered"], true, "{records:?}");
    site.is_alive(&user).await;
}

async fn g11_a_lost_answer_does_no_harm_to_a_token_that_stays(kind: Kind) {
    let Some(mut site) = plan(kind, "refresh.sent", Rotation::Never).build().await else {
        return;
    };
    saved(&mut site).await;
}

async fn g11_a_lost_answer_is_given_again_where_answers_repeat(kind: Kind) {
    let Some(mut site) = plan(kind, "refresh.sent", Rotation::Idempotent).build().await else {
        return;
    };
    saved(&mut site).await;
}

async fn g11_past_that_while_the_outcome_is_unknown(kind: Kind) {
    let leeway = Rotation::Leeway(Duration::from_secs(1));
    let Some(mut site) = plan(kind, "refresh.sent", leeway).build().await else {
        return;
    };
    let (_, user) = renew_in_vain(&mut site).await;
    // The while is over at the provider, whatever the connector was told.
    site.fake.set_rotation(Rotation::SingleUse);
    user.renew("api").await.refused(409, "authorization_required");
    assert_eq!(site.fake.refreshes(), 2);
    is_over(&site, &user).await;
}

async fn g11_a_family_that_is_lost_serves_its_token_to_the_end(kind: Kind) {
    let plan = plan(kind, "refresh.sent", Rotation::RevokesFamily);
    let Some(mut site) = plan.build().await else { return };
    site.fake.set_lifetime(4);
    let (old, user) = renew_in_vain(&mut site).await;
    assert_eq!(user.token_text("api").await, old);
    assert_eq!(
        user.call("api", "/api/whoami").await["status"],
        "ok",
        "it was not risked"
    );
    assert_eq!(site.fake.refreshes(), 1);
    site.fake.wait_for_expiry().await;
    site.fake.set_lifetime(3600);
    until("the last attempt", async || {
        let answer = user.token("api").await;
        (answer.status == 409).then_some(())
    })
    .await;
    assert_eq!(site.fake.refreshes(), 2);
    is_over(&site, &user).await;
}

async fn g12_an_answer_that_was_not_stored_is_as_good_as_lost(kind: Kind) {
    let plan = plan(kind, "refresh.after_response", Rotation::SingleUse);
    let Some(mut site) = plan.build().await else { return };
    let (_, user) = renew_in_vain(&mut site).await;
    user.renew("api").await.refused(409, "authorization_required");
    assert_eq!(site.fake.refreshes(), 2);
    is_over(&site, &user).await;
}

async fn g12_an_answer_that_was_not_stored_is_asked_for_again(kind: Kind) {
    let leeway = Rotation::Leeway(Duration::from_secs(600));
    let Some(mut site) = plan(kind, "refresh.after_response", leeway).build().await else {
        return;
    };
    saved(&mut site).await;
}

async fn g13_a_pair_that_was_stored_is_in_use_although_nobody_was_told(kind: Kind) {
    let Some(mut site) = plan(kind, "refresh.after_commit", Rotation::SingleUse).build().await else {
        return;
    };
    let (old, user) = renew_in_vain(&mut site).await;
    let new = user.token_text("api").await;
    assert_ne!(new, old);
    assert_eq!(user.call("api", "/api/whoami").await["status"], "ok");
    assert_eq!((site.fake.refreshes(), renewals(&user).await.len()), (1, 1));
    // The intent ended with the write: what follows is a renewal like any other, and at once.
    let start = Instant::now();
    user.renew("api").await.expect(200);
    assert!(start.elapsed() < LEASE, "{:?}", start.elapsed());
    let records = renewals(&user).await;
    assert!(
        records.iter().all(|record| record["details"]["recovered"].is_null()),
        "{records:?}"
    );
    assert_eq!((site.fake.refreshes(), records.len()), (2, 2));
}

async fn g14_a_write_that_was_not_acknowledged_is_recognised(kind: Kind) {
    let plan = plan(kind, "refresh.commit_ack_lost=fail", Rotation::SingleUse);
    let Some(site) = plan.build().await else { return };
    site.connect(&site.user()).await;
    let user = site.user();
    let renewed = user.renew("api").await.expect(200);
    until("the second write", async || {
        let metrics = user.metrics().await;
        metrics.contains("outcome=\"recognised\"} 1").then_some(())
    })
    .await;
    assert_eq!((site.fake.refreshes(), renewals(&user).await.len()), (1, 1));
    for node in 0..site.nodes.len() {
        assert_eq!(site.user_at(node).token_text("api").await, renewed["access_token"]);
    }
    assert_eq!(site.fake.refreshes(), 1);
    site.is_alive(&user).await;
}

async fn g20_a_pair_that_only_the_journal_has_is_taken_up(kind: Kind) {
    let plan = plan(
        kind,
        "refresh.after_response=fail,rescue.after_keep",
        Rotation::SingleUse,
    );
    let Some(mut site) = plan.build().await else { return };
    site.connect(&site.user()).await;
    let old = site.user().token_text("api").await;
    in_vain(site.user().renewal("api")).await;
    site.crashed().await;
    site.revive().await;
    let new = site.user().token_text("api").await;
    assert_ne!(new, old);
    until("the write", async || {
        (renewals(&site.user()).await.len() == 1).then_some(())
    })
    .await;
    for node in 0..site.nodes.len() {
        assert_eq!(site.user_at(node).token_text("api").await, new);
    }
    assert_eq!(site.fake.refreshes(), 1);
    let rescue = site.nodes[0].setup.data_dir().join("rescue");
    until("the end of the entry", async || {
        let entries = std::fs::read_dir(&rescue).expect("a journal");
        (entries.count() == 1).then_some(())
    })
    .await;
    site.is_alive(&site.user()).await;
}
