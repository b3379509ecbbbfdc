//! An API that wants a stronger or a more recent sign-in: no refresh brings one, only a person can.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::browser::Browser;
use crate::support::fake::CLIENT_ID;
use crate::support::raw::{Reply, fields};
use crate::support::stage::Stage;

const DEMAND: &str =
    r#"Bearer error="insufficient_user_authentication", error_description="sign in again", acr_values="x", max_age=5"#;

fn challenge(text: &str) -> Reply {
    let headers = [("www-authenticate", text), ("content-type", "application/json")];
    Reply::new(401, &headers, r#"{"error": "insufficient_user_authentication"}"#)
}

async fn connected() -> Stage {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage
}

async fn send(api: &Api, method: &str) -> Value {
    let params = json!({"subAction": "request", "subActionParams": {"method": method, "path": "/api/vault"}});
    api.on("api", "_execute", json!({"params": params})).await.expect(200)
}

#[tokio::test]
async fn a54_a_demand_for_another_sign_in_is_told_and_costs_no_refresh() {
    let stage = connected().await;
    let token = stage.user.token_text("api").await;
    stage.fake.answer_api(challenge(DEMAND));
    for (calls, method) in ["GET", "POST"].into_iter().enumerate() {
        let result = send(&stage.user, method).await;
        assert_eq!(
            (&result["status"], &result["retry"], &result["error_source"]),
            (&json!("error"), &json!(false), &json!("user"))
        );
        assert_eq!(
            result["authorization"],
            json!({
                "reason": "token_revoked", "auth_method": "oauth_authorization_code",
                "start": "/api/actions/connector/api/_start_oauth_flow", "acr_values": "x", "max_age": 5,
            })
        );
        assert!(
            result["message"].as_str().is_some_and(|m| m.contains("sign-in")),
            "{result}"
        );
        assert_eq!(stage.fake.seen("/api/vault").len(), calls + 1, "nothing is sent twice");
    }
    let tested = stage.user.on("api", "_test", json!({})).await.expect(200);
    assert_eq!(tested["authorization"]["acr_values"], "x", "{tested}");
    assert_eq!(stage.fake.refreshes(), 0);

    // The grant is as good as before for everything else.
    stage.fake.answer_api(None);
    assert_eq!(stage.user.status("api").await, "connected");
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    assert_eq!(stage.user.token_text("api").await, token);
}

#[tokio::test]
async fn a54_a_demand_after_a_refresh_ends_the_call() {
    let stage = connected().await;
    stage.fake.reject_access_tokens();
    let renewed = send(&stage.user, "GET").await;
    assert_eq!((&renewed["status"], stage.fake.refreshes()), (&json!("ok"), 1));
    stage
        .fake
        .answer_api(challenge(r#"Bearer error="insufficient_user_authentication""#));
    let result = send(&stage.user, "GET").await;
    assert_eq!(result["authorization"]["reason"], "token_revoked");
    assert_eq!(result["authorization"]["acr_values"], Value::Null);
    assert_eq!(stage.fake.refreshes(), 1);
    // Any other challenge is what it was: one refresh, one retry.
    stage
        .fake
        .answer_api(challenge(r#"Bearer error="invalid_token", acr_values="x""#));
    let result = send(&stage.user, "GET").await;
    assert_eq!((&result["authorization"], stage.fake.refreshes()), (&Value::Null, 2));
}

#[tokio::test]
async fn a54_a_new_flow_asks_for_what_was_demanded() {
    let stage = connected().await;
    stage.fake.answer_api(challenge(DEMAND));
    let demand = send(&stage.user, "GET").await["authorization"].clone();
    let start = json!({"acrValues": demand["acr_values"], "maxAge": demand["max_age"]});
    let flow = stage.user.start("api", start).await;
    stage.finish(&flow).await.connected();
    let asked = stage.fake.seen("/authorize").last().expect("a request").params();
    assert_eq!((asked["acr_values"].as_str(), asked["max_age"].as_str()), ("x", "5"));
    assert_eq!(asked["state"], flow.state);
    stage.fake.answer_api(None);
    assert_eq!(send(&stage.user, "GET").await["status"], "ok");
}

#[tokio::test]
async fn a54_a_pushed_request_asks_for_it_too() {
    let stage = Stage::new().await;
    let url = json!({"pushedAuthorizationUrl": format!("{}/par", stage.fake.url)});
    stage.admin.create("api", &stage.connector_with(&json!({}), &url)).await;
    let flow = stage.user.start("api", json!({"acrValues": "x y", "maxAge": 0})).await;
    stage.finish(&flow).await.connected();
    let pushed = stage.fake.seen("/par")[0].form();
    assert_eq!(
        (pushed["acr_values"].as_str(), pushed["max_age"].as_str()),
        ("x y", "0")
    );
    assert_eq!(stage.fake.seen("/authorize")[0].params().len(), 2);
}

#[tokio::test]
async fn a54_what_is_asked_of_the_sign_in_cannot_change_anything_else() {
    let stage = Stage::per_user().await;
    let bad = [
        json!({"acrValues": ""}),
        json!({"acrValues": "a  b"}),
        json!({"acrValues": "a\nb"}),
        json!({"acrValues": "x".repeat(1025)}),
        json!({"acrValues": ["x"]}),
        json!({"maxAge": -1}),
        json!({"maxAge": "5"}),
        json!({"maxAge": 5.5}),
        json!({"maxAge": u64::MAX}),
    ];
    for body in bad {
        stage
            .user
            .on("api", "_start_oauth_flow", body)
            .await
            .refused(400, "validation_failed");
    }
    let flow = stage
        .user
        .start(
            "api",
            json!({"acrValues": "x&state=evil&redirect_uri=https://evil.example"}),
        )
        .await;
    let link = Browser::new().open(&flow.url).await.link("continue");
    let asked = fields(link.query().expect("a query"));
    assert_eq!(asked["state"], flow.state);
    assert_eq!(asked["acr_values"], "x&state=evil&redirect_uri=https://evil.example");
}

#[tokio::test]
async fn a54_what_the_connector_demands_itself_is_not_weakened() {
    let stage = Stage::new().await;
    let params = json!({"extraParams": {"acr_values": "strong", "max_age": "60"}});
    stage
        .admin
        .create("api", &stage.connector_with(&json!({}), &params))
        .await;
    let url = json!({"authorizationUrl": format!("{}/authorize?acr_values=strong", stage.fake.url)});
    stage.admin.create("url", &stage.connector_with(&json!({}), &url)).await;
    for (id, body) in [
        ("api", json!({"acrValues": "weak"})),
        ("api", json!({"maxAge": 3600})),
        ("url", json!({"acrValues": "weak"})),
    ] {
        stage
            .user
            .on(id, "_start_oauth_flow", body)
            .await
            .refused(400, "reserved_parameter");
    }
    stage.connect(&stage.user, "api").await;
    assert_eq!(stage.fake.seen("/authorize")[0].params()["acr_values"], "strong");
}

#[tokio::test]
async fn a54_where_no_person_signs_in_the_services_answer_stands() {
    let stage = Stage::new().await;
    let mut body = stage.connector();
    body["secrets"] = json!({
        "authType": "oauth_client_credentials", "tokenUrl": format!("{}/token", stage.fake.url), "clientId": CLIENT_ID,
        "clientSecret": stage.fake.client_secret(),
    });
    stage.admin.create("api", &body).await;
    stage.fake.answer_api(challenge(DEMAND));
    let result = send(&stage.admin, "GET").await;
    assert_eq!(
        (&result["status"], &result["authorization"]),
        (&json!("error"), &Value::Null)
    );
    assert_eq!(
        stage.fake.grants("client_credentials").len(),
        1,
        "a new token would be no better"
    );
    assert_eq!(stage.fake.seen("/api/vault").len(), 1);
}
