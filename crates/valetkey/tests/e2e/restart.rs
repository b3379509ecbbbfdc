//! What survives a stop, a kill and a wrong key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::api::client;
use crate::support::browser::Browser;
use crate::support::raw::Reply;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::until;

#[tokio::test]
async fn a_missing_master_key_refuses_to_start_and_makes_no_other() {
    let mut stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage.valetkey.stop().await;
    let key_file = stage.valetkey.setup.data_dir().join("master.key");
    let key = fs::read(&key_file).expect("a master key");
    assert_eq!(
        fs::metadata(&key_file).expect("a file").permissions().mode() & 0o777,
        0o600
    );

    fs::remove_file(&key_file).expect("a file");
    let output = stage.valetkey.setup.start_in_vain().await;
    assert!(
        output.contains("master.key") && output.contains("does not exist"),
        "{output}"
    );
    assert!(!key_file.exists(), "another key was made");

    let mut wrong = key.clone();
    wrong[0] = if wrong[0] == b'A' { b'B' } else { b'A' };
    fs::write(&key_file, wrong).expect("a file");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).expect("permissions");
    let output = stage.valetkey.setup.start_in_vain().await;
    assert!(output.contains("master"), "{output}");

    fs::write(&key_file, key).expect("a file");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).expect("permissions");
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    let cases = [
        ("LISTENER", "x", "VALETKEY_LISTENER"),
        ("LISTEN", "everywhere", "listen"),
        ("PUBLIC_BASE_URL", "ftp://x", "public_base_url"),
        ("OAUTH__FLOW_TTL", "soon", "flow_ttl"),
        ("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "0", "limit"),
        ("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "1001", "limit"),
        ("ALLOW_NETWORKS", "everything", "allow_networks"),
        (
            "ALLOWED_RETURN_ORIGINS",
            "https://app.example.com/path",
            "allowed_return_origins",
        ),
        ("BOOTSTRAP_API_KEY", "letmein", "bootstrap_api_key"),
    ];
    for (name, value, named) in cases {
        let output = Setup::new().set(name, value).start_in_vain().await;
        assert!(output.contains(named), "{name}={value}: {output}");
    }
    let secret = "vk_short";
    let output = Setup::new().set("BOOTSTRAP_API_KEY", secret).start_in_vain().await;
    assert!(!output.contains(secret), "{output}");
}

#[tokio::test]
async fn a56_a_flow_started_before_a_kill_is_finished_after_it() {
    let mut stage = Stage::per_user().await;
    let opened = stage.user.start("api", json!({})).await;
    let unopened = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&opened.url).await;
    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    browser.open(callback.as_str()).await.connected();
    stage.finish(&unopened).await.connected();
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert_eq!(stage.fake.exchanges(), 2);
}

#[tokio::test]
async fn i3_a_success_that_was_told_survives_a_kill() {
    let mut stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    let token = stage.user.renew("api").await.expect(200)["access_token"].clone();
    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.token("api").await.expect(200)["access_token"], token);
    stage.user.renew("api").await.expect(200);
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    assert_eq!(
        stage.user.status("api").await,
        "not_connected",
        "I6: what ended does not come back"
    );
}

#[tokio::test]
async fn g15_a_grant_that_was_ended_before_a_kill_is_ended_at_the_provider_after_it() {
    let mut stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage.fake.answer_revocations(Reply::json(503, &json!({})));
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    assert!(!stage.fake.seen("/revoke").is_empty() && stage.fake.revoked().is_empty());
    stage.valetkey.kill().await;
    stage.fake.answer_revocations(None);
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.status("api").await, "not_connected");
    until("the revocation", async || {
        (stage.fake.revoked().len() == 2).then_some(())
    })
    .await;
    until("the record of it", async || {
        let audit = stage.admin.get("/api/audit?type=token.revoke").await.expect(200);
        (audit["records"][0]["outcome"] == "done").then_some(())
    })
    .await;
}

#[tokio::test]
async fn rate_limits_survive_a_kill() {
    let setup = Setup::new()
        .set("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "3")
        .set("OAUTH__RATE_LIMITS__CALLBACK__LIMIT", "1");
    let mut stage = Stage::per_user_with(setup).await;
    stage.connect(&stage.user, "api").await;
    stage.user.start("api", json!({})).await;
    let last = stage.user.start("api", json!({})).await;
    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    stage
        .user
        .on("api", "_start_oauth_flow", json!({}))
        .await
        .refused(429, "rate_limited");
    stage.finish(&last).await.failed(429, "rate_limited");
}

#[tokio::test]
async fn a_stop_during_a_refresh_waits_for_what_the_provider_answers() {
    let mut stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let gate = stage.fake.hold_tokens();
    let old = stage.user.token_text("api").await;
    let user = stage.user.clone();
    let asking = tokio::task::JoinSet::from_iter([async move {
        user.on("api", "_oauth_access_token", json!({"minimumValiditySeconds": 80_000}))
            .await
            .status
    }]);
    until("the refresh", async || (stage.fake.refreshes() == 1).then_some(())).await;
    stage.valetkey.signal("TERM").await;
    until("the stop to be under way", async || {
        let ready = client().get(format!("{}/readyz", stage.valetkey.base())).send().await;
        ready.map_or(true, |answer| answer.status() == 503).then_some(())
    })
    .await;
    gate.open();
    assert!(stage.valetkey.wait().await.success(), "{}", stage.valetkey.output());
    drop(asking);
    stage.valetkey.start_again().await;
    let new = stage.user.token_text("api").await;
    assert_ne!(new, old, "the pair that the provider answered was committed");
    stage.user.renew("api").await.expect(200);
    assert_eq!(stage.fake.refreshes(), 2);
}

#[tokio::test]
async fn g20_a_pair_that_the_store_did_not_take_survives_a_kill() {
    let mut stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let data_dir = stage.valetkey.setup.data_dir();
    let (database, aside, rescue) = (
        data_dir.join("valetkey.db"),
        data_dir.join("aside.db"),
        data_dir.join("rescue"),
    );
    let pairs = || {
        let names = fs::read_dir(&rescue)
            .expect("a directory")
            .map(|e| e.expect("an entry").path());
        names
            .filter(|path| path.extension().is_some_and(|e| e == "pair"))
            .collect::<Vec<_>>()
    };
    let gate = stage.fake.hold_tokens();
    let user = stage.user.clone();
    let mut asking = tokio::task::JoinSet::from_iter([async move { user.renew("api").await }]);
    until("the refresh", async || (stage.fake.refreshes() == 1).then_some(())).await;
    // The intent is written; from now on the store takes nothing, because its file is not where it was.
    fs::rename(&database, &aside).expect("moved");
    gate.open();
    let served = asking.join_next().await.expect("a call").expect("no panic").expect(200);
    let token = served["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(pairs().len(), 1, "kept before it was handed out");
    let mode = fs::metadata(&pairs()[0]).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let text = String::from_utf8_lossy(&fs::read(&pairs()[0]).expect("read")).into_owned();
    assert!(
        stage.fake.secrets().iter().all(|secret| !text.contains(secret)),
        "sealed"
    );
    stage
        .user
        .on("api", "_oauth_access_token", json!({"rejectedToken": token}))
        .await
        .refused(503, "store_unavailable");

    stage.valetkey.kill().await;
    fs::rename(&aside, &database).expect("moved back");
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.token_text("api").await, token);
    until("the journal to be empty", async || pairs().is_empty().then_some(())).await;
    assert_eq!(stage.fake.refreshes(), 1);
    stage.user.renew("api").await.expect(200);
    assert_eq!(stage.fake.refreshes(), 2, "with the refresh token that was rescued");
}

#[tokio::test]
async fn a_stop_is_quick_when_nothing_is_under_way() {
    let mut stage = Stage::per_user().await;
    let started = Instant::now();
    stage.valetkey.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let output = stage.valetkey.output();
    assert_eq!(output.matches("listening on http://").count(), 1, "{output}");
}

#[tokio::test]
async fn a_bootstrap_key_is_made_at_the_first_start_only() {
    let first = Setup::new();
    let mut valetkey = first.start().await;
    let admin = first.admin();
    admin.get("/api/actions/connectors").await.expect(200);
    let keys: Vec<serde_json::Value> =
        serde_json::from_value(admin.get("/api/security/api_keys").await.expect(200)).expect("a list");
    let other = admin.make_key(&["admin"], json!({"spaces": ["*"]})).await;
    other
        .delete(&format!(
            "/api/security/api_keys/{}",
            keys[0]["id"].as_str().expect("an id")
        ))
        .await
        .expect(204);
    valetkey.restart().await;
    admin
        .get("/api/actions/connectors")
        .await
        .refused(401, "unauthenticated");
    other.get("/api/actions/connectors").await.expect(200);
}
