//! Signing in at a real identity provider that nobody here wrote: npm `oidc-provider`, certified.

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::support::browser::{Browser, Page, altered, param};
use crate::support::fake::CLIENT_ID;
use crate::support::oidc::{Issuer, Oidc};
use crate::support::signed_in::SignedIn;
use crate::support::valetkey::{Setup, Valetkey};

const LIST: &str = "/api/actions/connectors";

/// valetkey with an identity provider.
pub(crate) struct Stage {
    pub(crate) valetkey: Valetkey,
    pub(crate) issuer: Issuer,
    _oidc: Oidc,
}

/// valetkey with an identity provider, at which `ada` is an administrator and `bob` is a user.
async fn stage() -> Stage {
    stage_of(Setup::new(), "identity").await
}

/// The same with the provider's instance of this name.
pub(crate) async fn stage_of(setup: Setup, instance: &str) -> Stage {
    let callback = format!("{}/api/session/oidc/callback", setup.base());
    let oidc = Oidc::start(&[(instance, 60)], &[callback]).await;
    let issuer = oidc.issuer(instance);
    let accounts = json!({
        "ada": {"roles": ["vk-admin"], "name": "Ada Lovelace", "email": "boss@example.com", "email_verified": false},
        "bob": {"roles": ["vk-user"], "email": "bob@example.com", "email_verified": true},
        "eve": {"email": "boss@example.com", "email_verified": false},
    });
    issuer.set_accounts(&accounts).await;
    let setup = setup
        .set("OIDC__ISSUER", &issuer.url)
        .set("OIDC__CLIENT_ID", CLIENT_ID)
        .set("OIDC__CLIENT_SECRET", &issuer.client_secret)
        .set("OIDC__NAME", "Example ID")
        .set("OIDC__ADMIN_ROLES", "vk-admin")
        .set("OIDC__USER_ROLES", "vk-user");
    Stage {
        valetkey: setup.start().await,
        issuer,
        _oidc: oidc,
    }
}

impl Stage {
    fn start_url(&self, to: &str) -> String {
        format!("{}/api/session/oidc/start?to={to}", self.valetkey.base())
    }

    /// From the button to where the provider sends the browser back.
    async fn depart(&self, browser: &mut Browser) -> Url {
        let page = browser.open(&self.start_url("/app/connections")).await;
        let url = page.location().expect("a redirect");
        assert_eq!(page.status, 302);
        assert!(url.as_str().starts_with(&self.issuer.url), "{url}");
        browser.walk(url).await
    }

    /// A person signs in, and the session that comes of it.
    pub(crate) async fn sign_in(&self, account: &str) -> SignedIn {
        let mut browser = Browser::of(account);
        let callback = self.depart(&mut browser).await;
        let page = browser.open(callback.as_str()).await;
        assert_eq!(page.status, 303, "{}", page.text());
        assert_eq!(page.location().expect("a redirect").path(), "/app/connections");
        session_of(&self.valetkey.base(), &page)
    }
}

fn session_of(base: &str, page: &Page) -> SignedIn {
    let cookies = page.set_cookies();
    let session = cookies.iter().find(|c| c.starts_with("valetkey-session="));
    let session = session.unwrap_or_else(|| panic!("no session: {cookies:?}"));
    SignedIn::of_cookie(base, session, Value::Null)
}

/// The code with which a sign-in was refused.
fn refusal(page: &Page) -> String {
    assert_eq!(page.status, 303, "{}", page.text());
    let to = page.location().expect("a redirect");
    assert_eq!(to.path(), "/app/sign-in");
    let cookies = page.set_cookies();
    assert!(
        !cookies.iter().any(|c| c.starts_with("valetkey-session=")),
        "{cookies:?}"
    );
    param(&to, "error")
}

#[tokio::test]
async fn an_administrator_and_a_user_sign_in_with_what_their_roles_allow() {
    let stage = stage().await;
    let ada = stage.sign_in("ada").await;
    let who = ada.who().await;
    assert_eq!(who["methods"]["oidc"], json!({"name": "Example ID"}));
    assert_eq!(
        (&who["signed_in"], &who["name"]),
        (&json!(true), &json!("Ada Lovelace"))
    );
    assert_eq!(who["privileges"], json!(["admin"]));
    assert_eq!(who["spaces"], json!(["*"]));
    ada.get("/api/security/api_keys").await.expect(200);

    let bob = stage.sign_in("bob").await;
    let who = bob.who().await;
    assert_eq!(who["name"], "bob@example.com");
    assert_eq!(who["spaces"], json!(["default"]));
    let wanted = json!(["connectors:read", "connectors:execute", "oauth:connect"]);
    assert_eq!(who["privileges"], wanted);
    let uid = who["profile_uid"].as_str().expect("a user").to_owned();
    assert!(uid.starts_with("oidc-") && !uid.contains("bob"), "{uid}");
    bob.get(LIST).await.expect(200);
    bob.get("/api/security/api_keys")
        .await
        .refused(403, "privilege_missing");
    // Nobody else's accounts.
    let other = bob.request(Method::GET, LIST).header("x-valetkey-user", "somebody");
    crate::support::api::Answer::to(other)
        .await
        .refused(403, "user_not_allowed");

    // The same person again, with a session of its own.
    let again = stage.sign_in("bob").await;
    assert_ne!(again.cookie, bob.cookie);
    assert_eq!(again.who().await["profile_uid"], uid);
    let starts = stage.valetkey.admin().audit("session.start").await;
    assert_eq!(starts.len(), 3);
    assert_eq!(starts[0]["user"], uid);
    assert_eq!(starts[0]["details"]["method"], "oidc");
}

#[tokio::test]
async fn the_request_has_pkce_state_and_nonce_and_the_code_its_verifier() {
    let stage = stage().await;
    stage.sign_in("ada").await;
    let request = &stage.issuer.queries("/auth").await[0];
    assert_eq!(request["code_challenge_method"], "S256");
    assert_eq!(request["scope"], "openid profile email");
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(request[name].as_str().map(str::len), Some(43), "{request}");
    }
    let exchange = &stage.issuer.forms("/token").await[0];
    let verifier = exchange["code_verifier"].as_str().expect("a verifier");
    assert_eq!(crate::support::s256(verifier), request["code_challenge"]);
}

#[tokio::test]
async fn d37_without_a_role_nobody_comes_in_and_an_address_is_no_name() {
    let stage = stage().await;
    let mut browser = Browser::of("eve");
    let callback = stage.depart(&mut browser).await;
    assert_eq!(refusal(&browser.open(callback.as_str()).await), "sign_in_not_allowed");
    let refused = &stage.valetkey.admin().audit("auth.fail").await[0];
    assert_eq!(refused["outcome"], "sign_in_not_allowed");
    assert_eq!(refused["details"]["method"], "oidc");
    // The same address for another subject is another person.
    let ada = stage.sign_in("ada").await.who().await;
    let boss = json!({"roles": ["vk-admin"], "email": "boss@example.com", "email_verified": false});
    stage.issuer.set_accounts(&json!({"eve": boss})).await;
    let eve = stage.sign_in("eve").await.who().await;
    assert_ne!(eve["profile_uid"], ada["profile_uid"]);
    assert_eq!(eve["name"], "eve", "nobody vouches for the address");
}

#[tokio::test]
async fn d37_a_role_that_was_taken_away_counts_at_the_next_sign_in() {
    let stage = stage().await;
    stage.sign_in("ada").await;
    stage.issuer.set_accounts(&json!({"ada": {"roles": ["vk-user"]}})).await;
    let lowered = stage.sign_in("ada").await.who().await;
    assert_eq!(lowered["privileges"][0], "connectors:read");
}

#[tokio::test]
async fn a_sign_in_counts_in_its_own_browser_and_once() {
    let stage = stage().await;
    let mut browser = Browser::of("ada");
    let callback = stage.depart(&mut browser).await;
    // Whoever has the URL alone, or with a sign-in of their own, does not become anybody.
    let mut stranger = Browser::of("eve");
    assert_eq!(refusal(&stranger.open(callback.as_str()).await), "sign_in_invalid");
    let mut victim = Browser::of("bob");
    victim.open(&stage.start_url("/app")).await;
    assert_eq!(refusal(&victim.open(callback.as_str()).await), "sign_in_invalid");
    assert_eq!(stage.issuer.count("grant authorization_code").await, 0);
    for (changes, code) in [
        (("state", Some("x")), "sign_in_invalid"),
        (("state", None), "sign_in_invalid"),
        (("iss", Some("https://evil.example")), "issuer_mismatch"),
        (("iss", None), "issuer_missing"),
    ] {
        let mut copy = browser.clone();
        let changed = altered(&callback, &[changes]);
        assert_eq!(refusal(&copy.open(changed.as_str()).await), code, "{changes:?}");
    }
    let mut copy = browser.clone();
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
    assert_eq!(refusal(&copy.open(callback.as_str()).await), "code_rejected");
    // A cookie that was altered is none.
    let mut forged = Browser::of("ada");
    let callback = stage.depart(&mut forged).await;
    let jar = forged.cookies.get_mut("127.0.0.1").expect("cookies");
    let cookie = jar.get_mut("valetkey-sign-in").expect("a cookie");
    cookie.replace_range(0..1, if cookie.starts_with('A') { "B" } else { "A" });
    assert_eq!(refusal(&forged.open(callback.as_str()).await), "sign_in_invalid");
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_after_signing_in() {
    let stage = stage().await;
    for to in [
        "https://evil.example/app",
        "//evil.example",
        "/api/session",
        "/apps",
        "/app/..//x",
    ] {
        let page = Browser::new().open(&stage.start_url(to)).await;
        assert_eq!(refusal(&page), "return_url_not_allowed", "{to}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be() {
    let stage = stage().await;
    let fault = json!({"path": "/.well-known/openid-configuration", "drop": "before", "times": 9});
    stage.issuer.fault(&fault).await;
    let page = Browser::new().open(&stage.start_url("/app")).await;
    assert_eq!(refusal(&page), "provider_unavailable");
}

#[tokio::test]
async fn half_a_provider_is_refused_at_the_start() {
    let setup = Setup::new().set("OIDC__ISSUER", "https://id.example.com");
    let said = setup.start_in_vain().await;
    assert!(said.contains("oidc.client_id"), "{said}");
    for span in ["4s", "2h", "0"] {
        let too_often = setup.clone().set("OIDC__CLIENT_ID", "x").set("OIDC__RECHECK", span);
        let said = too_often.start_in_vain().await;
        assert!(
            said.contains("oidc.recheck") && said.contains("must be 5s to 1h"),
            "{said}"
        );
    }
    let everybody = setup
        .set("OIDC__CLIENT_ID", "x")
        .set("OIDC__ADMIN_ROLES", "*")
        .start_in_vain()
        .await;
    assert!(everybody.contains("oidc.admin_roles"), "{everybody}");
}
