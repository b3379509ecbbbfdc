//! The sandbox's front page: what it is, whom it gave grants, and a way to end one from this side.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::{Person, Sandbox};
use crate::demo::web::{html, parameters};

#[derive(Template)]
#[template(path = "demo_sandbox.html")]
struct HomeTemplate {
    grants: Vec<GrantView>,
}

struct GrantView {
    index: usize,
    person: &'static Person,
    scope: String,
    renewed: u32,
    ended: bool,
}

/// Shows the grants, newest first.
pub(super) async fn show(State(sandbox): State<Sandbox>) -> Response {
    let ledger = sandbox.ledger();
    let view = |(index, grant): (usize, &super::ledger::Grant)| GrantView {
        index,
        person: grant.person,
        scope: grant.scopes.join(" "),
        renewed: grant.renewed,
        ended: grant.ended,
    };
    let grants = ledger.grants().iter().enumerate().rev().take(20).map(view).collect();
    html(StatusCode::OK, &HomeTemplate { grants }, "")
}

/// Ends a grant, as a person does who takes an application's access away at the provider.
pub(super) async fn end_grant(State(sandbox): State<Sandbox>, body: String) -> Response {
    let form = parameters(&body).unwrap_or_default();
    if let Some(index) = form.get("grant").and_then(|text| text.parse().ok()) {
        sandbox.ledger().end(index);
    }
    Redirect::to("/").into_response()
}
