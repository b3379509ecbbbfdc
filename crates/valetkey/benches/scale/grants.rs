//! Grants with refresh tokens, made through the real flow.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{KEY, Process, Server, start_role};

/// The scripted provider, as the bench sees it.
pub(crate) struct Provider {
    _process: Process,
    origin: String,
    /// The bench itself talks to it without TLS.
    control: String,
    client: reqwest::Client,
    /// What valetkey must be told to talk to it.
    pub(crate) settings: Vec<String>,
}

impl Provider {
    pub(crate) fn start(data: &Path, tls: bool) -> Result<Self> {
        let ca_file = data.join("provider-ca.pem");
        let ca_file = ca_file.to_str().context("the path is no text")?;
        let arguments: &[&str] = if tls { &["provider", ca_file] } else { &["provider"] };
        let (process, port) = start_role(arguments)?;
        let scheme = if tls { "https" } else { "http" };
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self {
            _process: process,
            origin: format!("{scheme}://127.0.0.1:{port}"),
            control: format!("http://127.0.0.1:{port}"),
            client,
            settings: tls.then(|| format!("extra_ca_file={ca_file}")).into_iter().collect(),
        })
    }

    /// A connector for it.
    pub(crate) fn connector(&self) -> Value {
        json!({
            "name": "grants", "connector_type_id": ".http",
            "config": {"baseUrl": self.origin},
            "secrets": {"authType": "oauth_authorization_code", "authorizationUrl": format!("{}/authorize", self.origin),
                "tokenUrl": format!("{}/token", self.origin), "clientId": "bench", "clientSecret": "bench-secret"},
        })
    }

    /// Says when first tokens end, as in `end_at=…`, `life=…` or nothing, and begins the counting anew.
    pub(crate) async fn tell(&self, what: &str) -> Result<()> {
        let url = format!("{}/tell?{what}", self.control);
        self.client.get(url).send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn seen(&self) -> Result<Value> {
        Ok(self
            .client
            .get(format!("{}/seen", self.control))
            .send()
            .await?
            .json()
            .await?)
    }
}

/// Connects an account for each of these users.
pub(crate) async fn connect(server: &Server, connector: &str, users: Range<u64>) -> Result<()> {
    let next = Arc::new(AtomicU64::new(users.start));
    let mut clients = JoinSet::new();
    for _ in 0..32 {
        let (next, port, connector) = (Arc::clone(&next), server.port, connector.to_owned());
        clients.spawn(async move {
            let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
            loop {
                let user = next.fetch_add(1, Ordering::Relaxed);
                if user >= users.end {
                    return anyhow::Ok(());
                }
                connect_one(&client, port, &connector, user).await?;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(())
}

/// What a browser does, without the provider's page: nobody looks at it here.
async fn connect_one(client: &reqwest::Client, port: u16, connector: &str, user: u64) -> Result<()> {
    let start = format!("http://127.0.0.1:{port}/api/actions/connector/{connector}/_start_oauth_flow");
    let started: Value = client
        .post(start)
        .header("authorization", format!("ApiKey {KEY}"))
        .header("x-valetkey-user", format!("user-{user}"))
        .json(&json!({"confirm": false}))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let ticket = started["authorizationUrl"].as_str().context("no authorizationUrl")?;
    let sent_on = client.get(ticket).send().await?;
    let header = |name: &str| {
        sent_on
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .context("no header")
    };
    let cookie = header("set-cookie")?.split(';').next().unwrap_or_default().to_owned();
    let asked = url::Url::parse(header("location")?)?;
    let parameter = |name: &str| {
        let found = asked.query_pairs().find(|(n, _)| n == name);
        found.map(|(_, value)| value.into_owned()).context("no such parameter")
    };
    let mut callback = url::Url::parse(&parameter("redirect_uri")?)?;
    callback
        .query_pairs_mut()
        .append_pair("code", "bench")
        .append_pair("state", &parameter("state")?);
    let answer = client.get(callback).header("cookie", cookie).send().await?;
    if answer.status() != 200 {
        bail!("a callback was refused: {} {}", answer.status(), answer.text().await?);
    }
    Ok(())
}
