//! The end of a flow: the browser comes back from the provider, and sees what became of it.

use askama::Template;
use axum::extract::{Path, RawQuery};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use valetkey_core::ErrorCode;
use valetkey_engine::{CallbackPage, CallbackRequest, Error};

use super::{Frame, Visit, redirect, render, set_cookie, shown};
use crate::http::error::{ErrorBody, status};
use crate::http::front::Meta;

/// After how many seconds the window closes.
const CLOSES_IN: u64 = 3;

#[derive(Template)]
#[template(path = "result.html")]
struct ResultTemplate<'a> {
    frame: Frame<'a>,
    title: String,
    message: String,
    hint: Option<String>,
    next: Option<String>,
    /// Which mark stands above the title: `good`, `bad` or `plain`.
    mark: &'static str,
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
    /// Whether the flow was begun in the console, so that there is a way back to it.
    console: bool,
    /// What the script says while the window is about to close: a JSON list of texts, one for each second.
    countdown: String,
}

/// The callback of a connector's redirect URI.
#[utoipa::path(get, path = "/api/actions/connector/_oauth_callback/{context}", tag = "pages",
    params(("context" = String, Path)),
    responses((status = 200, content_type = "text/html"), (status = 302), (status = 400, content_type = "text/html"),
        (status = 403, content_type = "text/html"), (status = 409, content_type = "text/html"),
        (status = 429, content_type = "text/html"), (status = 502, content_type = "text/html")))]
pub(crate) async fn oauth_callback(visit: Visit, Path(context): Path<String>, RawQuery(query): RawQuery) -> Response {
    callback(&visit, Some(context), query).await
}

/// The callback without a context, for connectors with `legacyRedirectUri`.
#[utoipa::path(get, path = "/api/actions/connector/_oauth_callback", tag = "pages",
    responses((status = 200, content_type = "text/html"), (status = 302), (status = 400, body = ErrorBody)))]
pub(crate) async fn oauth_callback_bare(visit: Visit, RawQuery(query): RawQuery) -> Response {
    callback(&visit, None, query).await
}

async fn callback(visit: &Visit, context: Option<String>, query: Option<String>) -> Response {
    let request = CallbackRequest {
        context,
        query: query.unwrap_or_default(),
        cookies: visit.cookies(),
        address: visit.meta.address.to_string(),
        request_id: visit.meta.request_id.to_string(),
    };
    match visit.state.engine.callback(request).await {
        Ok(done) => show_callback(visit, &done),
        Err(error) => show_error(visit, &error, Ended::default()),
    }
}

/// How a flow ended: a page, or on to the return URL.
pub(super) fn show_callback(visit: &Visit, done: &CallbackPage) -> Response {
    let ended = Ended {
        connector_id: done.connector.as_ref().map(ToString::to_string).unwrap_or_default(),
        connector: done.connector_name.as_deref().map(shown).unwrap_or_default(),
        flow: done.fingerprint.clone().unwrap_or_default(),
        in_session: done.in_session,
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
                log_error(error, &visit.meta);
                query.append_pair("error", &error.message);
            }
            drop(query);
            redirect(url.as_str())
        }
        (None, Ok(())) => show_connected(visit, ended, done),
        (None, Err(error)) => show_error(visit, error, ended),
    };
    if let Some(name) = &done.expired_cookie {
        let secure = if visit.state.engine.is_https() { "; Secure" } else { "" };
        set_cookie(
            &mut response,
            &format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}"),
        );
    }
    response
}

fn show_connected(visit: &Visit, ended: Ended, done: &CallbackPage) -> Response {
    let frame = visit.frame();
    let account = done.account.as_deref().map(shown);
    let template = ResultTemplate {
        title: frame.t.part("connected", "title").unwrap_or_default(),
        message: frame.t.get("connected"),
        hint: None,
        next: None,
        mark: "good",
        success: true,
        connector: ended.connector,
        connector_id: ended.connector_id,
        flow: ended.flow,
        account: account.map(|account| frame.t.with("connected-as", [("account", account.into())])),
        status_code: 200,
        code: "",
        error: String::new(),
        request_id: visit.meta.request_id.to_string(),
        script: true,
        console: ended.in_session,
        countdown: countdown(frame),
        frame,
    };
    render(StatusCode::OK, &template)
}

/// Which flow ended; nothing where that is not known, or not this browser's to know.
#[derive(Default)]
pub(super) struct Ended {
    connector_id: String,
    connector: String,
    flow: String,
    in_session: bool,
}

/// An error as a person understands it, with its real status.
pub(super) fn show_error(visit: &Visit, error: &Error, ended: Ended) -> Response {
    log_error(error, &visit.meta);
    let frame = visit.frame();
    let status = status(error.code);
    let name = match format!("error-{}", error.code) {
        // What binds the flow to a browser is the session: without one, it may as well have ended.
        _ if ended.in_session && error.code == ErrorCode::FlowBrowserMismatch => "signed-out".to_owned(),
        name if frame.t.has(&name) => name,
        _ => "error-other".to_owned(),
    };
    let mut response = render(
        status,
        &ResultTemplate {
            title: frame.t.part(&name, "title").unwrap_or_default(),
            message: frame.t.get(&name),
            hint: error.retry_after.map(|wait| retry_hint(frame, wait.as_secs().max(1))),
            next: frame.t.part(&name, "next"),
            mark: if error.code == ErrorCode::FlowCancelled {
                "plain"
            } else {
                "bad"
            },
            success: false,
            connector: ended.connector,
            script: !ended.connector_id.is_empty(),
            console: ended.in_session,
            connector_id: ended.connector_id,
            flow: ended.flow,
            account: None,
            status_code: status.as_u16(),
            code: error.code.as_str(),
            error: error.message.clone(),
            request_id: visit.meta.request_id.to_string(),
            countdown: countdown(frame),
            frame,
        },
    );
    if let Some(wait) = error.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

fn countdown(frame: Frame<'_>) -> String {
    let left = (1..=CLOSES_IN).rev();
    let texts: serde_json::Value = left.map(|n| frame.t.with("closing", [("seconds", n.into())])).collect();
    texts.to_string()
}

fn retry_hint(frame: Frame<'_>, seconds: u64) -> String {
    if seconds < 120 {
        frame.t.with("retry-seconds", [("seconds", seconds.into())])
    } else {
        frame
            .t
            .with("retry-minutes", [("minutes", seconds.div_ceil(60).into())])
    }
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
