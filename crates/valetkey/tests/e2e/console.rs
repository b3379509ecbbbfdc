//! What the console is served with. What it does is tested in a browser: `tests/browser`.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::api::client;
use crate::support::html;
use crate::support::stage::Stage;

#[tokio::test]
async fn f01_f19_the_console_has_a_policy_without_inline_script_and_is_not_stored() {
    let stage = Stage::new().await;
    for path in ["/app", "/app/connectors/some/run", "/s/team/app/connectors"] {
        let answer = client().get(stage.admin.url(path)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        let policy = header("content-security-policy");
        for wanted in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "worker-src 'none'",
            "object-src 'none'",
            "trusted-types 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split(';').any(|d| d.trim() == wanted), "{path}: {policy}");
        }
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        let body = answer.text().await.expect("text");
        for tag in html::tags(&body) {
            assert!(tag.attributes().all(|a| !a.starts_with("on") && a != "style"), "{path}");
            let is_inline = tag.name == "style" || tag.name == "script" && tag.get("src").is_none();
            assert!(!is_inline, "{path}: {tag:?}");
        }
    }
}

#[tokio::test]
async fn files_are_kept_for_ever_under_the_hash_of_all_of_them() {
    let stage = Stage::new().await;
    let shell = client().get(stage.admin.url("/app")).send().await.expect("an answer");
    let shell = shell.text().await.expect("text");
    let (_, rest) = shell.split_once("src=\"").expect("a script");
    let (main, _) = rest.split_once('"').expect("its end");
    let answer = client().get(stage.admin.url(main)).send().await.expect("an answer");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert!(answer.text().await.expect("text").contains("from './lib.js'"));
    let packed = client()
        .get(stage.admin.url(main))
        .header("accept-encoding", "gzip")
        .send()
        .await
        .expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let other = main.replace("/app/assets/", "/app/assets/0");
    let missing = client().get(stage.admin.url(&other)).send().await.expect("an answer");
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn f03_icons_are_images_in_a_sandbox() {
    let stage = Stage::new().await;
    let icon = client()
        .get(stage.admin.url("/app/icons/.notion"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(icon.headers()["content-type"], "image/svg+xml");
    assert_eq!(icon.headers()["content-security-policy"], "default-src 'none'; sandbox");
    let none = client()
        .get(stage.admin.url("/app/icons/.nothing"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn f18_fields_that_are_no_secrets_come_back_to_those_who_may_change_them() {
    let stage = Stage::new().await;
    stage.admin.create("api", &stage.connector()).await;
    let path = "/api/actions/connector/api";
    let seen = stage.admin.get(path).await.expect(200);
    assert!(seen["auth"]["clientId"].is_string(), "{seen}");
    assert!(seen["auth"].get("clientSecret").is_none(), "{seen}");
    let reader = stage.admin.make_key(&["connectors:read"], json!({})).await;
    let seen = reader.get(path).await.expect(200);
    assert!(seen.get("auth").is_none(), "{seen}");
}
