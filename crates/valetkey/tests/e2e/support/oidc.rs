//! npm `oidc-provider`, a certified authorization server that nobody here wrote, as a process of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::api::{Answer, client};
use super::secret;
use super::wait::within;

/// The process; it ends when this is dropped.
pub(crate) struct Oidc {
    issuers: BTreeMap<String, String>,
    client_secret: String,
    _child: Child,
}

/// One of its instances.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) client_secret: String,
}

impl Oidc {
    /// Starts one instance for each name, with the lifetime of its access tokens in seconds. All of them know one client,
    /// which may be sent back to these URIs. The one named `pushed` takes pushed authorization requests only; people
    /// sign in at those named `identity` and `frugal`, which gives no refresh tokens.
    pub(crate) async fn start(instances: &[(&str, u64)], redirect_uris: &[String]) -> Self {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        assert!(
            fixture.join("node_modules/oidc-provider").is_dir(),
            "oidc-provider is not installed: run `cargo xtask test`, or `npm ci` in {}",
            fixture.display(),
        );
        let client_secret = secret("oidc-client-secret");
        let settings = |name: &str, ttl: u64| {
            json!({"accessTtl": ttl, "pushedOnly": name == "pushed", "clients": [{
                "client_id": super::fake::CLIENT_ID, "client_secret": client_secret, "redirect_uris": redirect_uris,
                "grant_types": if name == "frugal" { json!(["authorization_code"]) } else { json!(["authorization_code", "refresh_token"]) },
                "scope": if matches!(name, "identity" | "frugal") { "openid profile email" } else { "read write" },
            }]})
        };
        let config: BTreeMap<_, _> = instances
            .iter()
            .map(|(name, ttl)| (*name, settings(name, *ttl)))
            .collect();
        let mut child = Command::new("node")
            .arg(fixture.join("server.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node");
        let line = json!(config).to_string() + "\n";
        child
            .stdin
            .as_mut()
            .expect("stdin")
            .write_all(line.as_bytes())
            .await
            .expect("a process that reads");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let ready = within("oidc-provider", lines.next_line())
            .await
            .expect("output")
            .expect("a line");
        let issuers = serde_json::from_str(ready.strip_prefix("READY ").expect("a READY line")).expect("JSON");
        Self {
            issuers,
            client_secret,
            _child: child,
        }
    }

    pub(crate) fn issuer(&self, name: &str) -> Issuer {
        Issuer {
            url: self.issuers[name].clone(),
            client_secret: self.client_secret.clone(),
        }
    }
}

impl Issuer {
    /// An `.http` connector for the issuer's API.
    pub(crate) fn connector(&self) -> Value {
        json!({
            "name": "An account at a real provider", "connector_type_id": ".http", "config": {"baseUrl": self.url},
            "secrets": {
                "authType": "oauth_authorization_code",
                "authorizationUrl": format!("{}/auth", self.url),
                "tokenUrl": format!("{}/token", self.url),
                "revocationUrl": format!("{}/token/revocation", self.url),
                "clientId": super::fake::CLIENT_ID,
                "clientSecret": self.client_secret,
                "scope": "read write",
            },
        })
    }

    /// How often something happened: `grant refresh_token`, `api 401`, `POST /token/revocation`.
    pub(crate) async fn count(&self, what: &str) -> u64 {
        self.control("stats").await[what].as_u64().unwrap_or(0)
    }

    /// The queries of the requests to a path, in order.
    pub(crate) async fn queries(&self, path: &str) -> Vec<Value> {
        let log = self.control("log").await;
        let requests = log.as_array().expect("a log").iter().filter(|r| r["path"] == path);
        requests.map(|r| r["query"].clone()).collect()
    }

    /// The forms of the requests to a path, in order.
    pub(crate) async fn forms(&self, path: &str) -> Vec<Value> {
        let log = self.control("log").await;
        let requests = log.as_array().expect("a log").iter().filter(|r| r["path"] == path);
        requests.map(|r| r["form"].clone()).filter(|f| !f.is_null()).collect()
    }

    /// The API answers 401 to every access token made so far.
    pub(crate) async fn reject_access_tokens(&self) {
        self.tell("reject-access-tokens", &json!({})).await;
    }

    /// What ID tokens say of people from now on, besides who they are.
    pub(crate) async fn set_accounts(&self, accounts: &Value) {
        self.tell("accounts", accounts).await;
    }

    /// Forgets faults, and what was counted.
    pub(crate) async fn reset(&self) {
        self.tell("reset", &json!({})).await;
    }

    pub(crate) async fn fault(&self, fault: &Value) {
        self.tell("fault", fault).await;
    }

    async fn control(&self, what: &str) -> Value {
        Answer::to(client().get(format!("{}/__t/{what}", self.url)))
            .await
            .expect(200)
    }

    async fn tell(&self, what: &str, body: &Value) {
        Answer::to(client().post(format!("{}/__t/{what}", self.url)).json(body))
            .await
            .expect(200);
    }
}
