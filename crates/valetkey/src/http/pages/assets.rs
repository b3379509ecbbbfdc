//! What hosted pages load: styles, scripts and the operator's logo. Everything comes from here, and nothing is inline.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::http::router::AppState;

const CALLBACK_SCRIPT: &str = include_str!("../../../assets/callback.js");
const CONNECT_SCRIPT: &str = include_str!("../../../assets/connect.js");
pub(super) const STYLE: &str = include_str!("../../../assets/pages.css");

const CSS: &str = "text/css; charset=utf-8";

/// The script of the callback page.
#[utoipa::path(get, path = "/api/actions/connector/_oauth_callback_script", tag = "pages",
    responses((status = 200, content_type = "application/javascript")))]
pub(crate) async fn oauth_callback_script() -> Response {
    asset("application/javascript", CALLBACK_SCRIPT)
}

/// The script of the connect page.
pub(crate) async fn connect_script() -> Response {
    asset("text/javascript; charset=utf-8", CONNECT_SCRIPT)
}

/// The style of the pages.
pub(crate) async fn style() -> Response {
    asset(CSS, STYLE)
}

/// The operator's colours.
pub(crate) async fn brand_style(State(state): State<AppState>) -> Response {
    asset(CSS, state.pages.look.style.clone().unwrap_or_default())
}

/// The operator's logo. Opened on its own it may do nothing either.
pub(crate) async fn logo(State(state): State<AppState>) -> Response {
    let Some(logo) = &state.pages.look.logo else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = asset(logo.content_type, logo.bytes.clone());
    let policy = http::HeaderValue::from_static("default-src 'none'; sandbox");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn asset(content_type: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "public, max-age=86400"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    (headers, body).into_response()
}
