//! A scripted provider: an authorization server that rotates refresh tokens, and an API behind it. It behaves unless told
//! otherwise, and remembers every request and every secret that passed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use super::raw::{Gate, Reply, Seen, Server};
use super::{patch, secret};

/// The client that connectors are set up with.
pub(crate) const CLIENT_ID: &str = "client-of-the-tests";

/// What the token endpoint does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Does not act, and says this.
    Say(Reply),
    /// Acts, and changes the members of its good answer: `null` takes one away.
    Patch(Value),
    /// Acts, and puts its answer into another shape.
    Wrap(fn(String) -> Reply),
}

impl Script {
    /// Acts, but the answer never arrives.
    pub(crate) fn lose() -> Self {
        Self::Wrap(|_| Reply::hang_up())
    }
}

/// What is true of an access token.
struct Access {
    account: String,
    ends: Option<Instant>,
    live: bool,
}

/// A request that was pushed.
struct Pushed {
    params: BTreeMap<String, String>,
    ends: Instant,
}

/// A code that was given out.
struct Code {
    challenge: String,
    redirect_uri: String,
    account: String,
    scope: String,
}

struct State {
    seen: Vec<Seen>,
    scripts: VecDeque<Script>,
    gate: Option<Gate>,
    account: String,
    names_accounts: bool,
    lifetime: Option<u64>,
    issuer: Option<String>,
    metadata: Option<Reply>,
    api: Option<Reply>,
    client_secret: String,
    code_length: usize,
    pushes: VecDeque<Reply>,
    pushed: BTreeMap<String, Pushed>,
    pushed_only: bool,
    pushed_seconds: u64,
    codes: BTreeMap<String, Code>,
    access: BTreeMap<String, Access>,
    refresh: BTreeMap<String, (String, String)>,
    revoked: Vec<String>,
    revocation: Option<Reply>,
    secrets: Vec<String>,
}

/// The provider; it ends when this is dropped.
pub(crate) struct Fake {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _server: Server,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let client_secret = secret("client-secret");
        let state = Arc::new(Mutex::new(State {
            seen: Vec::new(),
            scripts: VecDeque::new(),
            gate: None,
            account: "alice".to_owned(),
            names_accounts: false,
            lifetime: Some(3600),
            issuer: None,
            metadata: None,
            api: None,
            secrets: vec![client_secret.clone()],
            client_secret,
            code_length: 0,
            pushes: VecDeque::new(),
            pushed: BTreeMap::new(),
            pushed_only: false,
            pushed_seconds: 60,
            codes: BTreeMap::new(),
            access: BTreeMap::new(),
            refresh: BTreeMap::new(),
            revoked: Vec::new(),
            revocation: None,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |seen| shared.lock().expect("a state").answer(&seen)).await;
        Self {
            url: server.origin.clone(),
            state,
            _server: server,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a state")
    }

    /// What the next token requests are answered with, in this order; afterwards the provider behaves again.
    pub(crate) fn script(&self, scripts: impl IntoIterator<Item = Script>) {
        self.lock().scripts = scripts.into_iter().collect();
    }

    /// Takes pushed authorization requests only (RFC 9126), and says so in its metadata.
    pub(crate) fn demand_pushes(&self) {
        self.lock().pushed_only = true;
        let metadata = self.metadata(&json!({
            "require_pushed_authorization_requests": true,
            "pushed_authorization_request_endpoint": format!("{}/par", self.url),
        }));
        self.publish(Reply::json(200, &metadata));
    }

    /// What the next pushed requests are answered with, in this order.
    pub(crate) fn answer_pushes(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().pushes = replies.into_iter().collect();
    }

    /// How long a pushed request lives.
    pub(crate) fn set_pushed_seconds(&self, seconds: u64) {
        self.lock().pushed_seconds = seconds;
    }

    /// Holds back the answers to token requests and to pushed requests, which are acted upon at once, until the gate opens.
    pub(crate) fn hold_tokens(&self) -> Gate {
        let gate = Gate::shut();
        self.lock().gate = Some(gate.clone());
        gate
    }

    /// Who is logged in at the provider and says yes to everything.
    pub(crate) fn sign_in(&self, account: &str) {
        account.clone_into(&mut self.lock().account);
    }

    /// Says in token answers for whose account they are: `account` with `id` and `label`.
    pub(crate) fn name_accounts(&self) {
        self.lock().names_accounts = true;
    }

    /// How long the access tokens live that are made from now on, and `expires_in`; `None` for ever, and no `expires_in`.
    pub(crate) fn set_lifetime(&self, seconds: impl Into<Option<u64>>) {
        self.lock().lifetime = seconds.into();
    }

    /// Sends this `iss` along with every authorization response (RFC 9207).
    pub(crate) fn set_iss(&self, iss: impl Into<String>) {
        self.lock().issuer = Some(iss.into());
    }

    /// Makes codes at least this long.
    pub(crate) fn set_code_length(&self, length: usize) {
        self.lock().code_length = length;
    }

    /// What is found under `/.well-known/`.
    pub(crate) fn publish(&self, metadata: Reply) {
        self.lock().metadata = Some(metadata);
    }

    /// Honest metadata (RFC 8414), with these members changed.
    pub(crate) fn metadata(&self, changes: &Value) -> Value {
        let mut metadata = json!({
            "issuer": self.url,
            "authorization_endpoint": format!("{}/authorize", self.url),
            "token_endpoint": format!("{}/token", self.url),
            "revocation_endpoint": format!("{}/revoke", self.url),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        });
        patch(&mut metadata, changes);
        metadata
    }

    /// The API answers 401 to every access token made so far.
    pub(crate) fn reject_access_tokens(&self) {
        self.lock().access.values_mut().for_each(|access| access.live = false);
    }

    /// The API answers this to everything; `None` makes it honest again.
    pub(crate) fn answer_api(&self, reply: impl Into<Option<Reply>>) {
        self.lock().api = reply.into();
    }

    /// Revocations are answered with this instead of being done; `None` makes it honest again.
    pub(crate) fn answer_revocations(&self, reply: impl Into<Option<Reply>>) {
        self.lock().revocation = reply.into();
    }

    /// Forgets every grant: the next refresh is answered `invalid_grant`.
    pub(crate) fn forget_grants(&self) {
        self.lock().refresh.clear();
    }

    /// Waits until the newest access token has only a share of its lifetime left.
    pub(crate) async fn wait_for_age(&self, share: f64) {
        let (end, lifetime) = {
            let state = self.lock();
            let end = state
                .access
                .values()
                .filter_map(|access| access.ends)
                .max()
                .expect("tokens that end");
            (end, state.lifetime.expect("a lifetime"))
        };
        tokio::time::sleep_until(end - Duration::from_secs(lifetime).mul_f64(share)).await;
    }

    /// Waits until every access token made so far has ended.
    pub(crate) async fn wait_for_expiry(&self) {
        let last = self
            .lock()
            .access
            .values()
            .filter_map(|access| access.ends)
            .max()
            .expect("tokens that end");
        tokio::time::sleep_until(last + Duration::from_millis(20)).await;
    }

    /// The requests to a path so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.lock().seen.iter().filter(|s| s.path == path).cloned().collect()
    }

    /// The requests to the token endpoint with this grant type.
    pub(crate) fn grants(&self, grant_type: &str) -> Vec<Seen> {
        let is = |seen: &Seen| seen.form().get("grant_type").is_some_and(|g| g == grant_type);
        self.seen("/token").into_iter().filter(is).collect()
    }

    /// How many token requests there were.
    pub(crate) fn exchanges(&self) -> usize {
        self.grants("authorization_code").len()
    }

    pub(crate) fn refreshes(&self) -> usize {
        self.grants("refresh_token").len()
    }

    /// Tokens that were revoked, in order.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.lock().revoked.clone()
    }

    /// Whether the provider still takes this refresh token.
    pub(crate) fn honours(&self, refresh_token: &str) -> bool {
        self.lock().refresh.contains_key(refresh_token)
    }

    pub(crate) fn client_secret(&self) -> String {
        self.lock().client_secret.clone()
    }

    /// Every secret that the provider gave out or was sent: client secret, codes, verifiers, states, tokens.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.lock().secrets.clone()
    }
}

impl State {
    fn answer(&mut self, seen: &Seen) -> Reply {
        self.seen.push(seen.clone());
        match seen.path.as_str() {
            "/authorize" => self.authorize(seen),
            "/token" | "/par" => {
                let reply = if seen.path == "/par" {
                    self.push(seen)
                } else {
                    self.token(seen)
                };
                match &self.gate {
                    Some(gate) => reply.behind(gate),
                    None => reply,
                }
            }
            "/revoke" if self.revocation.is_some() => self.revocation.clone().expect("a reply"),
            "/revoke" => {
                let token = seen.form().remove("token").unwrap_or_default();
                self.refresh.remove(&token);
                self.access.remove(&token);
                self.revoked.push(token);
                Reply::new(200, &[], "")
            }
            path if path.starts_with("/.well-known/") => {
                self.metadata.clone().unwrap_or_else(|| Reply::json(404, &json!({})))
            }
            _ => self.api(seen),
        }
    }

    /// Keeps what is asked, for one browser and a short time.
    fn push(&mut self, seen: &Seen) -> Reply {
        if let Some(reply) = self.pushes.pop_front() {
            return reply;
        }
        let form = seen.form();
        if !self.knows_client(seen) || form.get("client_id").is_none_or(|id| id != CLIENT_ID) {
            return Reply::json(401, &json!({"error": "invalid_client"}));
        }
        if form.contains_key("request_uri") {
            return Reply::json(400, &json!({"error": "invalid_request"}));
        }
        let uri = self.remember(format!("urn:ietf:params:oauth:request_uri:{}", secret("pushed")));
        let ends = Instant::now() + Duration::from_secs(self.pushed_seconds);
        self.pushed.insert(uri.clone(), Pushed { params: form, ends });
        Reply::json(201, &json!({"request_uri": uri, "expires_in": self.pushed_seconds}))
    }

    /// What the browser asks for; nothing if it may not ask so.
    fn asked(&mut self, seen: &Seen) -> Option<BTreeMap<String, String>> {
        let params = seen.params();
        let Some(uri) = params.get("request_uri") else {
            return (!self.pushed_only).then_some(params);
        };
        let alone = params.len() == 2 && params.get("client_id").is_some_and(|id| id == CLIENT_ID);
        let pushed = self.pushed.remove(uri).filter(|p| alone && p.ends > Instant::now())?;
        Some(pushed.params)
    }

    /// Whether the request has the credentials of the client.
    fn knows_client(&self, seen: &Seen) -> bool {
        let basic = super::basic(CLIENT_ID, &self.client_secret);
        let form = seen.form();
        seen.header("authorization") == Some(&basic) || form.get("client_secret") == Some(&self.client_secret)
    }

    /// Whoever is signed in says yes.
    fn authorize(&mut self, seen: &Seen) -> Reply {
        let params = self.asked(seen).unwrap_or_default();
        let get = |name: &str| params.get(name).cloned().unwrap_or_default();
        if get("client_id") != CLIENT_ID || get("response_type") != "code" || get("code_challenge_method") != "S256" {
            return Reply::json(400, &json!({"error": "invalid_request"}));
        }
        let code = self.remember(format!("{:x<1$}", secret("code"), self.code_length));
        let made = Code {
            challenge: get("code_challenge"),
            redirect_uri: get("redirect_uri"),
            account: self.account.clone(),
            scope: get("scope"),
        };
        self.codes.insert(code.clone(), made);
        let mut callback = Url::parse(&get("redirect_uri")).expect("a redirect URI");
        let state = self.remember(get("state"));
        callback
            .query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &state);
        if let Some(iss) = &self.issuer {
            callback.query_pairs_mut().append_pair("iss", iss);
        }
        Reply::redirect(302, callback.as_str())
    }

    fn token(&mut self, seen: &Seen) -> Reply {
        let script = self.scripts.pop_front();
        if let Some(Script::Say(reply)) = script {
            return reply;
        }
        let good = self.grant(seen);
        match (good, script) {
            (Err(error), _) => Reply::json(400, &json!({"error": error})),
            (Ok(mut body), Some(Script::Patch(changes))) => {
                patch(&mut body, &changes);
                Reply::json(200, &body)
            }
            (Ok(body), Some(Script::Wrap(wrap))) => wrap(body.to_string()),
            (Ok(body), _) => Reply::json(200, &body),
        }
    }

    /// Checks a token request as a provider does, and acts.
    fn grant(&mut self, seen: &Seen) -> Result<Value, &'static str> {
        let form = seen.form();
        let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        if !self.knows_client(seen) {
            return Err("invalid_client");
        }
        let (account, scope) = match get("grant_type") {
            "authorization_code" => {
                let verifier = self.remember(get("code_verifier").to_owned());
                let code = self.codes.remove(get("code")).ok_or("invalid_grant")?;
                if code.challenge != super::s256(&verifier) || code.redirect_uri != get("redirect_uri") {
                    return Err("invalid_grant");
                }
                (code.account, code.scope)
            }
            // The old refresh token dies with its first use.
            "refresh_token" => self.refresh.remove(get("refresh_token")).ok_or("invalid_grant")?,
            "client_credentials" => (CLIENT_ID.to_owned(), get("scope").to_owned()),
            _ => return Err("unsupported_grant_type"),
        };
        let access = self.remember(secret("access"));
        let ends = self
            .lifetime
            .map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.access.insert(
            access.clone(),
            Access {
                account: account.clone(),
                ends,
                live: true,
            },
        );
        let mut body = json!({"access_token": access, "token_type": "Bearer", "scope": scope});
        if self.names_accounts {
            body["account"] = json!({"id": format!("id-of-{account}"), "label": account});
        }
        if get("grant_type") != "client_credentials" {
            let refresh = self.remember(secret("refresh"));
            self.refresh.insert(refresh.clone(), (account, scope));
            body["refresh_token"] = refresh.into();
        }
        if let Some(seconds) = self.lifetime {
            body["expires_in"] = seconds.into();
        }
        Ok(body)
    }

    /// The API: says who the token stands for and what was received.
    fn api(&self, seen: &Seen) -> Reply {
        if let Some(reply) = &self.api {
            return reply.clone();
        }
        let token = seen
            .header("authorization")
            .and_then(|v| v.strip_prefix("Bearer "))
            .unwrap_or_default();
        let access = self
            .access
            .get(token)
            .filter(|a| a.live && a.ends.is_none_or(|end| end > Instant::now()));
        let Some(access) = access else {
            let headers = [
                ("www-authenticate", "Bearer error=\"invalid_token\""),
                ("content-type", "application/json"),
            ];
            return Reply::new(401, &headers, json!({"error": "invalid_token"}).to_string());
        };
        let hidden = |name: &str| name.eq_ignore_ascii_case("authorization");
        let headers: Map<_, _> = seen
            .headers
            .iter()
            .filter(|(n, _)| !hidden(n))
            .map(|(n, v)| (n.to_lowercase(), v.clone().into()))
            .collect();
        Reply::json(
            200,
            &json!({
                "account": access.account, "method": seen.method, "path": seen.path, "query": seen.query,
                "headers": headers, "body": seen.body,
            }),
        )
    }

    fn remember(&mut self, secret: String) -> String {
        self.secrets.push(secret.clone());
        secret
    }
}
