//! What valetkey is measured against and with: a bare handler, a fixed API, scripted token endpoints.

use anyhow::{Result, bail};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};

use super::provider;

/// An answer as `_oauth_access_token` gives it.
const BARE: &str = r#"{"access_token":"0123456789012345678901234567890123456789012","token_type":"Bearer","expires_at":"2027-01-01T00:00:00.000Z"}"#;

/// What the token endpoint answers; the token is as long as the one of the bare handler.
const TOKEN: &str =
    r#"{"access_token":"0123456789012345678901234567890123456789012","token_type":"Bearer","expires_in":864000}"#;

/// Serves one role on a port of its own, until it is killed: its name, and what it needs to know.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let json = |text: &'static str| ([(CONTENT_TYPE, "application/json")], text);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (router, tls) = match arguments[..] {
        ["bare"] => (Router::new().route("/", post(move || async move { json(BARE) })), None),
        ["tokens"] => (
            Router::new().route("/token", post(move || async move { json(TOKEN) })),
            None,
        ),
        ["api"] => {
            let body: &'static str = Box::leak(format!(r#"{{"text":"{}"}}"#, "x".repeat(1010)).into_boxed_str());
            (
                Router::new().route("/fixed", get(move || async move { json(body) })),
                None,
            )
        }
        ["provider"] => (provider::router(), None),
        ["provider", ca_file] => (provider::router(), Some(provider::tls(ca_file)?)),
        _ => bail!("there is no role {arguments:?}"),
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            super::say(&format!("listening on {}", listener.local_addr()?.port()))?;
            match tls {
                None => Ok(axum::serve(listener, router).await?),
                Some(tls) => provider::serve_tls(listener, tls, router).await,
            }
        })
}
