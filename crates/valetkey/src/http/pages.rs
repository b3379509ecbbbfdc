//! The pages that a person's browser sees: the connect page, the callback page, and what they load.
//!
//! No page has an inline script or style; everything that a provider or a person wrote is escaped by the templates, cut,
//! and stripped of characters that change how the rest is read.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use valetkey_core::ErrorCode;
use valetkey_engine::flow::ConnectPage;
use valetkey_engine::{CallbackPage, CallbackRequest, Error};

use super::error::{ErrorBody, status};
use super::front::Meta;
use super::router::AppState;

/// The longest text that a page shows of what others wrote.
const MAX_TEXT: usize = 200;

const CALLBACK_SCRIPT: &str = include_str!("../../assets/callback.js");
const STYLE: &str = include_str!("../../assets/pages.css");

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'";

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectTemplate {
    connector: String,
    connector_type: String,
    user: Option<String>,
    scopes: Vec<String>,
    provider_host: String,
    continue_url: String,
}

#[derive(Template)]
#[template(path = "result.html")]
struct ResultTemplate {
    title: &'static str,
    message: String,
    hint: Option<String>,
    success: bool,
    connector: String,
    connector_id: String,
    flow: String,
    account: Option<String>,
    status_code: u16,
    code: &'static str,
    error: String,
    request_id: String,
    script: bool,
}

/// The connect page of a ticket, or straight on to the provider.
#[utoipa::path(get, path = "/connect/{ticket}", tag = "pages", params(("ticket" = String, Path)),
    responses((status = 200, content_type = "text/html"), (status = 302), (status = 400, content_type = "text/html"),
        (status = 410, content_type = "text/html")))]
pub(crate) async fn connect_page(
    State(state): State<AppState>,
    axum::Extension(meta): axum::Extension<Meta>,
    Path(ticket): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = not_a_visit(&method, &headers) {
        return refusal;
    }
    let cookies = cookies(&headers);
    match state
        .engine
        .open_ticket(&ticket, |name| cookies.get(name).cloned())
        .await
    {
        Ok(opened) => show_connect(&state, opened),
        Err(error) => show_error(&error, &meta, Ended::default()),
    }
}

/// Sends the browser that opened a connect page on to the provider; pushes the authorization request first where the provider
/// demands that.
#[utoipa::path(get, path = "/connect/{ticket}/continue", tag = "pages", params(("ticket" = String, Path)),
    responses((status = 302), (status = 400, content_type = "text/html"), (status = 403, content_type = "text/html"),
        (status = 409, content_type = "text/html"), (status = 429, content_type = "text/html"),
        (status = 502, content_type = "text/html")))]
pub(crate) async fn connect_continue(
    State(state): State<AppState>,
    axum::Extension(meta): axum::Extension<Meta>,
    Path(ticket): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = not_a_visit(&method, &headers) {
        return refusal;
    }
    let cookies = cookies(&headers);
    match state
        .engine
        .continue_ticket(&ticket, |name| cookies.get(name).cloned())
        .await
    {
        Ok(url) => redirect(url.as_str()),
        Err(error) => show_error(&error, &meta, Ended::default()),
    }
}

fn show_connect(state: &AppState, opened: ConnectPage) -> Response {
    let url = opened.continue_url.to_string();
    let mut response = if opened.confirm {
        let template = ConnectTemplate {
            connector: shown(&opened.connector),
            connector_type: shown(&opened.connector_type),
            user: opened.user.map(|u| shown(u.as_str())),
            scopes: opened.scopes.iter().map(|s| shown(s)).collect(),
            provider_host: opened.provider_host,
            continue_url: url,
        };
        render(StatusCode::OK, &template)
    } else {
        redirect(&url)
    };
    if let Some(cookie) = &opened.cookie {
        let secure = if state.engine.is_https() { "; Secure" } else { "" };
        let value = format!(
            "{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
            opened.cookie_name,
            cookie.expose(),
            opened.cookie_seconds
        );
        set_cookie(&mut response, &value);
    }
    response
}

/// The callback of a connector's redirect URI.
#[utoipa::path(get, path = "/api/actions/connector/_oauth_callback/{context}", tag = "pages",
    params(("context" = String, Path)),
    responses((status = 200, content_type = "text/html"), (status = 302), (status = 400, content_type = "text/html"),
        (status = 403, content_type = "text/html"), (status = 409, content_type = "text/html"),
        (status = 429, content_type = "text/html"), (status = 502, content_type = "text/html")))]
pub(crate) async fn oauth_callback(
    State(state): State<AppState>,
    axum::Extension(meta): axum::Extension<Meta>,
    Path(context): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    match not_a_visit(&method, &headers) {
        Some(refusal) => refusal,
        None => callback(state, meta, Some(context), query, &headers).await,
    }
}

/// The callback without a context, for connectors with `legacyRedirectUri`.
#[utoipa::path(get, path = "/api/actions/connector/_oauth_callback", tag = "pages",
    responses((status = 200, content_type = "text/html"), (status = 302), (status = 400, body = ErrorBody)))]
pub(crate) async fn oauth_callback_bare(
    State(state): State<AppState>,
    axum::Extension(meta): axum::Extension<Meta>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    match not_a_visit(&method, &headers) {
        Some(refusal) => refusal,
        None => callback(state, meta, None, query, &headers).await,
    }
}

async fn callback(
    state: AppState,
    meta: Meta,
    context: Option<String>,
    query: Option<String>,
    headers: &HeaderMap,
) -> Response {
    let request = CallbackRequest {
        context,
        query: query.unwrap_or_default(),
        cookies: cookies(headers),
        address: meta.address.to_string(),
        request_id: meta.request_id.to_string(),
    };
    match state.engine.callback(request).await {
        Ok(done) => show_callback(&state, &meta, &done),
        Err(error) => show_error(&error, &meta, Ended::default()),
    }
}

fn show_callback(state: &AppState, meta: &Meta, done: &CallbackPage) -> Response {
    let ended = Ended {
        connector_id: done.connector.as_ref().map(ToString::to_string).unwrap_or_default(),
        connector: done.connector_name.as_deref().map(shown).unwrap_or_default(),
        flow: done.fingerprint.clone().unwrap_or_default(),
    };
    let mut response = match (&done.return_url, &done.result) {
        (Some(url), result) => {
            let mut url = url.clone();
            let mut query = url.query_pairs_mut();
            query.append_pair("oauth_authorization", if result.is_ok() { "success" } else { "error" });
            query.append_pair("connector_id", &ended.connector_id);
            query.append_pair("oauth_flow", &ended.flow);
            let code = result.as_ref().err().map_or(200, |e| status(e.code).as_u16());
            query.append_pair("status_code", &code.to_string());
            if let Err(error) = result {
                log_error(error, meta);
                query.append_pair("error", &error.message);
            }
            drop(query);
            redirect(url.as_str())
        }
        (None, Ok(())) => render(
            StatusCode::OK,
            &ResultTemplate {
                title: "Account connected",
                message: "You can go back to where you came from.".to_owned(),
                hint: None,
                success: true,
                connector: ended.connector,
                connector_id: ended.connector_id,
                flow: ended.flow,
                account: done.account.as_deref().map(shown),
                status_code: 200,
                code: "",
                error: String::new(),
                request_id: meta.request_id.to_string(),
                script: true,
            },
        ),
        (None, Err(error)) => show_error(error, meta, ended),
    };
    if let Some(name) = &done.expired_cookie {
        let secure = if state.engine.is_https() { "; Secure" } else { "" };
        set_cookie(
            &mut response,
            &format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}"),
        );
    }
    response
}

/// Which flow ended; nothing where that is not known, or not this browser's to know.
#[derive(Default)]
struct Ended {
    connector_id: String,
    connector: String,
    flow: String,
}

/// An error as a person understands it, with its real status.
fn show_error(error: &Error, meta: &Meta, ended: Ended) -> Response {
    log_error(error, meta);
    let status = status(error.code);
    let mut response = render(
        status,
        &ResultTemplate {
            title: title(error.code),
            message: sentence(&error.message),
            hint: error
                .retry_after
                .map(|wait| format!("You can try again in {}.", span(wait.as_secs().max(1)))),
            success: false,
            connector: ended.connector,
            script: !ended.connector_id.is_empty(),
            connector_id: ended.connector_id,
            flow: ended.flow,
            account: None,
            status_code: status.as_u16(),
            code: error.code.as_str(),
            error: error.message.clone(),
            request_id: meta.request_id.to_string(),
        },
    );
    if let Some(wait) = error.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

/// The page has no place for the cause; the log has.
fn log_error(error: &Error, meta: &Meta) {
    let cause = error.cause.as_deref().unwrap_or_default();
    tracing::info!(
        request.id = &*meta.request_id,
        code = error.code.as_str(),
        cause,
        "a flow was refused"
    );
}

fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DeniedByUser => "Access was not granted",
        ErrorCode::FlowExpired => "This took too long",
        ErrorCode::FlowAlreadyUsed => "Already finished",
        ErrorCode::FlowBrowserMismatch | ErrorCode::TicketUsed => "Another browser",
        ErrorCode::AccountChanged => "Another account is connected",
        ErrorCode::RateLimited => "Too many attempts",
        ErrorCode::ProviderUnavailable => "The provider has a problem",
        _ => "The account was not connected",
    }
}

/// Our messages start in lower case, so that they join; a page shows sentences.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

fn span(seconds: u64) -> String {
    match seconds {
        1 => "a second".to_owned(),
        2..=119 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// The script of the callback page.
#[utoipa::path(get, path = "/api/actions/connector/_oauth_callback_script", tag = "pages",
    responses((status = 200, content_type = "application/javascript")))]
pub(crate) async fn oauth_callback_script() -> Response {
    asset("application/javascript", CALLBACK_SCRIPT)
}

/// The style of the pages.
pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "public, max-age=86400"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    (headers, text).into_response()
}

fn render(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => page(status, html),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            page(StatusCode::INTERNAL_SERVER_ERROR, String::new())
        }
    }
}

/// There is no `Cross-Origin-Opener-Policy`: it would take the window out of sight of the page that opened it, which could
/// then not tell a window that was closed from one that is in use. The other way round nothing is left to cut: the client
/// library disowns the window before it leaves for here, and the callback page's script does so again.
pub(crate) fn page(status: StatusCode, html: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ];
    (status, headers, html).into_response()
}

fn redirect(url: &str) -> Response {
    let mut response = page(StatusCode::FOUND, String::new());
    match HeaderValue::from_str(url) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

pub(crate) fn set_cookie(response: &mut Response, value: &str) {
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Who only looks (HEAD) or fetches ahead must not use anything up.
pub(crate) fn not_a_visit(method: &Method, headers: &HeaderMap) -> Option<Response> {
    if method == Method::HEAD {
        return Some(page(StatusCode::METHOD_NOT_ALLOWED, String::new()));
    }
    is_prefetch(headers).then(|| page(StatusCode::SERVICE_UNAVAILABLE, String::new()))
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("prefetch"))
}

/// The cookies of a request. Of two with one name neither counts: one of them was planted.
pub(crate) fn cookies(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut doubled = Vec::new();
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'));
    for (name, value) in pairs.filter_map(|pair| pair.trim().split_once('=')) {
        if found
            .insert(name.to_owned(), value.to_owned())
            .is_some_and(|before| before != value)
        {
            doubled.push(name.to_owned());
        }
    }
    for name in doubled {
        found.remove(&name);
    }
    found
}

/// What others wrote, as a page may show it: short, and without characters that hide or turn text around.
fn shown(text: &str) -> String {
    let hidden = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut out: String = text.chars().filter(hidden).take(MAX_TEXT).collect();
    if text.chars().count() > MAX_TEXT {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f05_texts_are_cut_and_cannot_turn_around() {
        assert_eq!(shown("a\u{202e}b\u{200b}c\nd"), "abcd");
        assert_eq!(shown(&"x".repeat(2000)).chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn a12_a_cookie_that_comes_twice_does_not_count() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b=2; a=3"));
        headers.append(header::COOKIE, HeaderValue::from_static("c=4"));
        let cookies = cookies(&headers);
        assert_eq!(cookies.keys().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a37_prefetching_is_recognised() {
        let mut headers = HeaderMap::new();
        assert!(!is_prefetch(&headers));
        headers.insert("sec-purpose", HeaderValue::from_static("prefetch;prerender"));
        assert!(is_prefetch(&headers));
    }
}
