//! Where a browser goes when a flow is over: only where it may, and with nothing but a status.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use valetkey_core::encode::base64url;

use crate::support::browser::{Browser, altered};
use crate::support::fake::Script;
use crate::support::raw::{Reply, fields};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

const APP: &str = "https://app.example.com";

async fn stage() -> Stage {
    Stage::per_user_with(Setup::new().set(
        "ALLOWED_RETURN_ORIGINS",
        "https://app.example.com,http://localhost:3000",
    ))
    .await
}

fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// What names a flow to whoever started it: it knows the state.
fn fingerprint(state: &str) -> String {
    base64url(&digest(&SHA256, state.as_bytes()).as_ref()[..16])
}

#[tokio::test]
async fn f13_success_is_told_in_the_return_url_and_nothing_else_is() {
    let stage = stage().await;
    let return_url = format!("{APP}/settings?tab=accounts#here");
    let flow = stage.user.start("api", json!({"returnUrl": return_url})).await;
    let page = stage.finish(&flow).await;
    assert_eq!(page.status, 302, "{}", page.body);
    let location = page.location().expect("a redirect");
    assert!(location.as_str().starts_with(&format!("{APP}/settings?")), "{location}");
    assert_eq!(location.fragment(), Some("here"));
    let told = [
        ("tab", "accounts"),
        ("oauth_authorization", "success"),
        ("connector_id", "api"),
        ("status_code", "200"),
    ];
    let mut query = fields(location.query().expect("a query"));
    assert_eq!(query.remove("oauth_flow"), Some(fingerprint(&flow.state)));
    assert_eq!(query, params(&told));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(stage.user.status("api").await, "connected");
}

#[tokio::test]
async fn f13_failure_is_told_in_our_words_only() {
    let stage = stage().await;
    for return_url in [
        format!("{APP}/done"),
        "http://localhost:3000/".to_owned(),
        stage.valetkey.base(),
    ] {
        let flow = stage.user.start("api", json!({"returnUrl": return_url})).await;
        let mut browser = Browser::new();
        let callback = browser.authorize(&flow.url).await;
        let denied = [
            ("code", None),
            ("error", Some("access_denied")),
            ("error_description", Some("words of the provider")),
        ];
        let page = browser.open(altered(&callback, &denied).as_str()).await;
        assert_eq!(page.status, 302, "{}", page.body);
        let location = page.location().expect("a redirect");
        assert!(location.as_str().starts_with(&return_url), "{location}");
        let mut told = fields(location.query().expect("a query"));
        assert!(
            told.remove("error")
                .is_some_and(|e| !e.is_empty() && !e.contains("words of the provider")),
            "{location}"
        );
        assert_eq!(told.remove("oauth_flow"), Some(fingerprint(&flow.state)));
        let rest = [
            ("oauth_authorization", "error"),
            ("connector_id", "api"),
            ("status_code", "403"),
        ];
        assert_eq!(told, params(&rest));
    }
    stage.fake.script([Script::Say(Reply::json(
        503,
        &json!({"error": "temporarily_unavailable"}),
    ))]);
    let flow = stage.user.start("api", json!({"returnUrl": APP})).await;
    let location = stage.finish(&flow).await.location().expect("a redirect");
    let told = fields(location.query().expect("a query"));
    assert_eq!(
        (told["oauth_authorization"].as_str(), told["status_code"].as_str()),
        ("error", "502")
    );
}

#[tokio::test]
async fn another_browser_is_not_sent_to_the_return_url() {
    let stage = stage().await;
    let flow = stage.user.start("api", json!({"returnUrl": APP})).await;
    let callback = Browser::new().authorize(&flow.url).await;
    Browser::new()
        .open(callback.as_str())
        .await
        .failed(403, "flow_browser_mismatch");
}

#[tokio::test]
async fn f12_a_return_url_outside_the_listed_origins_is_refused() {
    let stage = stage().await;
    let long = format!("{APP}/{}", "x".repeat(10 * 1024));
    let refused = [
        "//evil.example",
        "/\\evil.example",
        "/%5cevil.example",
        "/%09/evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https://app.example.com@evil.example",
        "https://app.example.com.evil.example",
        "https://evil.example/https://app.example.com",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example.com/%0d%0aLocation:x\r\nX: y",
        "https://app.example.com\\@evil.example",
        "http://app.example.com/",
        "https://sub.app.example.com/",
        "https://app.example.com:444/",
        "https://localhost:3000/",
        "http://localhost:3001/",
        "http://localhost/",
        "/settings",
        "settings",
        "",
        " https://app.example.com/",
        "https://app.example.com\t/",
        "myapp://done",
        "https://user@app.example.com/",
        &long,
    ];
    for return_url in refused {
        let answer = stage
            .user
            .on("api", "_start_oauth_flow", json!({"returnUrl": return_url}))
            .await;
        assert_eq!(answer.status, 400, "{return_url:?}: {}", answer.text());
        answer.refused(400, "return_url_not_allowed");
    }
    for allowed in [
        "https://app.example.com",
        "https://app.example.com/a/b?c=d",
        "https://APP.example.com:443/",
        "http://localhost:3000/x",
    ] {
        let flow = stage.user.start("api", json!({"returnUrl": allowed})).await;
        stage
            .user
            .on("api", "_oauth_cancel", json!({"state": flow.state}))
            .await
            .expect(204);
    }
}

#[tokio::test]
async fn f23_an_app_is_returned_to_only_by_the_very_url_that_it_registered() {
    let app = "com.example.app:/connected";
    let setup = Setup::new().set("ALLOWED_RETURN_URLS", app);
    let stage = Stage::per_user_with(setup).await;
    for other in [
        "myapp://",
        "myapp://done",
        "com.example.app:/",
        "com.example.app:/connected/",
        "com.example.app:/connected?x=1",
        "com.example.app:/connected#x",
        "COM.example.app:/connected",
        "com.example.app://connected",
        "com.example.app.evil:/connected",
    ] {
        let body = json!({"returnUrl": other});
        let answer = stage.user.on("api", "_start_oauth_flow", body).await;
        answer.refused(400, "return_url_not_allowed");
    }
    let flow = stage.user.start("api", json!({"returnUrl": app})).await;
    let page = stage.finish(&flow).await;
    assert_eq!(page.status, 302, "{}", page.body);
    let location = page.location().expect("a redirect");
    let told = location.as_str().strip_prefix("com.example.app:/connected?");
    let told = fields(told.unwrap_or_else(|| panic!("{location}")));
    assert_eq!(told["oauth_authorization"], "success");
    assert_eq!(told["oauth_flow"], fingerprint(&flow.state));
}

#[tokio::test]
async fn f23_only_urls_of_apps_can_be_registered() {
    for bad in [
        "myapp://",
        "myapp:/done",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example.com/",
        "file:///etc/passwd",
        "com.example.app:/a#b",
        "connected",
    ] {
        let said = Setup::new().set("ALLOWED_RETURN_URLS", bad).start_in_vain().await;
        assert!(
            said.contains("allowed_return_urls must hold URLs of apps"),
            "{bad}: {said}"
        );
    }
}

#[tokio::test]
async fn f14_a_callback_never_takes_a_target_from_the_request() {
    let stage = stage().await;
    let callback = format!("{}/api/actions/connector/_oauth_callback/api", stage.valetkey.base());
    let targets = "return_url=https%3A%2F%2Fapp.example.com&returnUrl=https%3A%2F%2Fapp.example.com&redirect_uri=https%3A%2F%2Fapp.example.com&next=https%3A%2F%2Fapp.example.com";
    let headers = [
        ("referer", "https://app.example.com/x"),
        ("origin", "https://app.example.com"),
    ];
    let page = Browser::new()
        .open_with(reqwest::Method::GET, &format!("{callback}?{targets}"), &headers)
        .await;
    page.failed(400, "flow_invalid");
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let real = browser.authorize(&flow.url).await;
    let page = browser
        .open_with(reqwest::Method::GET, &format!("{real}&{targets}"), &headers)
        .await;
    page.connected();
    assert!(page.location().is_none());
}
