//! What valetkey is measured against and with: a bare handler, a fixed API, a scripted token endpoint.

use anyhow::{Result, bail};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};

/// An answer as `_oauth_access_token` gives it.
const BARE: &str = r#"{"access_token":"0123456789012345678901234567890123456789012","token_type":"Bearer","expires_at":"2027-01-01T00:00:00.000Z"}"#;

/// What the token endpoint answers; the token is as long as the one of the bare handler.
const TOKEN: &str =
    r#"{"access_token":"0123456789012345678901234567890123456789012","token_type":"Bearer","expires_in":864000}"#;

/// Serves one role on a port of its own, until it is killed.
pub(crate) fn run(role: &str) -> Result<()> {
    let json = |text: &'static str| ([(CONTENT_TYPE, "application/json")], text);
    let router = match role {
        "bare" => Router::new().route("/", post(move || async move { json(BARE) })),
        "tokens" => Router::new().route("/token", post(move || async move { json(TOKEN) })),
        "api" => {
            let body: &'static str = Box::leak(format!(r#"{{"text":"{}"}}"#, "x".repeat(1010)).into_boxed_str());
            Router::new().route("/fixed", get(move || async move { json(body) }))
        }
        _ => bail!("there is no role {role}"),
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            crate::say(&format!("listening on {}", listener.local_addr()?.port()))?;
            Ok(axum::serve(listener, router).await?)
        })
}
