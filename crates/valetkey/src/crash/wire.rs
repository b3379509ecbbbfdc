//! The wire, with crash points around the requests to token endpoints.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;
use url::form_urlencoded::parse;
use valetkey_core::{Request, Response};
use valetkey_engine::wire::{Limits, Outcome, Wire, WireError};

use super::Plan;
use super::point::Edge;

/// A wire with crash points.
#[derive(Debug)]
pub(super) struct Crashing {
    wire: Arc<dyn Wire>,
    plan: Arc<Plan>,
}

impl Crashing {
    pub(super) fn new(wire: Arc<dyn Wire>, plan: Arc<Plan>) -> Self {
        Self { wire, plan }
    }
}

#[async_trait]
impl Wire for Crashing {
    fn check(&self, url: &Url) -> Result<(), WireError> {
        self.wire.check(url)
    }

    async fn send_token(&self, request: Request, deadline: Duration) -> Outcome {
        let name = name(&request);
        if self.plan.pass(Edge::Before(name)).await.is_err() {
            return Outcome::NotSent(WireError::Connect);
        }
        let outcome = self.wire.send_token(request, deadline).await;
        let answered = matches!(outcome, Outcome::Answered(_));
        if answered && self.plan.pass(Edge::After(name)).await.is_err() {
            return Outcome::Uncertain(WireError::Broken);
        }
        outcome
    }

    async fn send_api(&self, request: Request, limits: Limits) -> Result<Response, WireError> {
        self.wire.send_api(request, limits).await
    }
}

/// What a request to a token endpoint, or one beside it, is for.
fn name(request: &Request) -> &'static str {
    let field = |name| parse(&request.body).find(|(n, _)| n == name).map(|(_, value)| value);
    match (field("grant_type").as_deref(), field("token")) {
        (Some("authorization_code"), _) => "exchange",
        (Some("refresh_token"), _) => "refresh",
        (None, Some(_)) => "revoke",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_their_form() {
        for (body, expected) in [
            ("grant_type=authorization_code&code=x", "exchange"),
            ("grant_type=refresh_token&refresh_token=x", "refresh"),
            ("grant_type=client_credentials", "other"),
            ("token=x&token_type_hint=refresh_token", "revoke"),
            ("", "other"),
        ] {
            let url = "https://provider.example/token".parse().expect("a URL");
            let mut request = Request::new(http::Method::POST, url);
            request.body = body.into();
            assert_eq!(name(&request), expected, "{body}");
        }
    }
}
