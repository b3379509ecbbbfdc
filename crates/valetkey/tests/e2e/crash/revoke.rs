//! G15 and G17: the process ends while an account is being disconnected, or a connector deleted. What was answered is
//! final, and the provider is told in the end, of exactly the tokens that ended.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::api::Api;
use crate::support::site::{Kind, Plan, Site, in_vain, on_a_file_and_of_three, on_every_site};
use crate::support::wait::until;

on_every_site! {
    g15_a_disconnect_that_was_not_stored_did_not_happen
}

on_a_file_and_of_three! {
    g15_a_disconnect_that_was_stored_is_final_and_told_to_the_provider_later
    g15_a_revocation_that_was_not_noted_is_made_again
    g17_a_deletion_that_stopped_half_way_leaves_nothing_half_and_goes_on
}

fn disconnection(api: &Api) -> RequestBuilder {
    let path = "/api/actions/connector/api/_oauth_disconnect";
    api.request(Method::POST, path).json(&json!({}))
}

/// Two users are connected; the first process does not survive that one of them goes. The tokens that must end, and those
/// that must not.
async fn disconnect_in_vain(site: &mut Site) -> ([Vec<String>; 2], Api) {
    site.connect(&site.user()).await;
    let ending = site.fake.tokens();
    site.connect(&site.nodes[0].admin().for_user("u2")).await;
    let mut staying = site.fake.tokens();
    staying.retain(|token| !ending.contains(token));
    in_vain(disconnection(&site.user())).await;
    site.crashed().await;
    site.end_leases_of_jobs().await;
    ([ending, staying], site.survivor().await)
}

async fn g15_a_disconnect_that_was_not_stored_did_not_happen(kind: Kind) {
    let Some(mut site) = Plan::on(kind).crash_at("revoke.before_local").build().await else {
        return;
    };
    let (_, user) = disconnect_in_vain(&mut site).await;
    assert_eq!(user.status("api").await, "connected");
    site.is_alive(&user).await;
    assert!(site.fake.revoked().is_empty());
    user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    assert_eq!(user.status("api").await, "not_connected");
    until("the revocation", async || {
        (site.fake.revoked().len() == 2).then_some(())
    })
    .await;
}

/// The connection is over at once, also for those who connect again before the provider was told; then exactly its tokens
/// are revoked.
async fn is_final(mut site: Site) {
    let ([ending, staying], user) = disconnect_in_vain(&mut site).await;
    assert_eq!(user.status("api").await, "not_connected");
    user.token("api").await.refused(409, "authorization_required");
    site.connect(&user).await;
    until("the revocation", async || {
        let revoked = site.fake.revoked();
        ending.iter().all(|token| revoked.contains(token)).then_some(())
    })
    .await;
    until("the record", async || {
        let records = user.audit("token.revoke").await;
        (records.len() == 1 && records[0]["outcome"] == "done").then_some(())
    })
    .await;
    assert!(site.fake.revoked().iter().all(|token| ending.contains(token)));
    assert!(staying.iter().any(|token| site.fake.honours(token)));
    site.is_alive(&user).await;
    site.is_alive(&user.for_user("u2")).await;
}

async fn g15_a_disconnect_that_was_stored_is_final_and_told_to_the_provider_later(kind: Kind) {
    let Some(site) = Plan::on(kind).crash_at("revoke.after_local").build().await else {
        return;
    };
    is_final(site).await;
}

async fn g15_a_revocation_that_was_not_noted_is_made_again(kind: Kind) {
    let Some(site) = Plan::on(kind).crash_at("revoke.after_remote").build().await else {
        return;
    };
    is_final(site).await;
}

/// How many deletions the audit log has.
async fn deletions(api: &Api) -> usize {
    let mut records = api.audit("config.change").await;
    records.retain(|record| record["details"]["change"] == "connector.delete");
    records.len()
}

async fn g17_a_deletion_that_stopped_half_way_leaves_nothing_half_and_goes_on(kind: Kind) {
    let Some(mut site) = Plan::on(kind).crash_at("revoke.after_local:2").build().await else {
        return;
    };
    let users = ["u1", "u2", "u3"];
    for user in users {
        site.connect(&site.nodes[0].admin().for_user(user)).await;
    }
    let tokens = site.fake.tokens();
    let path = "/api/actions/connector/api";
    in_vain(site.user().request(Method::DELETE, path)).await;
    site.crashed().await;
    site.end_leases_of_jobs().await;

    let admin = site.survivor().await;
    admin.get(path).await.expect(200);
    for user in users.map(|user| admin.for_user(user)) {
        match user.status("api").await.as_str() {
            "connected" => assert_eq!(user.call("api", "/api/whoami").await["status"], "ok"),
            status => assert_eq!(status, "not_connected"),
        }
    }
    assert_eq!(deletions(&admin).await, 0);
    admin.delete(path).await.expect(204);
    admin.get(path).await.expect(404);
    until("the revocations", async || {
        let revoked = site.fake.revoked();
        tokens.iter().all(|token| revoked.contains(token)).then_some(())
    })
    .await;
    assert_eq!(deletions(&admin).await, 1);
}
