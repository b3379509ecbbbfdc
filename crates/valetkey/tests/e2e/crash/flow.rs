//! G01 to G08: the process ends while an account is being connected.

use reqwest::Method;
use serde_json::json;

use crate::support::api::Api;
use crate::support::browser::Browser;
use crate::support::site::{Kind, Plan, Site, in_vain, on_every_site};
use crate::support::wait::until;

on_every_site! {
    g01_a_flow_that_was_not_stored_leaves_nothing
    g02_a_flow_whose_start_nobody_was_told_ends_by_itself
    g03_a_callback_before_the_flow_was_taken_can_be_repeated_once
    g04_a_flow_that_was_taken_asks_to_begin_again_and_keeps_what_there_was
    g05_tokens_that_were_never_read_change_nothing_here
    g06_tokens_that_were_not_stored_change_nothing_here
    g08_a_connection_that_was_stored_is_there_although_nobody_was_told
}

/// A start of a flow that brings no answer.
async fn start_in_vain(api: &Api) {
    let path = "/api/actions/connector/api/_start_oauth_flow";
    in_vain(api.request(Method::POST, path).json(&json!({}))).await;
}

/// A browser at the callback of a new flow, which the first process does not survive.
async fn call_back_in_vain(site: &mut Site) -> (Browser, String) {
    let mut browser = Browser::new();
    let started = site.user().start("api", json!({})).await;
    let callback = browser.authorize(&started.url).await.to_string();
    browser.open_in_vain(&callback).await;
    site.crashed().await;
    (browser, callback)
}

async fn g01_a_flow_that_was_not_stored_leaves_nothing(kind: Kind) {
    let plan = Plan::on(kind)
        .crash_at("flow.before_insert")
        .set("OAUTH__MAX_PENDING_FLOWS", "1");
    let Some(mut site) = plan.build().await else { return };
    start_in_vain(&site.user()).await;
    site.crashed().await;
    let user = site.survivor().await;
    assert!(user.audit("flow.start").await.is_empty());
    site.connect(&user).await;
    assert_eq!(user.audit("flow.start").await.len(), 1);
}

async fn g02_a_flow_whose_start_nobody_was_told_ends_by_itself(kind: Kind) {
    let plan = Plan::on(kind)
        .crash_at("flow.after_insert")
        .set("OAUTH__MAX_PENDING_FLOWS", "1")
        .set("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "1000")
        .set("OAUTH__FLOW_TTL", "2s");
    let Some(mut site) = plan.build().await else { return };
    start_in_vain(&site.user()).await;
    site.crashed().await;
    let user = site.survivor().await;
    assert_eq!(user.audit("flow.start").await.len(), 1, "it was stored with its record");
    until("the end of the flow", async || {
        let again = user.on("api", "_start_oauth_flow", json!({})).await;
        (again.status == 200).then_some(()).or_else(|| {
            again.refused(429, "too_many_flows");
            None
        })
    })
    .await;
    assert_eq!(user.status("api").await, "not_connected");
}

async fn g03_a_callback_before_the_flow_was_taken_can_be_repeated_once(kind: Kind) {
    let plan = Plan::on(kind).crash_at("callback.before_consume");
    let Some(mut site) = plan.build().await else { return };
    let (mut browser, callback) = call_back_in_vain(&mut site).await;
    let user = site.survivor().await;
    browser.open(&callback).await.connected();
    browser.open(&callback).await.failed(409, "flow_already_used");
    assert_eq!(site.fake.exchanges(), 1);
    assert_eq!(user.audit("flow.complete").await.len(), 1);
    site.is_alive(&user).await;
}

/// A person who is connected connects again, and the process ends on the way: the flow is over, and what there was stays.
async fn interrupted(kind: Kind, point: &'static str, exchanges: usize) {
    let Some(mut site) = Plan::on(kind).crash_at(point).build().await else {
        return;
    };
    site.connect(&site.user()).await;
    let token = site.user().token_text("api").await;
    let (mut browser, callback) = call_back_in_vain(&mut site).await;
    assert_eq!(site.fake.exchanges(), exchanges);

    let user = site.survivor().await;
    browser.open(&callback).await.failed(409, "flow_already_used");
    assert_eq!(site.fake.exchanges(), exchanges, "a code is sent once");
    assert_eq!(user.audit("flow.complete").await.len(), 1, "only the first flow");
    assert_eq!(user.status("api").await, "connected");
    assert_eq!(user.token_text("api").await, token);
    site.is_alive(&user).await;
    site.connect(&user).await;
    assert_eq!(user.audit("flow.complete").await.len(), 2);
}

async fn g04_a_flow_that_was_taken_asks_to_begin_again_and_keeps_what_there_was(kind: Kind) {
    interrupted(kind, "callback.after_consume:2", 1).await;
}

async fn g05_tokens_that_were_never_read_change_nothing_here(kind: Kind) {
    interrupted(kind, "exchange.sent:2", 2).await;
}

async fn g06_tokens_that_were_not_stored_change_nothing_here(kind: Kind) {
    interrupted(kind, "exchange.after_response:2", 2).await;
}

async fn g08_a_connection_that_was_stored_is_there_although_nobody_was_told(kind: Kind) {
    let Some(mut site) = Plan::on(kind).crash_at("exchange.after_commit").build().await else {
        return;
    };
    let (mut browser, callback) = call_back_in_vain(&mut site).await;
    let user = site.survivor().await;
    assert_eq!(user.status("api").await, "connected");
    assert_eq!(
        user.audit("flow.complete").await.len(),
        1,
        "written with the connection"
    );
    // A reload of the page does not say that it failed; what is connected is told by the status.
    browser.open(&callback).await.failed(409, "flow_already_used");
    assert_eq!(site.fake.exchanges(), 1);
    site.is_alive(&user).await;
}
