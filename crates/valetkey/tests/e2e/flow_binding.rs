//! A flow belongs to the browser that opened its link, and to the user it was started for.

use reqwest::Method;
use serde_json::json;

use crate::support::browser::{Browser, altered};
use crate::support::canary::Canaries;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

#[tokio::test]
async fn a09_what_one_person_started_another_cannot_complete() {
    let stage = Stage::per_user().await;
    let (mallory, victim) = (stage.admin.for_user("mallory"), stage.admin.for_user("victim"));
    let trap = mallory.start("api", json!({})).await;
    let provider_url = Browser::new().open(&trap.url).await.link("continue");
    // The victim has a flow of her own under way and is sent the provider's URL of the other one.
    let mut browser = Browser::of("victim");
    let own = browser.authorize(&victim.start("api", json!({})).await.url).await;
    let callback = browser.walk(provider_url).await;
    browser
        .open(callback.as_str())
        .await
        .failed(403, "flow_browser_mismatch");
    assert!(stage.fake.seen("/token").is_empty());
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert_eq!(mallory.status("api").await, "not_connected");
    assert_eq!(
        stage.admin.audit("flow.reject").await[1]["outcome"],
        "flow_browser_mismatch"
    );
    browser.open(own.as_str()).await.connected();
    assert_eq!(victim.status("api").await, "connected");
}

#[tokio::test]
async fn a10_a_link_opened_in_one_browser_cannot_be_finished_in_another() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut first = Browser::new();
    let callback = first.authorize(&flow.url).await;
    Browser::new()
        .open(callback.as_str())
        .await
        .failed(403, "flow_browser_mismatch");
    first.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert!(stage.fake.seen("/token").is_empty());
    let cookies = first.cookies["127.0.0.1"].values().cloned();
    Canaries::new(cookies).are_not_below(&stage.valetkey.setup.data_dir());
}

#[tokio::test]
async fn a10_a_link_that_nobody_opened_cannot_be_finished() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let callback = format!(
        "{}/api/actions/connector/_oauth_callback/api?code=x&state={}",
        stage.valetkey.base(),
        flow.state
    );
    Browser::new()
        .open(&callback)
        .await
        .failed(403, "flow_browser_mismatch");
    assert!(stage.fake.seen("/token").is_empty());
}

#[tokio::test]
async fn a57_a_callback_that_a_server_forwards_is_refused() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    // What another server would send: code and state as they came, and neither the cookie nor a key that helps.
    let key = format!("ApiKey {}", stage.admin.key);
    let forwarded = Browser::new()
        .open_with(Method::GET, callback.as_str(), &[("authorization", &key)])
        .await;
    forwarded.failed(403, "flow_browser_mismatch");
    assert!(stage.fake.seen("/token").is_empty());
    // A state works once, whatever follows: it was in other hands.
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert!(stage.fake.seen("/token").is_empty());
    assert_eq!(stage.user.status("api").await, "not_connected");
}

#[tokio::test]
async fn a11_the_cookie_comes_back_from_the_provider_and_from_nowhere_else() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let page = browser.open(&flow.url).await;
    let [cookie] = page.set_cookies()[..] else {
        panic!("not one cookie: {:?}", page.set_cookies())
    };
    let attributes: Vec<_> = cookie
        .split(';')
        .skip(1)
        .map(|a| a.trim().to_ascii_lowercase())
        .collect();
    assert!(
        attributes.contains(&"httponly".to_owned()) && attributes.contains(&"samesite=lax".to_owned()),
        "{cookie}"
    );
    assert!(attributes.iter().all(|a| !a.starts_with("domain")), "{cookie}");
    let seconds = attributes
        .iter()
        .find_map(|a| a.strip_prefix("max-age="))
        .expect("an end");
    let seconds: u64 = seconds.parse().expect("a number");
    assert!((540..=600).contains(&seconds), "as long as the flow: {cookie}");
    assert!(
        !attributes.contains(&"secure".to_owned()),
        "not on plain http: {cookie}"
    );
    let callback = browser.walk(page.link("continue")).await;
    // A form post from the provider's site comes without the cookie; there is no other way in.
    let posted = browser.open_with(Method::POST, callback.as_str(), &[]).await;
    assert_eq!(posted.status, 405);
    let done = browser.open(callback.as_str()).await;
    done.connected();
    assert!(
        browser.cookies["127.0.0.1"].is_empty(),
        "the cookie is no longer needed: {:?}",
        done.set_cookies()
    );
}

#[tokio::test]
async fn a12_on_https_the_cookie_cannot_be_tossed_in_from_another_domain() {
    let setup = Setup::new().set("PUBLIC_BASE_URL", "https://connect.example.com");
    let stage = Stage::per_user_with(setup).await;
    let flow = stage.user.start("api", json!({})).await;
    let local = |url: &str| url.replace("https://connect.example.com", &stage.valetkey.base());
    assert!(
        flow.url.starts_with("https://connect.example.com/connect/"),
        "{}",
        flow.url
    );
    let mut browser = Browser::new();
    let page = browser.open(&local(&flow.url)).await;
    let [cookie] = page.set_cookies()[..] else {
        panic!("not one cookie: {:?}", page.set_cookies())
    };
    let attributes: Vec<_> = cookie.split(';').map(str::trim).collect();
    assert!(
        cookie.starts_with("__Host-") && attributes.contains(&"Secure") && attributes.contains(&"Path=/"),
        "{cookie}"
    );

    // A value that was there before is neither taken nor kept.
    let name = cookie.split('=').next().expect("a name").to_owned();
    let callback = local(browser.walk(page.link("continue")).await.as_str());
    let mut tossed = Browser::new();
    tossed
        .cookies
        .entry("127.0.0.1".to_owned())
        .or_default()
        .insert(name, "tossed".to_owned());
    tossed.open(&callback).await.failed(403, "flow_browser_mismatch");
    assert!(stage.fake.seen("/token").is_empty());
}

#[tokio::test]
async fn a12_a_cookie_that_was_there_before_the_link_is_replaced() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let page = browser.open(&flow.url).await;
    let name = page.set_cookies()[0].split('=').next().expect("a name").to_owned();
    let other = stage.user.start("api", json!({})).await;
    let mut prepared = Browser::new();
    prepared
        .cookies
        .entry("127.0.0.1".to_owned())
        .or_default()
        .insert(name.clone(), "tossed".to_owned());
    prepared.open(&flow.url).await.failed(410, "ticket_used");
    prepared.connect(&other.url).await.connected();
    assert_eq!(stage.fake.exchanges(), 1);
}

#[tokio::test]
async fn a13_flows_of_two_users_in_one_browser_stay_apart() {
    let stage = Stage::per_user().await;
    let (u, w) = (stage.admin.for_user("u"), stage.admin.for_user("w"));
    let mut browser = Browser::new();
    stage.fake.sign_in("account-of-u");
    let of_u = browser.authorize(&u.start("api", json!({})).await.url).await;
    stage.fake.sign_in("account-of-w");
    let of_w = browser.authorize(&w.start("api", json!({})).await.url).await;
    browser.open(of_w.as_str()).await.connected();
    browser.open(of_u.as_str()).await.connected();
    assert_eq!(
        u.call("api", "/api/whoami").await["data"]["data"]["account"],
        "account-of-u"
    );
    assert_eq!(
        w.call("api", "/api/whoami").await["data"]["data"]["account"],
        "account-of-w"
    );
}

#[tokio::test]
async fn a14_a_connect_link_says_what_it_is_for_and_serves_one_browser() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({"scopes": ["read"]})).await;
    let mut browser = Browser::new();
    let page = browser.open(&flow.url).await;
    assert_eq!(page.status, 200, "no redirect without a person's consent");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    for shown in ["An account", "u1", "read", "127.0.0.1"] {
        assert!(page.text().contains(shown), "{shown} is not in {}", page.text());
    }
    assert!(page.link("continue").as_str().starts_with(&stage.fake.url));
    Browser::new().open(&flow.url).await.failed(410, "ticket_used");
    assert_eq!(
        browser.open(&flow.url).await.status,
        200,
        "a reload in the same browser is no second one"
    );
}

#[tokio::test]
async fn an_unknown_connect_link_is_an_error_page() {
    let stage = Stage::per_user().await;
    for ticket in ["x", &"x".repeat(43), "%00", "..%2f..", &"x".repeat(3000)] {
        let page = Browser::new()
            .open(&format!("{}/connect/{ticket}", stage.valetkey.base()))
            .await;
        page.failed(404, "ticket_unknown");
        assert!(page.text().contains("This link does not work"), "{}", page.text());
        assert!(page.set_cookies().is_empty());
    }
}

#[tokio::test]
async fn a36_an_error_in_the_wrong_browser_shows_our_words_only() {
    let stage = Stage::per_user().await;
    let flow = stage.admin.for_user("mallory").start("api", json!({})).await;
    let callback = Browser::new().authorize(&flow.url).await;
    let phish = altered(
        &callback,
        &[
            ("code", None),
            ("error", Some("x")),
            ("error_description", Some("call 0800-EVIL now")),
        ],
    );
    let page = Browser::new().open(phish.as_str()).await;
    page.failed(403, "flow_browser_mismatch");
    assert!(!page.body.contains("EVIL"), "{}", page.body);
}

#[tokio::test]
async fn a37_prefetching_and_heads_take_nothing() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let prefetch = [("sec-purpose", "prefetch")];
    let mut scanner = Browser::new();
    assert_eq!(scanner.open_with(Method::HEAD, &flow.url, &[]).await.status, 405);
    assert_eq!(scanner.open_with(Method::GET, &flow.url, &prefetch).await.status, 503);
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    assert_eq!(
        browser.open_with(Method::HEAD, callback.as_str(), &[]).await.status,
        405
    );
    let early = browser.open_with(Method::GET, callback.as_str(), &prefetch).await;
    assert_eq!(early.status, 503);
    assert_eq!(early.header("cache-control"), "no-store");
    assert!(stage.fake.seen("/token").is_empty());
    browser.open(callback.as_str()).await.connected();
}
