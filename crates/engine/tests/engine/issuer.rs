//! An identity provider that the test owns: what it says of its one person, and whether it answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::Url;
use valetkey_core::encode::base64url;
use valetkey_core::fake::FakeClock;
use valetkey_core::{Clock as _, Request, Response};
use valetkey_engine::wire::{Limits, Outcome, Wire, WireError};

pub(crate) const ISSUER: &str = "https://id.example.com";

/// What the provider says and does.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that one provider does and another does not"
)]
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) is_up: bool,
    /// The roles of the person; `null` for no such claim.
    pub(crate) roles: Value,
    pub(crate) subject: &'static str,
    /// What ID tokens name as their issuer.
    pub(crate) named: &'static str,
    pub(crate) nonce: String,
    /// Whether it gives refresh tokens, and the one that it takes now.
    pub(crate) refreshes: bool,
    pub(crate) refresh_token: usize,
    /// Whether the answer to a refresh has an ID token.
    pub(crate) tells: bool,
    /// What ID tokens end with.
    pub(crate) spoils: &'static str,
    pub(crate) has_userinfo: bool,
    /// Whether it still takes what it gave.
    pub(crate) is_revoked: bool,
    /// Refreshes wait for a permit.
    pub(crate) gate: Option<Arc<Semaphore>>,
    /// The refresh tokens that were sent, and how often the `UserInfo` endpoint was asked.
    pub(crate) sent: Vec<String>,
    pub(crate) userinfo: usize,
}

#[derive(Debug)]
pub(crate) struct Issuer {
    key: Ed25519KeyPair,
    clock: Arc<FakeClock>,
    state: Mutex<State>,
}

impl Issuer {
    pub(crate) fn new(clock: &Arc<FakeClock>) -> Arc<Self> {
        Arc::new(Self {
            key: Ed25519KeyPair::generate().expect("a key"),
            clock: Arc::clone(clock),
            state: Mutex::new(State {
                is_up: true,
                roles: json!(["vk-admin"]),
                subject: "ada",
                named: ISSUER,
                nonce: String::new(),
                refreshes: true,
                refresh_token: 0,
                tells: true,
                spoils: "",
                has_userinfo: true,
                is_revoked: false,
                gate: None,
                sent: Vec::new(),
                userinfo: 0,
            }),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Refreshes wait for a permit from now on.
    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.state().gate = Some(Arc::clone(&gate));
        gate
    }

    /// How often it was asked about the person.
    pub(crate) fn asks(&self) -> usize {
        let state = self.state();
        state.sent.len() + state.userinfo
    }

    fn published(&self) -> Value {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/auth"),
            "token_endpoint": format!("{ISSUER}/token"),
            "jwks_uri": format!("{ISSUER}/keys"),
        });
        if self.state().has_userinfo {
            document["userinfo_endpoint"] = format!("{ISSUER}/me").into();
        }
        document
    }

    fn keys(&self) -> Value {
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": base64url(self.key.public_key().as_ref())}]})
    }

    fn id_token(&self, state: &State) -> String {
        let now = self.clock.now().0 / 1_000;
        let claims = json!({
            "iss": state.named, "sub": state.subject, "aud": "valetkey", "nonce": state.nonce, "iat": now, "exp": now + 60,
            "roles": state.roles,
        });
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": "k1"})), part(&claims));
        let signature = base64url(self.key.sign(text.as_bytes()).as_ref());
        format!("{text}.{signature}{}", state.spoils)
    }

    async fn token(&self, request: &Request) -> Response {
        let form: BTreeMap<_, _> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let refresh = form.get("refresh_token");
        let gate = {
            let mut state = self.state();
            state.sent.extend(refresh.cloned());
            state.gate.clone().filter(|_| refresh.is_some())
        };
        if let Some(gate) = gate {
            gate.acquire().await.expect("open").forget();
        }
        let mut state = self.state();
        if let Some(refresh) = refresh {
            if state.is_revoked || *refresh != format!("refresh-{}", state.refresh_token) {
                return answer(400, &json!({"error": "invalid_grant"}));
            }
            state.refresh_token += 1;
        }
        let mut body = json!({"access_token": "access", "token_type": "Bearer", "expires_in": 60});
        if refresh.is_none() || state.tells {
            body["id_token"] = self.id_token(&state).into();
        }
        if state.refreshes {
            body["refresh_token"] = format!("refresh-{}", state.refresh_token).into();
        }
        answer(200, &body)
    }

    fn userinfo(&self, request: &Request) -> Response {
        let mut state = self.state();
        state.userinfo += 1;
        let token = request.headers.get("authorization").expect("a token");
        if state.is_revoked || token != "Bearer access" {
            return answer(401, &json!({}));
        }
        answer(200, &json!({"sub": state.subject, "roles": state.roles}))
    }
}

#[async_trait]
impl Wire for Issuer {
    fn check(&self, _url: &Url) -> Result<(), WireError> {
        Ok(())
    }

    async fn send_token(&self, request: Request, _deadline: Duration) -> Outcome {
        let is_up = self.state().is_up;
        if !is_up {
            self.state()
                .sent
                .extend((request.url.path() == "/token").then(String::new));
            return Outcome::NotSent(WireError::Connect);
        }
        Outcome::Answered(match request.url.path() {
            "/.well-known/openid-configuration" => answer(200, &self.published()),
            "/keys" => answer(200, &self.keys()),
            "/token" => self.token(&request).await,
            "/me" => self.userinfo(&request),
            other => panic!("nothing is at {other}"),
        })
    }

    async fn send_api(&self, _request: Request, _limits: Limits) -> Result<Response, WireError> {
        Err(WireError::HostNotAllowed)
    }
}

fn answer(status: u16, body: &Value) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().expect("a header"));
    Response {
        status,
        headers,
        body: body.to_string().into(),
    }
}
