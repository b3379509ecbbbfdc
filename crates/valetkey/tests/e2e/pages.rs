//! The pages that people see: strict headers, no inline script, and every stranger's word escaped.

use reqwest::Method;
use serde_json::json;

use crate::support::api::{Answer, client};
use crate::support::browser::{Browser, Page, altered};
use crate::support::html;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// Every kind of page that the product shows to a browser.
async fn all_pages(stage: &Stage) -> Vec<(&'static str, Page)> {
    let mut browser = Browser::new();
    let flow = stage.user.start("api", json!({})).await;
    let connect = browser.open(&flow.url).await;
    let callback = browser.walk(connect.link("continue")).await;
    let done = browser.open(callback.as_str()).await;
    done.connected();
    let replayed = browser.open(callback.as_str()).await;
    let used = Browser::new().open(&flow.url).await;
    let denied = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    let denied = browser
        .open(altered(&denied, &[("code", None), ("error", Some("access_denied"))]).as_str())
        .await;
    let mut browser = Browser::new();
    let given_up = browser.open(&stage.user.start("api", json!({})).await.url).await;
    let cancelled = browser.open(given_up.link("cancel").as_str()).await;
    let unknown = format!("{}/connect/unknown", stage.valetkey.base());
    let unknown = browser.open(&unknown).await;
    vec![
        ("cancelled", cancelled),
        ("unknown link", unknown),
        ("connect", connect),
        ("connected", done),
        ("replayed", replayed),
        ("used link", used),
        ("denied", denied),
    ]
}

#[tokio::test]
async fn f01_every_page_has_a_policy_without_inline_script() {
    let stage = Stage::per_user().await;
    for (name, page) in all_pages(&stage).await {
        let policy = page.header("content-security-policy");
        let directives: Vec<_> = policy.split(';').map(str::trim).collect();
        for wanted in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "style-src 'self'",
            "object-src 'none'",
            "worker-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(directives.contains(&wanted), "{name}: no {wanted} in {policy}");
        }
        assert!(
            !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"),
            "{name}: {policy}"
        );
        assert!(page.headers.get("content-security-policy-report-only").is_none());
        for tag in html::tags(&page.body) {
            assert!(
                tag.attributes().all(|a| !a.starts_with("on") && a != "style"),
                "{name}: {tag:?}"
            );
            match tag.name.as_str() {
                "script" => assert!(tag.get("src").is_some(), "{name}: {tag:?}"),
                "style" | "iframe" | "object" | "embed" | "base" => panic!("{name}: {tag:?}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn f06_f19_pages_cannot_be_framed_sniffed_cached_or_traced() {
    let stage = Stage::per_user().await;
    for (name, page) in all_pages(&stage).await {
        let expected = [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
        ];
        for (header, value) in expected {
            assert_eq!(page.header(header), value, "{name}: {header}");
        }
        assert!(
            page.header("content-type")
                .eq_ignore_ascii_case("text/html; charset=utf-8"),
            "{name}"
        );
        assert!(!page.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn a50_f16_pages_load_nothing_from_anybody_else() {
    let stage = Stage::per_user().await;
    let base = stage.valetkey.base();
    for (name, page) in all_pages(&stage).await {
        for tag in html::tags(&page.body) {
            let loaded = match tag.name.as_str() {
                "link" => tag.get("href"),
                "a" => None,
                _ => tag.get("src").or(tag.get("srcset")).or(tag.get("data")),
            };
            let Some(url) = loaded.map(|l| page.url.join(l).expect("a URL")) else {
                continue;
            };
            if url.scheme() == "data" {
                continue;
            }
            assert!(url.as_str().starts_with(&base), "{name} loads {url}");
            let asset = Answer::to(client().get(url.as_str())).await;
            assert_eq!(asset.status, 200, "{name}: {url}");
            assert_eq!(asset.header("x-content-type-options"), "nosniff");
        }
        assert!(
            html::tags(&page.body).iter().all(|t| t.get("http-equiv").is_none()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_callback_page_tells_other_tabs_and_closes() {
    let stage = Stage::per_user().await;
    let page = stage.finish(&stage.user.start("api", json!({})).await).await;
    page.connected();
    let sources: Vec<_> = html::tags(&page.body)
        .iter()
        .filter(|t| t.name == "script")
        .filter_map(|t| t.get("src").map(str::to_owned))
        .collect();
    assert_eq!(sources, ["/api/actions/connector/_oauth_callback_script"]);
    let body = html::tags(&page.body)
        .into_iter()
        .find(|t| t.name == "body")
        .expect("a body");
    let flow = body.get("data-flow").expect("a fingerprint of the flow");
    assert_eq!(flow.len(), 22, "128 bits");
    let told = ["data-connector-id", "data-status", "data-status-code"].map(|name| body.get(name).unwrap_or_default());
    assert_eq!(told, ["api", "success", "200"], "what the script tells");
    assert!(!page.body.contains("state="));
}

#[tokio::test]
async fn f19_every_answer_says_that_others_may_not_load_it_and_that_https_stays() {
    for (base, lasting) in [
        ("https://connect.example.com", Some("max-age=31536000")),
        ("http://127.0.0.1:1", None),
    ] {
        let stage = Stage::per_user_with(Setup::new().set("PUBLIC_BASE_URL", base)).await;
        for path in [
            "/connect/unknown",
            "/api/actions/connectors",
            "/healthz",
            "/nowhere",
            "/app",
        ] {
            let answer = Answer::to(client().get(stage.admin.url(path))).await;
            let header = |name| answer.headers.get(name).map(|v| v.to_str().expect("text"));
            assert_eq!(header("strict-transport-security"), lasting, "{path}");
            assert_eq!(header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
            assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(header("x-frame-options"), Some("DENY"), "{path}");
            let policy = header("content-security-policy").expect("a policy");
            assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        }
    }
}

#[tokio::test]
async fn the_callback_script_is_public_and_cacheable_for_a_day() {
    let stage = Stage::per_user().await;
    let path = "/api/actions/connector/_oauth_callback_script";
    let script = Answer::to(client().get(stage.admin.url(path))).await;
    assert_eq!(script.status, 200);
    assert!(script.header("content-type").starts_with("application/javascript"));
    assert!(
        script.header("cache-control").contains("max-age=86400"),
        "{}",
        script.header("cache-control")
    );
    assert_eq!(script.header("x-content-type-options"), "nosniff");
    let text = script.text();
    for wanted in [
        "BroadcastChannel",
        "oauth_flow_completed",
        "connectorId",
        "statusCode",
        "countdown",
        "window.close()",
    ] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
    assert!(!text.contains("eval(") && !text.contains("innerHTML") && !text.contains("postMessage('*"));
    Answer::to(client().request(Method::POST, stage.admin.url(path)))
        .await
        .refused(405, "method_not_allowed");
}
