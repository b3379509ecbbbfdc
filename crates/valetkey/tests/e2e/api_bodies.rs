//! Bodies that are no JSON objects, inputs that break an action's schema, ids that cannot exist.

use reqwest::Method;
use serde_json::json;

use crate::api_fields::{routes, stored};
use crate::support::api::Answer;
use crate::support::raw;
use crate::support::stage::Stage;

#[tokio::test]
async fn an_input_that_breaks_the_actions_schema_is_the_users_error() {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let inputs = [
        ("unheard_of", json!({})),
        ("request", json!({})),
        ("request", json!({"path": 7})),
        ("request", json!({"path": "/", "method": "BREW"})),
        ("request", json!({"path": "/", "extra": 1})),
        ("request", json!({"path": "/", "query": "x"})),
        ("request", json!({"path": "/", "headers": {"x": 1}})),
        ("request", json!({"path": "x".repeat(5000)})),
    ];
    for (action, input) in inputs {
        let params = json!({"subAction": action, "subActionParams": input});
        let result = stage
            .user
            .on("api", "_execute", json!({"params": params}))
            .await
            .expect(200);
        assert_eq!(
            (&result["status"], &result["error_source"]),
            (&json!("error"), &json!("user")),
            "{input}: {result}"
        );
        assert!(result["message"].as_str().is_some_and(|m| !m.is_empty()), "{result}");
    }
    assert!(stage.fake.seen("/").is_empty(), "nothing was sent");
}

#[tokio::test]
async fn ids_in_paths_that_cannot_exist_do_not_exist() {
    let stage = Stage::per_user().await;
    for id in [
        "_x",
        "a.b",
        "%20",
        "%00",
        "a%2Fb",
        "..%2fapi",
        &"x".repeat(65),
        "%F0%9F%94%91",
    ] {
        for route in ["", "/_execute", "/_start_oauth_flow", "/_oauth_access_token"] {
            let path = format!("/api/actions/connector/{id}{route}");
            let (method, body) = if route.is_empty() {
                (Method::GET, json!(null))
            } else {
                (Method::POST, json!({"params": {"subAction": "x"}}))
            };
            let body = if route == "/_execute" { body } else { json!({}) };
            let answer = Answer::to(stage.user.request(method, &path).json(&body)).await;
            answer.refused(404, "connector_not_found");
        }
    }
    stage
        .admin
        .post("/api/actions/connector/a.b", &stage.connector())
        .await
        .expect(400);
    stage
        .admin
        .get("/api/actions/connector_types/.unknown")
        .await
        .refused(404, "connector_type_not_found");
    stage
        .admin
        .delete("/api/security/api_keys/nobody")
        .await
        .refused(404, "key_not_found");
    for space in ["TEAM", "a.b", &"x".repeat(65)] {
        stage
            .admin
            .in_space(space)
            .get("/api/actions/connectors")
            .await
            .refused(400, "invalid_space");
    }
}

#[tokio::test]
async fn d27_odd_json_is_refused() {
    let stage = Stage::per_user().await;
    let before = stored(&stage).await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: Vec<Vec<u8>> = vec![
        b"{\"name\":\"a\",\"name\":\"b\"}".to_vec(),
        b"{} x".to_vec(),
        b"[]".to_vec(),
        b"7".to_vec(),
        b"null".to_vec(),
        b"{\"a\":NaN}".to_vec(),
        b"{".to_vec(),
        b"{'a':1}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"a\":\"\xff\"}".to_vec(),
        utf16,
        deep.into_bytes(),
    ];
    for route in routes(&stage) {
        for body in &bodies {
            let request = stage
                .user
                .request(route.method.clone(), route.path)
                .header("content-type", "application/json")
                .body(body.clone());
            let answer = Answer::to(request).await;
            let shown = String::from_utf8_lossy(body).chars().take(40).collect::<String>();
            assert_eq!(answer.status, 400, "{} {shown}: {}", route.path, answer.text());
            answer.refused(400, "invalid_request");
        }
    }
    assert_eq!(stored(&stage).await, before);
}

#[tokio::test]
async fn d39_whoever_sends_too_much_is_told_so_after_sending_it() {
    let stage = Stage::per_user().await;
    for (encoding, size, status) in [("identity", 6 << 20, 413), ("gzip", 1 << 20, 415)] {
        let request = format!(
            "POST /api/actions/connector/api/_oauth_access_token HTTP/1.1\r\nhost: x\r\nauthorization: ApiKey {}\r\n\
             content-type: application/json\r\ncontent-encoding: {encoding}\r\ncontent-length: {size}\r\n\r\n{}",
            stage.user.key,
            "x".repeat(size),
        );
        // It reads nothing before all is sent, as many clients do.
        let answer = raw::exchange(&stage.valetkey.base(), &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn d39_bodies_have_a_size_a_type_and_no_compression() {
    let stage = Stage::per_user().await;
    let path = "/api/actions/connector/api/_oauth_access_token";
    let big = format!("{{\"rejectedToken\":\"{}\"}}", "x".repeat(1 << 20));
    let request = |media: &'static str| stage.user.request(Method::POST, path).header("content-type", media);
    Answer::to(request("application/json").body(big))
        .await
        .refused(413, "body_too_large");
    for media in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
    ] {
        Answer::to(request(media).body("{}"))
            .await
            .refused(415, "unsupported_media_type");
    }
    let zipped = request("application/json")
        .header("content-encoding", "gzip")
        .body("{}");
    Answer::to(zipped).await.refused(415, "unsupported_media_type");
    // Nothing is read from strangers: the answer comes although the body never does.
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 75000000\r\n\r\n"
    );
    let answer = raw::exchange(&stage.valetkey.base(), &head).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
