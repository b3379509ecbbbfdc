//! The token endpoint (RFC 6749 section 3.2) and the revocation endpoint (RFC 7009).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use valetkey_core::Secret;
use valetkey_core::encode::base64;

use super::{CLIENT_ID, Sandbox};
use crate::demo::web::parameters;

/// Trades a code or a refresh token for a pair of tokens.
pub(super) async fn token(
    State(sandbox): State<Sandbox>,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, Refusal> {
    let form = read(&sandbox, &headers, &body)?;
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let now = sandbox.now();
    let mut ledger = sandbox.ledger();
    let pair = match field("grant_type") {
        "authorization_code" => ledger.redeem(field("code"), field("redirect_uri"), field("code_verifier"), now),
        "refresh_token" => ledger.renew(field("refresh_token"), now),
        "" => return Err(Refusal("invalid_request", "grant_type is missing")),
        _ => return Err(Refusal("unsupported_grant_type", "there is no such grant type")),
    };
    let pair = pair.map_err(|description| Refusal("invalid_grant", description))?;
    Ok(Json(json!({
        "access_token": pair.access,
        "token_type": "Bearer",
        "expires_in": pair.lifetime.as_secs(),
        "refresh_token": pair.refresh,
        "scope": pair.scope,
    })))
}

/// Revokes a token. An unknown one is revoked already (RFC 7009 section 2.2).
pub(super) async fn revoke(State(sandbox): State<Sandbox>, headers: HeaderMap, body: String) -> Result<(), Refusal> {
    let form = read(&sandbox, &headers, &body)?;
    let token = form
        .get("token")
        .ok_or(Refusal("invalid_request", "token is missing"))?;
    sandbox.ledger().revoke(token);
    Ok(())
}

/// The form of a client that proved itself with HTTP Basic (RFC 6749 section 2.3.1).
fn read(sandbox: &Sandbox, headers: &HeaderMap, body: &str) -> Result<BTreeMap<String, String>, Refusal> {
    // Id and secret have no character that form encoding would change.
    let pair = Secret::new(format!("{CLIENT_ID}:{}", sandbox.client_secret().expose()));
    let expected = Secret::new(base64(pair.expose().as_bytes()));
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok()?.split_once(' '));
    if !sent.is_some_and(|(scheme, value)| scheme.eq_ignore_ascii_case("basic") && expected.same_as(value)) {
        return Err(Refusal("invalid_client", "the client id or the secret is wrong"));
    }
    parameters(body).ok_or(Refusal("invalid_request", "a parameter of the request comes twice"))
}

/// An error and its description (RFC 6749 section 5.2).
pub(super) struct Refusal(&'static str, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(error, description) = self;
        let body = Json(json!({ "error": error, "error_description": description }));
        if error == "invalid_client" {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"sandbox\"")];
            return (StatusCode::UNAUTHORIZED, challenge, body).into_response();
        }
        (StatusCode::BAD_REQUEST, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use valetkey_core::fake::FakeClock;

    use super::*;

    #[test]
    fn the_client_proves_itself_with_basic_and_nothing_else() {
        let clock = Arc::new(FakeClock::default());
        let sandbox = Sandbox::new("http://127.0.0.1:7422", Duration::from_secs(60), clock);
        let secret = sandbox.client_secret().expose();
        let error = |header: Option<String>, body: &str| {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(header::AUTHORIZATION, header.parse().expect("a header"));
            }
            read(&sandbox, &headers, body).err().map(|Refusal(error, _)| error)
        };
        let basic = |pair: String| Some(format!("Basic {}", base64(pair.as_bytes())));
        assert_eq!(error(basic(format!("{CLIENT_ID}:{secret}")), "token=x"), None);
        assert_eq!(
            error(basic(format!("{CLIENT_ID}:wrong")), "token=x"),
            Some("invalid_client")
        );
        assert_eq!(
            error(Some(format!("Bearer {secret}")), "token=x"),
            Some("invalid_client")
        );
        let in_body = format!("client_id={CLIENT_ID}&client_secret={secret}");
        assert_eq!(error(None, &in_body), Some("invalid_client"));
        let twice = error(basic(format!("{CLIENT_ID}:{secret}")), "token=x&token=y");
        assert_eq!(twice, Some("invalid_request"));
    }
}
