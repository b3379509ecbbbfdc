//! Spaces and users: nothing crosses from one to another.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api_access::{Need, call, needs, stage};
use crate::support::api::Answer;
use crate::support::stage::Stage;

#[tokio::test]
async fn d14_nothing_of_another_space_can_be_told_from_nothing() {
    let stage = stage().await;
    stage.connect(&stage.user, "api").await;
    let other = stage
        .admin
        .make_key(&["admin"], json!({"spaces": ["other"], "profileUid": "u1"}))
        .await
        .in_space("other");
    let without_id = |answer: &Answer| {
        let mut body = answer.expect(404);
        body["requestId"] = Value::Null;
        body
    };
    for Need { method, path, body, .. } in needs().into_iter().filter(|n| n.path.contains("/connector/api")) {
        let theirs = call(&other, &method, path, &body).await;
        let nothing = call(
            &other,
            &method,
            &path.replace("/connector/api", "/connector/zzz"),
            &body,
        )
        .await;
        assert_eq!(without_id(&theirs), without_id(&nothing), "{method} {path}");
    }
    let body = stage.connector_with(&json!({"connector_type_id": null}), &json!({}));
    other
        .put("/api/actions/connector/api", &body)
        .await
        .refused(404, "connector_not_found");
    other
        .delete("/api/actions/connector/api")
        .await
        .refused(404, "connector_not_found");
    assert_eq!(other.get("/api/actions/connectors").await.expect(200), json!([]));
    assert_eq!(
        other
            .post("/api/actions/connectors/_me/auth_status", &json!({}))
            .await
            .expect(200),
        json!({})
    );
    let seen = other.get("/api/audit?limit=200").await.expect(200).to_string();
    assert!(!seen.contains("\"api\""), "the audit log of another space: {seen}");
    let keys = other.get("/api/security/api_keys").await.expect(200).to_string();
    assert!(
        !keys.contains("a key of a test\",\"privileges\":[\"connectors"),
        "{keys}"
    );
    // The same id in two spaces is two connectors.
    other.create("api", &stage.connector()).await;
    assert_eq!(other.status("api").await, "not_connected");
    assert_eq!(stage.user.status("api").await, "connected");
    other.delete("/api/actions/connector/api").await.expect(204);
    assert_eq!(stage.user.status("api").await, "connected");
}

#[tokio::test]
async fn d15_the_space_comes_from_the_path_and_the_key_only() {
    let stage = stage().await;
    let key = stage.admin.make_key(&["admin"], json!({"spaces": ["other"]})).await;
    key.get("/api/actions/connectors")
        .await
        .refused(403, "space_not_allowed");
    key.in_space("third")
        .get("/api/actions/connectors")
        .await
        .refused(403, "space_not_allowed");
    for header in ["x-tenant-id", "x-space", "x-space-id", "x-valetkey-space", "kbn-space"] {
        let request = key
            .in_space("other")
            .request(Method::GET, "/api/actions/connectors")
            .header(header, "default");
        assert_eq!(Answer::to(request).await.expect(200), json!([]), "{header}");
        let request = key
            .request(Method::GET, "/api/actions/connectors")
            .header(header, "other");
        Answer::to(request).await.refused(403, "space_not_allowed");
    }
}

#[tokio::test]
async fn d18_a_users_connection_serves_nobody_else() {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let u2 = stage.admin.for_user("u2");
    for name in ["default", "u1", "user:u1", "shared"] {
        let body = json!({"connection": name});
        let refused = u2
            .on("api", "_oauth_access_token", body)
            .await
            .refused(409, "authorization_required");
        assert_eq!(refused["authorization"]["reason"], "no_token");
    }
    assert_eq!(
        u2.call("api", "/api/whoami").await["authorization"]["reason"],
        "no_token"
    );
    let test = u2.on("api", "_test", json!({})).await.expect(200);
    assert_eq!(test["status"], "error", "{test}");
    u2.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    assert_eq!(stage.user.status("api").await, "connected");
    assert!(stage.fake.seen("/api/whoami").is_empty() && stage.fake.revoked().is_empty());
}

#[tokio::test]
async fn d19_a_call_for_nobody_uses_nobodys_connection() {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let execute = json!({"params": {"subAction": "request", "subActionParams": {"path": "/api/whoami"}}});
    for (route, body) in [
        ("_execute", execute),
        ("_test", json!({})),
        ("_oauth_access_token", json!({})),
        ("_oauth_disconnect", json!({})),
    ] {
        stage
            .admin
            .on("api", route, body.clone())
            .await
            .refused(409, "user_required");
        for nobody in ["", "null", "undefined", "None", "*", "a b", "z\u{fc}", &"x".repeat(300)] {
            let request = stage
                .admin
                .request(Method::POST, &format!("/api/actions/connector/api/{route}"));
            let bytes = reqwest::header::HeaderValue::from_bytes(nobody.as_bytes()).expect("a header");
            Answer::to(request.header("x-valetkey-user", bytes).json(&body))
                .await
                .refused(400, "invalid_request");
        }
    }
    assert!(stage.fake.seen("/api/whoami").is_empty());
}

#[tokio::test]
async fn d22_users_are_opaque_and_compared_byte_by_byte() {
    let stage = Stage::per_user().await;
    stage.connect(&stage.admin.for_user("alice"), "api").await;
    for other in [
        "Alice",
        "ALICE",
        "alice%20",
        "alice/",
        "../alice",
        "user:alice",
        "alice\\",
        "'alice'",
        "alice--",
        "shared",
    ] {
        assert_eq!(
            stage.admin.for_user(other).status("api").await,
            "not_connected",
            "{other}"
        );
    }
    let bound = stage.admin.make_key(&["admin"], json!({"profileUid": "bob"})).await;
    bound
        .for_user("alice")
        .token("api")
        .await
        .refused(403, "user_not_allowed");
    assert_eq!(bound.for_user("bob").status("api").await, "not_connected");
    let plain = stage.admin.make_key(&["tokens:read"], json!({})).await;
    plain
        .for_user("alice")
        .token("api")
        .await
        .refused(403, "user_not_allowed");
}
