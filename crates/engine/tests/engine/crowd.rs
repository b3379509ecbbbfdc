//! An authorization server that makes tokens by itself, counts what is asked of it at once, and can be slow or down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;
use valetkey_core::{Request, Response};
use valetkey_engine::wire::{Limits, Outcome, Wire, WireError};

/// How a host answers instead of doing what it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Down,
    Status(u16, &'static str),
    RetryAfter(u16, u64),
}

/// Every host of the test is this provider. Its refresh tokens work once.
#[derive(Debug, Default)]
pub(crate) struct Provider(Mutex<State>);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// How long access tokens live, in seconds; `None` for no word about it.
    pub(crate) lifetime: Option<u64>,
    /// How long refresh tokens live, in seconds.
    pub(crate) refresh_lifetime: Option<u64>,
    serial: u64,
    alive: BTreeSet<String>,
    /// Refresh tokens that were sent although they were spent.
    pub(crate) reused: Vec<String>,
    /// The refresh tokens that were spent, in order, with the host.
    pub(crate) refreshes: Vec<(String, String)>,
    /// The tokens that were revoked, in order, with the host.
    pub(crate) revoked: Vec<(String, String)>,
    under_way: BTreeMap<String, usize>,
    /// The most refreshes that a host had under way at once, and the most in total.
    pub(crate) most: BTreeMap<String, usize>,
    pub(crate) most_in_total: usize,
    gates: BTreeMap<String, Arc<Semaphore>>,
    trouble: BTreeMap<String, Trouble>,
}

impl Provider {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    pub(crate) fn living(lifetime: Option<u64>) -> Arc<Self> {
        let provider = Self::default();
        provider.state().lifetime = lifetime;
        Arc::new(provider)
    }

    /// A host answers nothing until the gate has permits.
    pub(crate) fn hold(&self, host: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.state().gates.insert(host.to_owned(), Arc::clone(&gate));
        gate
    }

    pub(crate) fn release(&self, host: &str) {
        if let Some(gate) = self.state().gates.remove(host) {
            gate.close();
        }
    }

    pub(crate) fn trouble(&self, host: &str, trouble: Option<Trouble>) {
        let mut state = self.state();
        match trouble {
            Some(trouble) => state.trouble.insert(host.to_owned(), trouble),
            None => state.trouble.remove(host),
        };
    }

    pub(crate) fn refresh_count(&self) -> usize {
        self.state().refreshes.len()
    }

    pub(crate) fn under_way(&self, host: &str) -> usize {
        self.state().under_way.get(host).copied().unwrap_or_default()
    }

    /// The tokens that were revoked, without their hosts.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.state().revoked.iter().map(|(_, token)| token.clone()).collect()
    }
}

impl State {
    fn pair(&mut self, account: Option<String>) -> Value {
        self.serial += 1;
        let refresh = format!("refresh-{}", self.serial);
        self.alive.insert(refresh.clone());
        let mut body = json!({
            "access_token": format!("access-{}", self.serial),
            "token_type": "Bearer",
            "refresh_token": refresh,
        });
        if let Some(seconds) = self.lifetime {
            body["expires_in"] = seconds.into();
        }
        if let Some(seconds) = self.refresh_lifetime {
            body["refresh_token_expires_in"] = seconds.into();
        }
        if let Some(account) = account {
            body["account"] = json!({"id": account});
        }
        body
    }

    fn token(&mut self, host: &str, form: &BTreeMap<String, String>) -> (u16, Value) {
        let Some(sent) = form.get("refresh_token") else {
            return (200, self.pair(form.get("code").cloned()));
        };
        self.refreshes.push((host.to_owned(), sent.clone()));
        if self.alive.remove(sent) {
            return (200, self.pair(None));
        }
        self.reused.push(sent.clone());
        (400, json!({"error": "invalid_grant"}))
    }

    fn revoke(&mut self, host: &str, form: &BTreeMap<String, String>) -> (u16, Value) {
        let token = form.get("token").cloned().unwrap_or_default();
        self.alive.remove(&token);
        self.revoked.push((host.to_owned(), token));
        (200, json!({}))
    }

    fn enter(&mut self, host: &str) {
        let here = self.under_way.entry(host.to_owned()).or_default();
        *here += 1;
        let here = *here;
        let most = self.most.entry(host.to_owned()).or_default();
        *most = here.max(*most);
        self.most_in_total = self.most_in_total.max(self.under_way.values().sum());
    }
}

#[async_trait]
impl Wire for Provider {
    fn check(&self, _url: &Url) -> Result<(), WireError> {
        Ok(())
    }

    async fn send_token(&self, request: Request, _deadline: Duration) -> Outcome {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let form: BTreeMap<_, _> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let is_refresh = form.contains_key("refresh_token");
        if is_refresh {
            self.state().enter(&host);
        }
        let gate = self.state().gates.get(&host).cloned();
        if let Some(gate) = gate {
            // A gate that is closed holds nobody any more.
            drop(gate.acquire().await.map(SemaphorePermit::forget));
        }
        // Whoever else may send, does so meanwhile.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let mut state = self.state();
        if is_refresh {
            *state.under_way.entry(host.clone()).or_default() -= 1;
        }
        let trouble = state.trouble.get(&host).copied();
        match trouble {
            Some(Trouble::Down) => Outcome::NotSent(WireError::Connect),
            Some(Trouble::Status(status, code)) => Outcome::Answered(answer(status, &json!({"error": code}), None)),
            Some(Trouble::RetryAfter(status, seconds)) => {
                Outcome::Answered(answer(status, &json!({"error": "slow_down"}), Some(seconds)))
            }
            None => {
                let (status, body) = if request.url.path().ends_with("/revoke") {
                    state.revoke(&host, &form)
                } else {
                    state.token(&host, &form)
                };
                Outcome::Answered(answer(status, &body, None))
            }
        }
    }

    async fn send_api(&self, request: Request, _limits: Limits) -> Result<Response, WireError> {
        Ok(answer(200, &json!({"path": request.url.path()}), None))
    }
}

fn answer(status: u16, body: &Value, retry_after: Option<u64>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().expect("a header"));
    if let Some(seconds) = retry_after {
        headers.insert("retry-after", seconds.into());
    }
    Response {
        status,
        headers,
        body: body.to_string().into(),
    }
}
