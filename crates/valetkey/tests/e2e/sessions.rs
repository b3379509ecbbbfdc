//! Signing in with a browser, and what a session is good for.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Answer, client};
use crate::support::browser::Browser;
use crate::support::canary::Canaries;
use crate::support::signed_in::{SignedIn, sign_in};
use crate::support::stage::Stage;
use crate::support::valetkey::{Setup, Valetkey};

const LIST: &str = "/api/actions/connectors";

/// The sign-in link that a text has in it.
fn link_in(text: &str) -> String {
    let (_, rest) = text
        .split_once("/app/sign-in#")
        .unwrap_or_else(|| panic!("no link: {text}"));
    rest.split_whitespace().next().expect("a link").to_owned()
}

async fn anybody(valetkey: &Valetkey) -> Value {
    Answer::to(client().get(format!("{}/api/session", valetkey.base())))
        .await
        .expect(200)
}

#[tokio::test]
async fn an_api_key_opens_a_session_with_its_privileges() {
    let stage = Stage::new().await;
    let nobody = json!({"signed_in": false, "methods": {"api_key": true, "oidc": null}});
    assert_eq!(anybody(&stage.valetkey).await, nobody);
    let key = stage
        .admin
        .make_key(&["connectors:read"], json!({"name": "Ada's", "profileUid": "ada"}))
        .await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &key.key).await;
    let who = session.who().await;
    assert_eq!(who, session.answer);
    assert_eq!(who["signed_in"], true);
    assert_eq!(who["name"], "Ada's");
    assert_eq!(who["profile_uid"], "ada");
    assert_eq!(who["privileges"], json!(["connectors:read"]));
    assert_eq!(who["spaces"], json!(["default"]));
    assert!(who["expires_at"].is_string(), "{who}");
    session.get(LIST).await.expect(200);
    session
        .post("/api/security/api_keys", &json!({"name": "x", "privileges": ["admin"]}))
        .await
        .refused(403, "privilege_missing");
    session
        .get("/s/other/api/actions/connectors")
        .await
        .refused(403, "space_not_allowed");
    let start = &stage.admin.audit("session.start").await[0];
    assert_eq!(start["details"]["method"], "key", "{start}");
}

#[tokio::test]
async fn d33_the_cookie_is_for_this_server_alone_and_new_at_each_sign_in() {
    let stage = Stage::new().await;
    let base = stage.valetkey.base();
    let first = SignedIn::with_key(&base, &stage.admin.key).await;
    let set = first.set_cookie.to_ascii_lowercase();
    for part in ["httponly", "samesite=lax", "path=/", "max-age=43200"] {
        assert!(set.contains(part), "no {part}: {set}");
    }
    assert!(!set.contains("domain") && !set.contains("secure"), "{set}");
    // Signing in again ends the session that the browser had.
    let again = first.request(Method::POST, "/api/session");
    let again = Answer::to(again.json(&json!({"key": stage.admin.key}))).await;
    let second = SignedIn::from(&base, &again);
    assert_ne!(first.cookie, second.cookie);
    first.get(LIST).await.refused(401, "unauthenticated");
    second.get(LIST).await.expect(200);
    let secrets = [&first, &second].map(|s| s.cookie.split_once('=').expect("a value").1.to_owned());
    Canaries::new(secrets).are_not_below(&stage.valetkey.setup.data_dir());
}

#[tokio::test]
async fn d33_on_https_the_cookie_has_the_prefix_and_no_other_counts() {
    let setup = Setup::new().set("PUBLIC_BASE_URL", "https://connect.example.com");
    let stage = Stage::with(setup).await;
    let base = stage.valetkey.base();
    let session = SignedIn::with_key(&base, &stage.admin.key).await;
    assert!(
        session.cookie.starts_with("__Host-valetkey-session="),
        "{}",
        session.cookie
    );
    assert!(session.set_cookie.contains("; Secure"), "{}", session.set_cookie);
    session.get(LIST).await.expect(200);
    let planted = session.cookie.trim_start_matches("__Host-").to_owned();
    let planted = SignedIn::of_cookie(&base, &planted, Value::Null);
    planted.get(LIST).await.refused(401, "unauthenticated");
    let doubled = SignedIn::of_cookie(&base, &session.cookie, Value::Null);
    let two = doubled
        .request(Method::GET, LIST)
        .header("cookie", "__Host-valetkey-session=planted");
    Answer::to(two).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_wrong_key_opens_nothing_and_is_recorded() {
    let stage = Stage::new().await;
    let base = stage.valetkey.base();
    for body in [json!({"key": "vk_wrong"}), json!({"link": "wrong"})] {
        let answer = sign_in(&base, &body).await;
        answer.refused(401, "unauthenticated");
        assert_eq!(answer.header("set-cookie"), "");
    }
    for body in [json!({}), json!({"key": "a", "link": "b"})] {
        sign_in(&base, &body).await.refused(400, "validation_failed");
    }
    sign_in(&base, &json!({"password": "x"}))
        .await
        .refused(400, "unknown_field");
    let refused = stage.admin.audit("auth.fail").await;
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(refused[0]["details"]["method"], "link");
}

#[tokio::test]
async fn signing_in_is_limited_by_address() {
    let setup = Setup::new().set("SESSION__RATE_LIMITS__SIGN_IN__LIMIT", "3");
    let stage = Stage::with(setup).await;
    let base = stage.valetkey.base();
    for _ in 0..3 {
        sign_in(&base, &json!({"key": "vk_wrong"}))
            .await
            .refused(401, "unauthenticated");
    }
    let refused = sign_in(&base, &json!({"key": stage.admin.key})).await;
    refused.refused(429, "rate_limited");
    assert!(refused.retry_after() > 0);
    stage.admin.get(LIST).await.expect(200);
}

#[tokio::test]
async fn d35_pages_of_other_sites_cannot_use_a_session() {
    let stage = Stage::per_user().await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &stage.admin.key).await;
    let new = "/api/actions/connector/new";
    let body = stage.connector();
    let csrf = "cross_site_request";
    // Without the header; with it, but from elsewhere; and as a form could send it.
    let bare = || session.bare(Method::POST, new).json(&body);
    Answer::to(bare()).await.refused(403, csrf);
    for site in ["cross-site", "same-site", "none", "anything"] {
        let from = bare().header("kbn-xsrf", "true").header("sec-fetch-site", site);
        Answer::to(from).await.refused(403, csrf);
    }
    for media_type in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ] {
        let form = session.request(Method::POST, new).header("content-type", media_type);
        Answer::to(form.body(body.to_string()))
            .await
            .refused(415, "unsupported_media_type");
    }
    for method in [Method::PUT, Method::DELETE] {
        let request = session.bare(method, "/api/actions/connector/api").json(&body);
        Answer::to(request).await.refused(403, csrf);
    }
    Answer::to(session.bare(Method::DELETE, "/api/session"))
        .await
        .refused(403, csrf);
    // Old browsers do not say where a request comes from; the header is enough.
    Answer::to(bare().header("kbn-xsrf", "true")).await.expect(200);
    // A sign-in that another site makes the browser send is refused as well.
    let login = client().post(format!("{}/api/session", stage.valetkey.base()));
    let login = login
        .header("sec-fetch-site", "cross-site")
        .json(&json!({"key": stage.admin.key}));
    Answer::to(login).await.refused(403, csrf);
}

#[tokio::test]
async fn f21_reads_from_other_sites_are_all_refused_alike() {
    let stage = Stage::per_user().await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &stage.admin.key).await;
    for path in [LIST, "/api/actions/connector/api", "/api/actions/connector/missing"] {
        let from = session.bare(Method::GET, path).header("sec-fetch-site", "cross-site");
        Answer::to(from).await.refused(403, "cross_site_request");
    }
    let opened = session.bare(Method::GET, LIST).header("sec-fetch-site", "none");
    Answer::to(opened).await.expect(200);
}

#[tokio::test]
async fn a_session_and_a_key_together_are_refused() {
    let stage = Stage::new().await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &stage.admin.key).await;
    let both = session
        .request(Method::GET, LIST)
        .header("authorization", format!("ApiKey {}", stage.admin.key));
    Answer::to(both).await.refused(400, "multiple_credentials");
}

#[tokio::test]
async fn d33_signing_out_ends_the_session_on_the_server() {
    let stage = Stage::new().await;
    let base = stage.valetkey.base();
    let session = SignedIn::with_key(&base, &stage.admin.key).await;
    let out = session.delete("/api/session").await;
    out.expect(204);
    assert!(
        out.header("set-cookie").contains("Max-Age=0"),
        "{}",
        out.header("set-cookie")
    );
    assert_eq!(out.header("clear-site-data"), "\"cache\", \"storage\"");
    assert_eq!(out.header("cache-control"), "no-store");
    session.get(LIST).await.refused(401, "unauthenticated");
    assert_eq!(session.who().await["signed_in"], false);
    session.delete("/api/session").await.expect(204);
    assert_eq!(stage.admin.audit("session.end").await.len(), 1);
}

#[tokio::test]
async fn a_person_signs_out_of_every_browser_at_once() {
    let stage = Stage::new().await;
    let base = stage.valetkey.base();
    let other = stage.admin.make_key(&["connectors:read"], json!({})).await;
    let (first, second) = (
        SignedIn::with_key(&base, &stage.admin.key).await,
        SignedIn::with_key(&base, &stage.admin.key).await,
    );
    let stranger = SignedIn::with_key(&base, &other.key).await;
    first.delete("/api/sessions").await.expect(204);
    for ended in [&first, &second] {
        ended.get(LIST).await.refused(401, "unauthenticated");
    }
    stranger.get(LIST).await.expect(200);
    first.delete("/api/sessions").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_deleted_key_ends_its_sessions() {
    let stage = Stage::new().await;
    let made = stage
        .admin
        .post(
            "/api/security/api_keys",
            &json!({"name": "x", "privileges": ["connectors:read"]}),
        )
        .await
        .expect(200);
    let session = SignedIn::with_key(&stage.valetkey.base(), made["key"].as_str().expect("a key")).await;
    session.get(LIST).await.expect(200);
    let id = made["id"].as_str().expect("an id");
    stage
        .admin
        .delete(&format!("/api/security/api_keys/{id}"))
        .await
        .expect(204);
    session.get(LIST).await.refused(401, "unauthenticated");
    assert_eq!(session.who().await["signed_in"], false);
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let mut stage = Stage::new().await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &stage.admin.key).await;
    stage.valetkey.restart().await;
    session.get(LIST).await.expect(200);
}

#[tokio::test]
async fn d36_the_link_of_the_first_start_signs_in_once() {
    let setup = Setup::new().unset("BOOTSTRAP_API_KEY");
    let mut valetkey = setup.start().await;
    let base = valetkey.base();
    let link = link_in(&valetkey.output());
    assert!(valetkey.output().contains(&format!("{base}/app/sign-in#{link}")));
    let session = SignedIn::with(&base, &json!({"link": link})).await;
    let who = session.who().await;
    assert_eq!(who["profile_uid"], "admin");
    assert_eq!(who["privileges"], json!(["admin"]));
    assert_eq!(who["spaces"], json!(["*"]));
    session.get("/s/any/api/actions/connectors").await.expect(200);
    // The administrator hands out keys that are bound to nobody, and to others.
    for more in [json!({}), json!({"profileUid": "ada"})] {
        let mut body = json!({"name": "x", "privileges": ["connectors:read"]});
        crate::support::patch(&mut body, &more);
        session.post("/api/security/api_keys", &body).await.expect(200);
    }
    sign_in(&base, &json!({"link": link}))
        .await
        .refused(401, "unauthenticated");
    // It is good for nothing else.
    let as_key = client().get(format!("{base}{LIST}")).bearer_auth(&link);
    Answer::to(as_key).await.refused(401, "unauthenticated");
    valetkey.restart().await;
    assert_eq!(
        valetkey.output().matches("/app/sign-in#").count(),
        1,
        "not at every start"
    );
    Canaries::new([link]).are_not_below(&valetkey.setup.data_dir());
}

#[tokio::test]
async fn an_operator_prints_another_link() {
    let setup = Setup::new();
    let mut valetkey = setup.start().await;
    assert!(
        !valetkey.output().contains("/app/sign-in#"),
        "the operator has a key already"
    );
    valetkey.stop().await;
    let (code, said) = setup.command(&["sign-in-link"]).await;
    assert_eq!(code, 0, "{said}");
    let link = link_in(&said);
    valetkey.start_again().await;
    let session = SignedIn::with(&valetkey.base(), &json!({"link": link})).await;
    assert_eq!(session.who().await["name"], "Administrator");
}

#[tokio::test]
async fn a_flow_of_a_session_goes_straight_to_the_provider() {
    let stage = Stage::per_user().await;
    let key = stage
        .admin
        .make_key(&["oauth:connect", "connectors:read"], json!({"profileUid": "ada"}))
        .await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &key.key).await;
    let (mut browser, callback) = depart(&stage, &session).await;
    // The same person, in a session that was renewed meanwhile.
    let renewed = SignedIn::with_key(&stage.valetkey.base(), &key.key).await;
    session.delete("/api/session").await.expect(204);
    wear(&mut browser, &renewed);
    browser.open(callback.as_str()).await.connected();
    assert_eq!(key.status("api").await, "connected");
    let complete = &stage.admin.audit("flow.complete").await[0];
    assert_eq!(complete["user"], "ada", "{complete}");
}

/// Starts a flow in the session and goes through the provider's pages, up to the callback.
async fn depart(stage: &Stage, session: &SignedIn) -> (Browser, url::Url) {
    let started = session
        .post("/api/actions/connector/api/_start_oauth_flow", &json!({}))
        .await
        .expect(200);
    let url = started["authorizationUrl"].as_str().expect("a URL");
    assert!(url.starts_with(&stage.fake.url), "{url}");
    let mut browser = Browser::new();
    wear(&mut browser, session);
    let callback = browser.walk(url.parse().expect("a URL")).await;
    (browser, callback)
}

/// Gives a browser the cookie of a session, and no other.
fn wear(browser: &mut Browser, session: &SignedIn) {
    let (name, value) = session.cookie.split_once('=').expect("a cookie");
    let jar = browser.cookies.entry("127.0.0.1".to_owned()).or_default();
    jar.retain(|known, _| known != "valetkey-session");
    jar.insert(name.to_owned(), value.to_owned());
}

async fn user(stage: &Stage, uid: &str) -> (crate::support::api::Api, SignedIn) {
    let key = stage
        .admin
        .make_key(&["oauth:connect", "connectors:read"], json!({"profileUid": uid}))
        .await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &key.key).await;
    (key, session)
}

#[tokio::test]
async fn a09_what_one_person_started_another_who_is_signed_in_cannot_complete() {
    let stage = Stage::per_user().await;
    let (mallory, trap) = user(&stage, "mallory").await;
    let (victim_key, victim) = user(&stage, "victim").await;
    let (mut browser, callback) = depart(&stage, &trap).await;
    wear(&mut browser, &victim);
    browser.open(callback.as_str()).await.failed(403, "flow_user_mismatch");
    assert!(stage.fake.seen("/token").is_empty());
    // The state is used up, also for the one who started it.
    wear(&mut browser, &trap);
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    for key in [&mallory, &victim_key] {
        assert_eq!(key.status("api").await, "not_connected");
    }
    let reject = &stage.admin.audit("flow.reject").await[1];
    assert_eq!(reject["outcome"], "flow_user_mismatch");
    assert_eq!(reject["user"], "mallory");
    let id = reject["details"]["signed_in"].as_str().expect("who is signed in");
    assert!(victim_key.key.contains(id), "{reject}");
}

#[tokio::test]
async fn a13_whoever_signed_in_in_between_does_not_complete_it() {
    let stage = Stage::per_user().await;
    let (_, u) = user(&stage, "u").await;
    let (_, w) = user(&stage, "w").await;
    let (mut browser, callback) = depart(&stage, &u).await;
    u.delete("/api/session").await.expect(204);
    wear(&mut browser, &w);
    browser.open(callback.as_str()).await.failed(403, "flow_user_mismatch");
    // And when nobody is signed in any more, nobody does.
    let (_, u) = user(&stage, "u").await;
    let (mut browser, callback) = depart(&stage, &u).await;
    u.delete("/api/session").await.expect(204);
    let page = browser.open(callback.as_str()).await;
    page.failed(403, "flow_browser_mismatch");
    assert!(page.text().contains("You are not signed in"), "{}", page.text());
    assert!(
        page.body.contains("href=\"/app\""),
        "the way back to the console: {}",
        page.body
    );
    assert!(stage.fake.seen("/token").is_empty());
}
