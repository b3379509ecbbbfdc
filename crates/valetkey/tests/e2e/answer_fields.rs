//! Secondary fields of a token answer: odd ones are put right or ignored, and never cost a token.

use serde_json::{Value, json};

use crate::support::canary::Canaries;
use crate::support::fake::Script;
use crate::support::raw::Reply;
use crate::support::secret;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::until;

/// Connects and refreshes with every answer, and says whether the expiry is known after each.
async fn expiry_after(stage: &Stage, n: usize, script: Script) -> [bool; 2] {
    let user = stage.admin.for_user(&format!("u-{n}"));
    stage.fake.script([script.clone()]);
    stage.connect(&user, "api").await;
    let connected = user.token("api").await.expect(200);
    stage.fake.script([script]);
    let rejected = json!({"rejectedToken": connected["access_token"]});
    let refreshed = user.on("api", "_oauth_access_token", rejected).await.expect(200);
    assert_ne!(connected["access_token"], refreshed["access_token"]);
    [connected, refreshed].map(|answer| answer["expires_at"].is_string())
}

fn expires_in(text: &'static str) -> Script {
    // Written by hand: not every number that a provider can send is one that serde_json writes.
    match text {
        "0" => Script::Wrap(|b| with_expiry(&b, "0")),
        "-1" => Script::Wrap(|b| with_expiry(&b, "-1")),
        "-1e18" => Script::Wrap(|b| with_expiry(&b, "-1000000000000000000")),
        "1e10" => Script::Wrap(|b| with_expiry(&b, "10000000000")),
        "2^63" => Script::Wrap(|b| with_expiry(&b, "9223372036854775808")),
        "1e308" => Script::Wrap(|b| with_expiry(&b, "1e308")),
        "null" => Script::Wrap(|b| with_expiry(&b, "null")),
        _ => Script::Wrap(|b| with_expiry(&b, "3.6e3")),
    }
}

fn with_expiry(body: &str, value: &str) -> Reply {
    let changed = body.replace("\"expires_in\":3600", &format!("\"expires_in\":{value}"));
    assert!(changed != *body, "{body}");
    Reply::json_text(200, changed)
}

#[tokio::test]
async fn b20_b26_an_odd_expires_in_costs_no_token() {
    let stage = Stage::per_user().await;
    let patched = |value: Value| Script::Patch(json!({"expires_in": value}));
    let known = [
        patched(json!(3600)),
        patched(json!("3600")),
        patched(json!(" 3600 ")),
        patched(json!(3599.5)),
        expires_in("3.6e3"),
    ];
    for (n, script) in known.into_iter().enumerate() {
        assert_eq!(expiry_after(&stage, n, script).await, [true, true], "{n}");
    }
    let mut unknown: Vec<_> = ["0", "-1", "-1e18", "1e10", "2^63", "1e308", "null"]
        .map(expires_in)
        .into();
    unknown.push(Script::Patch(json!({"expires_in": null})));
    unknown.extend(
        [
            json!("3600s"),
            json!("abc"),
            json!(""),
            json!(true),
            json!([]),
            json!({}),
        ]
        .map(patched),
    );
    for (n, script) in unknown.into_iter().enumerate() {
        assert_eq!(expiry_after(&stage, 100 + n, script).await, [false, false], "{n}");
    }
}

#[tokio::test]
async fn b27_dates_that_no_spec_names_are_ignored() {
    let stage = Stage::per_user().await;
    for (n, date) in [
        json!({"expires_at": 1}),
        json!({"expires_on": "1"}),
        json!({"expires_at": "2001-01-01T00:00:00Z"}),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(expiry_after(&stage, n, Script::Patch(date)).await, [true, true], "{n}");
    }
}

#[tokio::test]
async fn b23_the_new_refresh_token_is_kept_whatever_the_expiry_says() {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage.fake.script([expires_in("2^63")]);
    stage.user.renew("api").await.expect(200);
    let token = stage.user.token_text("api").await;
    stage
        .user
        .on("api", "_oauth_access_token", json!({"rejectedToken": token}))
        .await
        .expect(200);
    let sent: Vec<_> = stage
        .fake
        .grants("refresh_token")
        .iter()
        .map(|s| s.form()["refresh_token"].clone())
        .collect();
    assert_ne!(sent[0], sent[1]);
    assert_eq!(stage.fake.refreshes(), 2);
}

#[tokio::test]
async fn b28_a_short_token_is_not_renewed_at_every_call() {
    let stage = Stage::per_user().await;
    stage.fake.set_lifetime(30);
    stage.connect(&stage.user, "api").await;
    for _ in 0..50 {
        stage.user.call("api", "/api/whoami").await;
    }
    assert_eq!(stage.fake.refreshes(), 0);
}

#[tokio::test]
async fn b17_b18_bearer_is_sent_as_bearer() {
    let stage = Stage::per_user().await;
    for kind in [json!("bearer"), json!("BEARER"), json!("Bearer"), Value::Null] {
        stage.fake.script([Script::Patch(json!({"token_type": kind}))]);
        stage.connect(&stage.user, "api").await;
        assert_eq!(stage.user.token("api").await.expect(200)["token_type"], "Bearer");
        assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    }
}

#[tokio::test]
async fn b33_b34_b35_the_granted_scopes_are_the_ones_that_count() {
    let stage = Stage::per_user().await;
    for (granted, shown) in [
        (json!("read"), "read"),
        (json!("read write admin"), "read write admin"),
        (json!("read,write"), "read write"),
        (Value::Null, "read write"),
    ] {
        stage.fake.script([Script::Patch(json!({"scope": granted}))]);
        stage.connect(&stage.user, "api").await;
        assert_eq!(stage.user.token("api").await.expect(200)["scope"], shown);
    }
    stage.fake.script([Script::Patch(json!({"scope": null}))]);
    let renewed = stage.user.renew("api").await.expect(200);
    assert_eq!(
        renewed["scope"], "read write",
        "a refresh that says nothing changes nothing"
    );
}

#[tokio::test]
async fn b42_b50_what_an_answer_holds_besides_goes_nowhere() {
    let mut stage = Stage::per_user_with(Setup::new().set("LOG", "trace")).await;
    let (id_token, nested) = (secret("id-token"), secret("nested-token"));
    stage.fake.script([Script::Patch(
        json!({"id_token": id_token, "bot": {"bot_access_token": nested}}),
    )]);
    stage.connect(&stage.user, "api").await;
    let echoed = format!("your secret {} \u{1b}[31m<b>\nforged-line", stage.fake.client_secret());
    let mut bodies = Vec::new();
    for error in ["invalid_request", "invalid_client", "invalid_grant", "server_error"] {
        let body = json!({"error": error, "error_description": echoed, "error_uri": "https://evil.example", "padding": "x".repeat(100_000)});
        let user = stage.admin.for_user(error);
        stage.fake.script([Script::Say(Reply::json(400, &body))]);
        bodies.push(stage.finish(&user.start("api", json!({})).await).await.body);
        stage.fake.script([]);
        stage.connect(&user, "api").await;
        stage.fake.script([Script::Say(Reply::json(400, &body))]);
        bodies.push(user.renew("api").await.text());
        let audit = until("the audit records", async || {
            Some(stage.admin.audit("token.refresh").await).filter(|a| !a.is_empty())
        })
        .await;
        bodies.push(json!(audit).to_string());
    }
    let canaries = Canaries::new([id_token, nested, stage.fake.client_secret()]);
    for body in &bodies {
        canaries.are_not_in("an answer", body);
    }
    let output = stage.valetkey.whole_output().await;
    canaries.are_not_in("the log", &output);
    canaries.are_not_below(&stage.valetkey.setup.data_dir());
    assert!(!output.lines().any(|line| line.starts_with("forged-line")) && !output.contains('\u{1b}'));
}
