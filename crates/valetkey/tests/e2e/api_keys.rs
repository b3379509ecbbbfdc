//! API keys and other credentials: how they are made, shown, presented, refused and ended.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Answer, client};
use crate::support::canary::Canaries;
use crate::support::patch;
use crate::support::raw;
use crate::support::secret;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

const LIST: &str = "/api/actions/connectors";

#[tokio::test]
async fn d01_d04_a_key_is_shown_once_and_stored_as_a_hash() {
    let mut stage = Stage::new().await;
    let made = stage
        .admin
        .post(
            "/api/security/api_keys",
            &json!({"name": "ci", "privileges": ["connectors:read"]}),
        )
        .await;
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.expect(200);
    let key = made["key"].as_str().expect("a key").to_owned();
    assert!(
        key.starts_with("vk_") && key.len() > 60,
        "prefix, public id, 256 bits, check"
    );
    let listed = stage.admin.get("/api/security/api_keys").await;
    assert!(listed.text().contains(made["id"].as_str().expect("an id")));
    let audit = stage.admin.get("/api/audit").await.text();
    let canaries = Canaries::new([key, stage.admin.key.clone()]);
    canaries.are_not_in("the list of keys", listed.text());
    canaries.are_not_in("the audit log", audit);
    canaries.are_not_in("the log", stage.valetkey.whole_output().await);
    canaries.are_not_below(&stage.valetkey.setup.data_dir());
}

#[tokio::test]
async fn d05_a_deleted_key_is_dead_at_once() {
    let stage = Stage::new().await;
    let made = stage
        .admin
        .post(
            "/api/security/api_keys",
            &json!({"name": "ci", "privileges": ["connectors:read"]}),
        )
        .await
        .expect(200);
    let key = stage.admin.with_key(made["key"].as_str().expect("a key"));
    key.get(LIST).await.expect(200);
    stage
        .admin
        .delete(&format!(
            "/api/security/api_keys/{}",
            made["id"].as_str().expect("an id")
        ))
        .await
        .expect(204);
    key.get(LIST).await.refused(401, "unauthenticated");
    stage.admin.get(LIST).await.expect(200);
}

#[tokio::test]
async fn d06_an_expired_key_says_so() {
    let stage = Stage::new().await;
    let key = stage
        .admin
        .make_key(&["connectors:read"], json!({"expiration": "2001-01-01T00:00:00Z"}))
        .await;
    key.get(LIST).await.refused(401, "key_expired");
    let key = stage
        .admin
        .make_key(&["connectors:read"], json!({"expiration": "2999-01-01T00:00:00Z"}))
        .await;
    key.get(LIST).await.expect(200);
}

#[tokio::test]
async fn d07_guessing_keys_is_slowed_down_and_locks_nobody_out() {
    let stage = Stage::new().await;
    let stranger = stage.admin.with_key("vk_not-a-key-of-anybody-0123456789");
    let mut statuses = Vec::new();
    for _ in 0..300 {
        statuses.push(stranger.get(LIST).await.status);
    }
    assert_eq!(statuses[0], 401);
    assert!(statuses.contains(&429), "never slowed down");
    stranger.get(LIST).await.refused(429, "too_many_failures");
    stage.admin.get(LIST).await.expect(200);
    let failures = stage.admin.audit("auth.fail").await;
    assert!(!failures.is_empty() && failures.len() <= 200);
}

#[tokio::test]
async fn d08_a_key_in_a_url_is_refused_and_not_logged() {
    let mut stage = Stage::with(Setup::new().set("LOG", "trace")).await;
    let key = stage.admin.key.clone();
    for query in [
        format!("api_key={key}"),
        format!("access_token={key}"),
        format!("x={key}"),
        format!("API_KEY={key}"),
        "token=eyJhbGciOi".to_owned(),
    ] {
        let url = stage.admin.url(&format!("{LIST}?{query}"));
        Answer::to(client().get(url)).await.expect(400);
        stage
            .admin
            .get(&format!("{LIST}?{query}"))
            .await
            .refused(400, "credential_in_url");
    }
    let answer = stage.admin.get(&format!("/api/actions/connector/{key}")).await;
    assert!(answer.status == 400 || answer.status == 404, "{}", answer.text());
    let canaries = Canaries::new([key]);
    canaries.are_not_in("the answer", answer.text());
    canaries.are_not_in("the log", stage.valetkey.whole_output().await);
}

#[tokio::test]
async fn d09_one_credential_is_enough() {
    let stage = Stage::new().await;
    let both = stage
        .admin
        .request(Method::GET, LIST)
        .header("authorization", format!("Bearer {}", stage.admin.key));
    Answer::to(both).await.refused(400, "multiple_credentials");
    let bearer = client()
        .get(stage.admin.url(LIST))
        .header("authorization", format!("Bearer {}", stage.admin.key));
    Answer::to(bearer).await.expect(200);
}

#[tokio::test]
async fn d10_malformed_credentials_are_told_alike() {
    let stage = Stage::new().await;
    let key = &stage.admin.key;
    let malformed = [
        String::new(),
        "ApiKey".to_owned(),
        "ApiKey ".to_owned(),
        "Bearer".to_owned(),
        key.clone(),
        format!("Basic {key}"),
        format!("ApiKey  {key}"),
        format!("ApiKey {key} x"),
        format!("ApiKey {key}x"),
        format!("ApiKey {}", &key[..key.len() - 1]),
        "ApiKey vk_".to_owned(),
        "ApiKey vk_x".to_owned(),
        format!("ApiKey {}", key.to_uppercase()),
        format!("ApiKey vk_{}", "x".repeat(8000)),
    ];
    let mut messages = Vec::new();
    for value in malformed {
        let answer = Answer::to(client().get(stage.admin.url(LIST)).header("authorization", &value)).await;
        messages.push(answer.refused(401, "unauthenticated")["message"].clone());
        assert!(!answer.header("www-authenticate").is_empty());
    }
    assert!(messages.windows(2).all(|pair| pair[0] == pair[1]), "{messages:?}");
    let odd = raw::exchange(
        &stage.valetkey.base(),
        &format!("GET {LIST} HTTP/1.1\r\nhost: x\r\nauthorization: ApiKey vk_\u{fc}\r\n\r\n"),
    )
    .await;
    assert!(odd.starts_with("HTTP/1.1 401 "), "{odd}");
    let huge = format!(
        "GET {LIST} HTTP/1.1\r\nhost: x\r\nauthorization: ApiKey {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let huge = raw::exchange(&stage.valetkey.base(), &huge).await;
    assert!(
        huge.is_empty() || huge.starts_with("HTTP/1.1 431 ") || huge.starts_with("HTTP/1.1 400 "),
        "{huge}"
    );
    stage.admin.get(LIST).await.expect(200);
}

#[tokio::test]
async fn d24_nobody_makes_a_key_that_reaches_further_than_their_own() {
    let stage = Stage::new().await;
    let maker = stage
        .admin
        .make_key(
            &["keys:write", "connectors:read"],
            json!({"spaces": ["a"], "connectors": ["x"]}),
        )
        .await
        .in_space("a");
    let try_key = async |more: Value| {
        let mut body = json!({"name": "k", "privileges": ["connectors:read"], "connectors": ["x"]});
        patch(&mut body, &more);
        maker.post("/api/security/api_keys", &body).await
    };
    try_key(json!({})).await.expect(200);
    for more in [
        json!({"privileges": ["admin"]}),
        json!({"privileges": ["connectors:read", "tokens:read"]}),
        json!({"spaces": ["*"]}),
        json!({"spaces": ["a", "b"]}),
        json!({"connectors": null}),
        json!({"connectors": ["x", "y"]}),
        json!({"profileUid": "alice"}),
    ] {
        try_key(more.clone()).await.refused(403, "privilege_missing");
    }
    let admins: Vec<Value> =
        serde_json::from_value(stage.admin.get("/api/security/api_keys").await.expect(200)).expect("a list");
    let bootstrap = admins.iter().find(|k| k["name"] == "bootstrap").expect("the first key")["id"]
        .as_str()
        .expect("an id");
    let refused = maker.delete(&format!("/api/security/api_keys/{bootstrap}")).await;
    assert!([403, 404].contains(&refused.status), "{}", refused.text());
    stage.admin.get(LIST).await.expect(200);
}

#[tokio::test]
async fn d28_tokens_and_secrets_come_back_on_one_route_only() {
    let stage = Stage::per_user().await;
    let token = secret("bearer-of-an-administrator");
    let secrets = json!({"authType": "bearer", "token": token});
    let body =
        json!({"name": "x", "connector_type_id": ".http", "config": {"baseUrl": stage.fake.url}, "secrets": secrets});
    let created = stage.admin.post("/api/actions/connector/plain", &body).await;
    stage.connect(&stage.user, "api").await;
    let canaries = Canaries::new(stage.fake.secrets().into_iter().chain([token]));
    canaries.are_not_in("the created connector", created.text());
    let reads = [
        LIST,
        "/api/actions/connector/api",
        "/api/actions/connector/plain",
        "/api/audit",
        "/api/security/api_keys",
        "/api/status",
        "/api/openapi.json",
    ];
    for path in reads {
        canaries.are_not_in(path, stage.user.get(path).await.text());
    }
    let connector = stage.user.get("/api/actions/connector/api").await.expect(200);
    assert!(
        connector.get("secrets").is_none() && connector["is_missing_secrets"] == false,
        "{connector}"
    );
    let before = stage.admin.audit("token.export").await.len();
    let exported = stage.user.token("api").await;
    assert_eq!(exported.header("cache-control"), "no-store");
    assert_eq!(stage.admin.audit("token.export").await.len(), before + 1);
    stage.user.token("plain").await.refused(400, "auth_type_not_oauth");
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let stage = Stage::new().await;
    let mut ids = Vec::new();
    for path in [LIST, "/nowhere", "/healthz", "/readyz", "/api/status", "/metrics"] {
        ids.push(stage.admin.get(path).await.header("x-request-id").to_owned());
    }
    assert!(ids.iter().all(|id| !id.is_empty()), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let request = stage.admin.request(Method::DELETE, LIST);
    Answer::to(request).await.refused(405, "method_not_allowed");
    let status = Answer::to(client().get(stage.admin.url("/api/status")))
        .await
        .expect(200);
    assert_eq!(status["status"], "ok");
    assert!(
        status["version"].is_string() && status.get("details").is_none(),
        "{status}"
    );
}
