//! What somebody can do with an id, a state or a link that is not theirs, and with secrets that everybody knows.

use reqwest::Method;
use serde_json::json;

use crate::support::api::{Answer, client};
use crate::support::browser::Browser;
use crate::support::canary::Canaries;
use crate::support::signed_in::{SignedIn, sign_in};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

const STANDING: &str = "/api/actions/connectors/_me/auth_status";

#[tokio::test]
async fn f24_how_a_flow_stands_is_told_to_its_own_person_only() {
    let stage = Stage::per_user().await;
    let key = stage
        .admin
        .make_key(&["oauth:connect"], json!({"profileUid": "ben"}))
        .await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &key.key).await;
    let flow = stage.user.start("api", json!({})).await;
    stage.finish(&flow).await.connected();
    assert_eq!(stage.user.status("api").await, "connected");
    assert_eq!(key.status("api").await, "not_connected");
    // Nobody asks for somebody else, and strangers ask for nobody.
    for request in [
        key.request(Method::POST, STANDING),
        session.request(Method::POST, STANDING),
    ] {
        let other = request.header("x-valetkey-user", "u1").json(&json!({}));
        Answer::to(other).await.refused(403, "user_not_allowed");
    }
    let stranger = client().post(stage.admin.url(STANDING)).json(&json!({}));
    Answer::to(stranger).await.refused(401, "unauthenticated");
    // The answer is how things stand, and nothing that would help to get on with the flow.
    let told = stage.user.post(STANDING, &json!({})).await;
    told.expect(200);
    let secrets = stage.fake.secrets().into_iter().chain([flow.state.clone()]);
    assert!(
        Canaries::new(secrets).found_in(&told.body).is_empty(),
        "{}",
        told.text()
    );
    // No path takes the name of a flow, and of a state that is made up one learns nothing.
    let description = stage.admin.get("/api/openapi.json").await.expect(200);
    let paths = description["paths"].as_object().expect("paths");
    assert!(
        paths
            .keys()
            .all(|path| !path.contains("{flow") && !path.contains("{state"))
    );
    let guess = json!({"state": "A".repeat(43)});
    key.on("api", "_oauth_cancel", guess).await.expect(204);
    let guess = format!("{}/connect/{}", stage.valetkey.base(), "A".repeat(43));
    Browser::new().open(&guess).await.failed(404, "ticket_unknown");
}

#[tokio::test]
async fn d36_a_connect_link_is_good_for_its_own_flow_and_nothing_else() {
    let stage = Stage::per_user().await;
    let base = stage.valetkey.base();
    let flow = stage.user.start("api", json!({})).await;
    let ticket = flow.url.rsplit('/').next().expect("a ticket").to_owned();
    let path = "/api/actions/connectors";
    for scheme in ["ApiKey", "Bearer"] {
        let as_key = client()
            .get(stage.admin.url(path))
            .header("authorization", format!("{scheme} {ticket}"));
        Answer::to(as_key).await.refused(401, "unauthenticated");
    }
    let as_session = SignedIn::of_cookie(&base, &format!("valetkey-session={ticket}"), json!(null));
    as_session.get(path).await.refused(401, "unauthenticated");
    for body in [json!({"link": ticket}), json!({"key": ticket})] {
        sign_in(&base, &body).await.refused(401, "unauthenticated");
    }
    let callback = format!("{base}/api/actions/connector/_oauth_callback/api");
    let as_state = format!("{callback}?code=x&state={ticket}");
    Browser::new().open(&as_state).await.failed(400, "flow_invalid");
    // And the state is no link.
    let as_link = format!("{base}/connect/{}", flow.state);
    Browser::new().open(&as_link).await.failed(404, "ticket_unknown");

    let mut browser = Browser::new();
    browser.connect(&flow.url).await.connected();
    browser.open(&flow.url).await.failed(409, "flow_already_used");
    assert_eq!(stage.user.status("api").await, "connected");
    assert_eq!(stage.admin.for_user("u2").status("api").await, "not_connected");
    Canaries::new([ticket]).are_not_below(&stage.valetkey.setup.data_dir());
}

#[tokio::test]
async fn d34_empty_guessable_and_published_secrets_end_the_start() {
    let zeros = "00".repeat(32);
    let counted = (0..32).map(|n| format!("{n:02x}")).collect::<Vec<_>>().concat();
    let cases = [
        ("MASTER_KEY", "", "master_key must not be empty"),
        ("MASTER_KEY", zeros.as_str(), "must be random"),
        ("MASTER_KEY", counted.as_str(), "must be random"),
        ("MASTER_KEY", "changeme", "master_key"),
        (
            "MASTER_KEY",
            "pkL3tfcvZ3qHqMK8b7+0nXw1oJmS0eYhVg5cRz9xTDE=",
            "is published",
        ),
        ("NEW_MASTER_KEY", "", "new_master_key must not be empty"),
        ("BOOTSTRAP_API_KEY", "", "bootstrap_api_key must not be empty"),
        ("BOOTSTRAP_API_KEY", "vk_admin", "bootstrap_api_key must start with vk_"),
        ("OIDC__CLIENT_SECRET", "", "oidc.client_secret must not be empty"),
    ];
    for (name, value, wanted) in cases {
        let setup = Setup::new()
            .set("OIDC__ISSUER", "https://id.example.com")
            .set("OIDC__CLIENT_ID", "valetkey")
            .set("OIDC__USER_ROLES", "*")
            .set(name, value);
        let said = setup.start_in_vain().await;
        assert!(said.contains(wanted), "{name}={value}: {said}");
        assert!(said.contains("exit code 78"), "{name}={value}: {said}");
        assert!(value.is_empty() || !said.contains(value), "{name}: {said}");
    }
}
