//! A browser that is signed in, as the console uses one: a cookie, and the header that pages of other sites cannot send.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::api::{Answer, client};

pub(crate) struct SignedIn {
    base: String,
    /// `name=value`.
    pub(crate) cookie: String,
    /// The whole header that set it.
    pub(crate) set_cookie: String,
    /// What signing in answered.
    pub(crate) answer: Value,
}

impl SignedIn {
    /// Signs in; the body is `{"key": …}` or `{"link": …}`.
    pub(crate) async fn with(base: &str, body: &Value) -> Self {
        let answer = sign_in(base, body).await;
        Self::from(base, &answer)
    }

    pub(crate) async fn with_key(base: &str, key: &str) -> Self {
        Self::with(base, &json!({"key": key})).await
    }

    pub(crate) fn from(base: &str, answer: &Answer) -> Self {
        let body = answer.expect(200);
        Self::of_cookie(base, answer.header("set-cookie"), body)
    }

    /// A session that was opened in another way.
    pub(crate) fn of_cookie(base: &str, set_cookie: &str, answer: Value) -> Self {
        Self {
            base: base.to_owned(),
            cookie: set_cookie.split(';').next().unwrap_or_default().to_owned(),
            set_cookie: set_cookie.to_owned(),
            answer,
        }
    }

    /// A request as a page of another site could have it sent.
    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        client()
            .request(method, format!("{}{path}", self.base))
            .header("cookie", &self.cookie)
    }

    /// A request as the console sends it.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .header("kbn-xsrf", "true")
            .header("sec-fetch-site", "same-origin")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await
    }

    /// What `GET /api/session` says.
    pub(crate) async fn who(&self) -> Value {
        self.get("/api/session").await.expect(200)
    }
}

pub(crate) async fn sign_in(base: &str, body: &Value) -> Answer {
    Answer::to(client().post(format!("{base}/api/session")).json(body)).await
}
