//! Signing in at an identity provider with `OpenID` Connect: authorization code, PKCE, `state` and `nonce`.
//!
//! Nothing is stored while a person is away. The browser holds a cookie with a random text, when it was made and where to
//! go afterwards, under a MAC of ours; `state`, `nonce` and the PKCE verifier are derived from it. So a callback counts in
//! the browser that began, on any replica, for ten minutes; and the code works once at the provider.
//!
//! A person is the pair of issuer and subject, and nothing else: an e-mail address names nobody. What the provider is asked
//! with later on, whether the person may still do what the session allows, is a `credential`; asking is in `renewal`.

mod credential;
mod exchange;
mod person;
mod provider;
mod renewal;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;
use url::Url;
use valetkey_core::encode::{base64url, from_base64url};
use valetkey_core::{ErrorCode, Secret, Timestamp};
use valetkey_oauth::AuthorizationRequest;

use super::{NewSession, Visitor};
use crate::Engine;
use crate::error::{Error, Result};
use crate::settings::OidcSettings;
pub(crate) use credential::Credential;
pub(crate) use provider::Providers;
pub(super) use renewal::{Ending, Unconfirmed};

/// How long a person may take at the provider.
const LIFETIME: Duration = Duration::from_secs(600);

/// Where the provider sends people back to, below `public_base_url`.
const CALLBACK_PATH: &str = "api/session/oidc/callback";

/// Where a browser goes to sign in.
#[derive(Debug)]
pub struct Departure {
    /// The provider's authorization endpoint.
    pub url: Url,
    /// What goes into the cookie.
    pub cookie: Secret<String>,
    /// How long it is good for, in seconds.
    pub seconds: u64,
}

/// A person who came back and is signed in.
#[derive(Debug)]
pub struct Arrival {
    /// The session.
    pub session: NewSession,
    /// Where the person wanted to go.
    pub to: String,
}

/// What the cookie holds, once its MAC was checked.
struct Begun {
    text: String,
    to: String,
}

impl Engine {
    /// What the button of the identity provider says, if there is one.
    pub fn oidc_name(&self) -> Option<&str> {
        self.settings.oidc.as_ref().map(|oidc| oidc.name.as_str())
    }

    /// The name of the cookie that binds a sign-in to its browser.
    pub fn oidc_cookie(&self) -> &'static str {
        if self.is_https() {
            "__Host-valetkey-sign-in"
        } else {
            "valetkey-sign-in"
        }
    }

    /// Sends a browser to the identity provider, and later on to `to`, a path of the console.
    pub async fn oidc_start(&self, to: &str, visitor: &Visitor) -> Result<Departure> {
        let oidc = self.oidc()?;
        check_destination(to)?;
        self.take_sign_in_limit(visitor).await?;
        let provider = self.provider(oidc, false).await?;
        let now = self.clock.now();
        let secret = base64url(&self.rng.bytes::<32>());
        let text = format!("{secret}.{}.{}", now.0, base64url(to.as_bytes()));
        let cookie = Secret::new(format!("{text}.{}", self.derived("cookie", &text)));
        let scopes: Vec<String> = oidc.scope.split_whitespace().map(str::to_owned).collect();
        let challenge = valetkey_oauth::challenge_of(&self.derived("verifier", &text));
        let mut url = AuthorizationRequest {
            profile: &provider.profile,
            endpoint: &provider.metadata.authorization_endpoint,
            client_id: &oidc.client_id,
            redirect_uri: &self.oidc_redirect_uri()?,
            state: &self.derived("state", &text),
            challenge: Some(&challenge),
            scopes: &scopes,
            resource: None,
            extra_params: &BTreeMap::new(),
        }
        .url()
        .map_err(Error::internal)?;
        url.query_pairs_mut()
            .append_pair("nonce", &self.derived("nonce", &text));
        Ok(Departure {
            url,
            cookie,
            seconds: LIFETIME.as_secs(),
        })
    }

    /// Signs in the person whom the provider sends back. `before` is the session that the browser had until now.
    pub async fn oidc_callback(
        &self,
        query: &str,
        cookie: Option<&str>,
        before: Option<&str>,
        visitor: &Visitor,
    ) -> Result<Arrival> {
        let arrived = self.arrive(query, cookie, before, visitor).await;
        if let Err(error) = &arrived {
            let audit = visitor.audit("auth.fail", self.clock.now());
            let audit = audit.outcome(error.code.as_str()).detail("method", "oidc");
            self.audit_later(audit.row());
        }
        arrived
    }

    async fn arrive(
        &self,
        query: &str,
        cookie: Option<&str>,
        before: Option<&str>,
        visitor: &Visitor,
    ) -> Result<Arrival> {
        let oidc = self.oidc()?;
        let subject = format!("address:{}", visitor.address);
        self.take_limit("sign_in_callback", &subject, self.settings.sign_in_limit)
            .await?;
        let begun = cookie.and_then(|cookie| self.begun(cookie)).ok_or_else(strange)?;
        let callback = valetkey_oauth::read_callback(query).map_err(|e| strange().because(e))?;
        if !callback.state.same_as(&self.derived("state", &begun.text)) {
            return Err(strange());
        }
        let provider = self.provider(oidc, false).await?;
        callback
            .check_issuer(
                Some(&oidc.issuer),
                provider.metadata.authorization_response_iss_parameter_supported,
            )
            .map_err(|e| {
                Error::new(
                    e.code(),
                    "the answer does not come from the identity provider; sign in again",
                )
            })?;
        if let Some(error) = &callback.error {
            let refusal = Error::new(error.code(), "the identity provider did not sign you in; try again");
            return Err(refusal.because(error.error()));
        }
        let person = self.exchange_sign_in(oidc, &provider, &callback, &begun).await?;
        Ok(Arrival {
            session: self.welcome(person, before, "oidc", visitor).await?,
            to: begun.to,
        })
    }

    pub(super) fn oidc(&self) -> Result<&OidcSettings> {
        self.settings.oidc.as_ref().ok_or_else(|| {
            Error::new(
                ErrorCode::RouteNotFound,
                "no identity provider is set up here; an operator can set oidc.issuer",
            )
        })
    }

    fn oidc_redirect_uri(&self) -> Result<String> {
        let base = self.public_base_url()?;
        Ok(format!("{}/{CALLBACK_PATH}", base.as_str().trim_end_matches('/')))
    }

    /// What a cookie of ours says, if it is not too old.
    fn begun(&self, cookie: &str) -> Option<Begun> {
        let (text, mac) = cookie.rsplit_once('.')?;
        let own = self.derived("cookie", text);
        if !bool::from(own.as_bytes().ct_eq(mac.as_bytes())) {
            return None;
        }
        let mut parts = text.split('.').skip(1);
        let at = Timestamp(parts.next()?.parse().ok()?);
        let to = String::from_utf8(from_base64url(parts.next()?)?).ok()?;
        let is_recent = self.clock.now().since(at) < LIFETIME;
        is_recent.then(|| Begun {
            text: text.to_owned(),
            to,
        })
    }

    /// A text that only this installation can make of another one.
    fn derived(&self, what: &str, text: &str) -> String {
        let tag = hmac::sign(&self.session_hashing, format!("sign-in {what} {text}").as_bytes());
        base64url(tag.as_ref())
    }
}

/// Only pages of the console: nobody is sent elsewhere after signing in.
fn check_destination(to: &str) -> Result<()> {
    let rest = to.strip_prefix("/app");
    let is_page = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let is_plain = to.len() <= 1024 && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_page && is_plain && !to.contains("..") && !to.contains("//") {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::ReturnUrlNotAllowed,
        "to must be a path of the console: /app, or one that begins with /app/",
    ))
}

fn strange() -> Error {
    Error::new(
        ErrorCode::SignInInvalid,
        "this sign-in was begun in another browser, or took too long; sign in again",
    )
}

fn invalid(cause: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::IdTokenInvalid,
        "the identity provider's answer does not prove who you are; an administrator finds the reason in the log",
    )
    .because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_console_are_destinations() {
        for good in ["/app", "/app/", "/app/connections?state=active", "/app?x=1"] {
            assert!(check_destination(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/apps",
            "//evil.example/app",
            "https://evil.example/app",
            "/app//evil.example",
            "/app/../api/session",
            "/app\\evil",
            "/app/\n",
            "/app@evil.example",
        ] {
            assert!(check_destination(bad).is_err(), "{bad}");
        }
    }
}
