//! A client of valetkey's HTTP API, as an application would have one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use valetkey_core::Secret;

/// How long the server may take: an action may take a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// The most that the server may answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The API, with a key, for a user.
pub(super) struct Api {
    base: String,
    key: Secret<String>,
    user: Option<&'static str>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What the API answered.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body; null if there is none.
    pub(super) body: Value,
}

impl Api {
    /// The API at `base`.
    pub(super) fn new(base: &str, key: Secret<String>, user: Option<&'static str>) -> Self {
        Self {
            base: base.to_owned(),
            key,
            user,
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
        }
    }

    /// Sends a request; an error status is an answer too.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("ApiKey {}", self.key.expose()));
        if let Some(user) = self.user {
            request = request.header("x-valetkey-user", user);
        }
        let content = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                serde_json::to_vec(body)?
            }
            None => Vec::new(),
        };
        let exchange = async {
            let response = self.client.request(request.body(Full::from(content))?).await?;
            let status = response.status().as_u16();
            let bytes = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(anyhow::Error::from_boxed)?
                .to_bytes();
            let body = if bytes.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&bytes)?
            };
            anyhow::Ok(Answer { status, body })
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await;
        answered
            .context("valetkey did not answer in time")?
            .context("valetkey cannot be reached")
    }

    /// A POST.
    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.call(Method::POST, path, body).await
    }
}

impl Answer {
    /// Whether it is a success.
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the API says went wrong.
    pub(super) fn message(&self) -> String {
        match self.body["message"].as_str() {
            Some(message) => message.to_owned(),
            None => format!("valetkey answered with status {}", self.status),
        }
    }

    /// The body of a success.
    pub(super) fn success(self) -> Result<Value> {
        if self.is_ok() {
            Ok(self.body)
        } else {
            Err(anyhow::anyhow!(self.message()))
        }
    }
}
