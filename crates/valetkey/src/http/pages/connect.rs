//! The connect page: who asks for what, as whom, and the two ways on.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use valetkey_engine::CancelRequest;
use valetkey_engine::flow::ConnectPage;

use super::callback::{Ended, show_callback, show_error};
use super::{Frame, Visit, redirect, render, set_cookie, shown};

/// More permissions than this are shown in a box of their own.
const MANY_SCOPES: usize = 8;

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectTemplate<'a> {
    frame: Frame<'a>,
    title: String,
    lead: String,
    no_scopes: String,
    connector_type: String,
    user: Option<String>,
    scopes: Vec<Scope>,
    has_many: bool,
    provider_host: String,
    continue_url: String,
    cancel_url: String,
}

/// One permission: in plain words, or as the provider calls it.
struct Scope {
    name: String,
    label: Option<String>,
}

/// The connect page of a ticket, or straight on to the provider.
#[utoipa::path(get, path = "/connect/{ticket}", tag = "pages", params(("ticket" = String, Path)),
    responses((status = 200, content_type = "text/html"), (status = 302), (status = 400, content_type = "text/html"),
        (status = 404, content_type = "text/html"), (status = 409, content_type = "text/html"),
        (status = 410, content_type = "text/html")))]
pub(crate) async fn connect_page(visit: Visit, Path(ticket): Path<String>) -> Response {
    let cookies = visit.cookies();
    let cookie = |name: &str| cookies.get(name).cloned();
    match visit.state.engine.open_ticket(&ticket, cookie).await {
        Ok(opened) => show_connect(&visit, &opened),
        Err(error) => show_error(&visit, &error, Ended::default()),
    }
}

/// Sends the browser that opened a connect page on to the provider; pushes the authorization request first where the provider
/// demands that.
#[utoipa::path(get, path = "/connect/{ticket}/continue", tag = "pages", params(("ticket" = String, Path)),
    responses((status = 302), (status = 400, content_type = "text/html"), (status = 403, content_type = "text/html"),
        (status = 404, content_type = "text/html"), (status = 409, content_type = "text/html"),
        (status = 429, content_type = "text/html"), (status = 502, content_type = "text/html")))]
pub(crate) async fn connect_continue(visit: Visit, Path(ticket): Path<String>) -> Response {
    let cookies = visit.cookies();
    let cookie = |name: &str| cookies.get(name).cloned();
    match visit.state.engine.continue_ticket(&ticket, cookie).await {
        Ok(url) => redirect(url.as_str()),
        Err(error) => show_error(&visit, &error, Ended::default()),
    }
}

/// Ends the flow, in the browser that opened its connect page.
#[utoipa::path(get, path = "/connect/{ticket}/cancel", tag = "pages", params(("ticket" = String, Path)),
    responses((status = 302), (status = 400, content_type = "text/html"), (status = 403, content_type = "text/html"),
        (status = 404, content_type = "text/html"), (status = 409, content_type = "text/html")))]
pub(crate) async fn connect_cancel(visit: Visit, Path(ticket): Path<String>) -> Response {
    let request = CancelRequest {
        ticket,
        cookies: visit.cookies(),
        address: visit.meta.address.to_string(),
        request_id: visit.meta.request_id.to_string(),
    };
    match visit.state.engine.cancel_ticket(request).await {
        Ok(done) => show_callback(&visit, &done),
        Err(error) => show_error(&visit, &error, Ended::default()),
    }
}

fn show_connect(visit: &Visit, opened: &ConnectPage) -> Response {
    let mut response = if opened.confirm {
        confirm(visit.frame(), opened)
    } else {
        redirect(opened.continue_url.as_str())
    };
    if let Some(cookie) = &opened.cookie {
        let secure = if visit.state.engine.is_https() { "; Secure" } else { "" };
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

fn confirm(frame: Frame<'_>, opened: &ConnectPage) -> Response {
    let service = shown(&opened.connector_type);
    let scopes = opened.scopes.iter().map(|scope| Scope {
        name: shown(&scope.name),
        label: scope.label.as_deref().map(shown),
    });
    let template = ConnectTemplate {
        title: frame
            .t
            .with("connect-title", [("connector", shown(&opened.connector).into())]),
        lead: frame.t.with(
            "connect-lead",
            [
                ("brand", frame.look.name.as_str().into()),
                ("service", service.as_str().into()),
            ],
        ),
        no_scopes: frame
            .t
            .with("connect-no-scopes", [("service", service.as_str().into())]),
        connector_type: service,
        user: opened.user.as_ref().map(|u| shown(u.as_str())),
        has_many: opened.scopes.len() > MANY_SCOPES,
        scopes: scopes.collect(),
        provider_host: opened.provider_host.clone(),
        continue_url: opened.continue_url.to_string(),
        cancel_url: opened.cancel_url.to_string(),
        frame,
    };
    render(StatusCode::OK, &template)
}
