//! The HTTP API, as a client with one key sees it.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// A client of the API: one key, possibly for a user, in one space.
#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    base: String,
    pub(crate) key: String,
    user: Option<String>,
    space: Option<String>,
}

/// A flow that was started.
pub(crate) struct Started {
    pub(crate) url: String,
    pub(crate) state: String,
    pub(crate) expires_at: String,
}

impl Api {
    pub(crate) fn new(base: &str, key: &str) -> Self {
        Self {
            http: client(),
            base: base.to_owned(),
            key: key.to_owned(),
            user: None,
            space: None,
        }
    }

    /// The same key, for a user.
    pub(crate) fn for_user(&self, user: &str) -> Self {
        Self {
            user: Some(user.to_owned()),
            ..self.clone()
        }
    }

    /// The same key, in another space.
    pub(crate) fn in_space(&self, space: &str) -> Self {
        Self {
            space: Some(space.to_owned()),
            ..self.clone()
        }
    }

    /// Another key, in the same space and for nobody.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            user: None,
            ..self.clone()
        }
    }

    /// The URL of a path, in this client's space.
    pub(crate) fn url(&self, path: &str) -> String {
        let space = self.space.as_ref().map(|s| format!("/s/{s}")).unwrap_or_default();
        format!("{}{space}{path}", self.base)
    }

    /// A request with this client's credentials, to be completed by the test.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, self.url(path))
            .header("authorization", format!("ApiKey {}", self.key));
        match &self.user {
            Some(user) => request.header("x-valetkey-user", user),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::PUT, path).json(body)).await
    }

    /// A new key with these privileges and whatever `more` says, as a client.
    pub(crate) async fn make_key(&self, privileges: &[&str], more: Value) -> Self {
        let mut body = json!({"name": "a key of a test", "privileges": privileges});
        super::patch(&mut body, &more);
        let made = self.post("/api/security/api_keys", &body).await.expect(200);
        self.with_key(made["key"].as_str().expect("a key"))
    }

    pub(crate) async fn create(&self, id: &str, body: &Value) -> Value {
        self.post(&format!("/api/actions/connector/{id}"), body)
            .await
            .expect(200)
    }

    /// A call of one of a connector's own routes: `_execute`, `_start_oauth_flow` …
    pub(crate) async fn on(&self, id: &str, route: &str, body: Value) -> Answer {
        self.post(&format!("/api/actions/connector/{id}/{route}"), &body).await
    }

    pub(crate) async fn start(&self, id: &str, body: Value) -> Started {
        let started = self.on(id, "_start_oauth_flow", body).await.expect(200);
        let text = |name: &str| {
            started[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {started}"))
                .to_owned()
        };
        Started {
            url: text("authorizationUrl"),
            state: text("state"),
            expires_at: text("expiresAt"),
        }
    }

    /// Runs the action `request` of an `.http` connector with GET.
    pub(crate) async fn call(&self, id: &str, path: &str) -> Value {
        let params = json!({"subAction": "request", "subActionParams": {"method": "GET", "path": path}});
        self.on(id, "_execute", json!({"params": params})).await.expect(200)
    }

    /// A request for an access token, not sent yet.
    pub(crate) fn token_request(&self, id: &str) -> RequestBuilder {
        let path = format!("/api/actions/connector/{id}/_oauth_access_token");
        self.request(Method::POST, &path).json(&json!({}))
    }

    /// An access token as it is handed out.
    pub(crate) async fn token(&self, id: &str) -> Answer {
        Answer::to(self.token_request(id)).await
    }

    /// The text of an access token that works.
    pub(crate) async fn token_text(&self, id: &str) -> String {
        let answer = self.token(id).await.expect(200);
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// A request for a token that outlives every token there is, so that it must be renewed; not sent yet.
    pub(crate) fn renewal(&self, id: &str) -> RequestBuilder {
        self.token_request(id).json(&json!({"minimumValiditySeconds": 86_000}))
    }

    /// Has the token renewed.
    pub(crate) async fn renew(&self, id: &str) -> Answer {
        Answer::to(self.renewal(id)).await
    }

    /// `user_auth_status` of a connector, with the reason if there is one: `reauthorize token_revoked`.
    pub(crate) async fn status(&self, id: &str) -> String {
        let all = self
            .post("/api/actions/connectors/_me/auth_status", &json!({}))
            .await
            .expect(200);
        let status = all[id]["user_auth_status"]
            .as_str()
            .unwrap_or_else(|| panic!("no status of {id}: {all}"));
        match all[id]["reason"].as_str() {
            Some(reason) => format!("{status} {reason}"),
            None => status.to_owned(),
        }
    }

    /// The newest records of the audit log of one type.
    pub(crate) async fn audit(&self, kind: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/audit?type={kind}&limit=200")).await.expect(200);
        page["records"].as_array().expect("records").clone()
    }

    /// What the newest record of this type says came of it.
    pub(crate) async fn last_outcome(&self, kind: &str) -> String {
        let records = self.audit(kind).await;
        let newest = records
            .first()
            .unwrap_or_else(|| panic!("no audit record of the type {kind}"));
        newest["outcome"].as_str().expect("an outcome").to_owned()
    }

    pub(crate) async fn metrics(&self) -> String {
        Answer::to(self.http.get(format!("{}/metrics", self.base))).await.text()
    }
}

/// An HTTP client that follows nothing, keeps no cookies and asks no proxy.
pub(crate) fn client() -> Client {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a client")
}

/// An answer that was read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            body: response.bytes().await.expect("a body").to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON body of an answer that must have this status; `null` for an empty one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The body of a refusal: the shape that every error has, with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["statusCode"], status, "{body}");
        for name in ["error", "message"] {
            assert!(
                body[name].as_str().is_some_and(|text| !text.is_empty()),
                "no {name}: {body}"
            );
        }
        let known: BTreeMap<String, Value> = serde_json::from_value(body.clone()).expect("an object");
        let allowed = ["statusCode", "error", "message", "code", "requestId", "authorization"];
        assert!(known.keys().all(|k| allowed.contains(&k.as_str())), "{body}");
        assert_eq!(body["requestId"], self.header("x-request-id"), "{body}");
        body
    }

    /// The seconds of `Retry-After`.
    #[track_caller]
    pub(crate) fn retry_after(&self) -> u64 {
        self.header("retry-after")
            .parse()
            .expect("a number of seconds in Retry-After")
    }
}
