//! The API behind the sandbox: who the token stands for, and their notes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use valetkey_core::Timestamp;

use super::{Person, Sandbox, locked};

/// The longest note, in characters.
const MAX_TEXT: usize = 500;

/// How many notes of a person are kept; the oldest goes first.
const MAX_NOTES: usize = 50;

/// Everybody's notes.
pub(super) type Notes = BTreeMap<&'static str, Vec<Note>>;

/// A note.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Note {
    text: String,
    written_at: Timestamp,
}

/// Whom the request's access token stands for, and what it may do.
pub(super) struct Visitor {
    person: &'static Person,
    scopes: Vec<&'static str>,
}

impl FromRequestParts<Sandbox> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, sandbox: &Sandbox) -> Result<Self, Refusal> {
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        let ledger = sandbox.ledger();
        let grant = token.and_then(|token| ledger.grant_of(token, sandbox.now()));
        match grant {
            Some(grant) => Ok(Self {
                person: grant.person,
                scopes: grant.scopes.clone(),
            }),
            None => Err(refuse(
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "the access token is missing, unknown or expired",
            )),
        }
    }
}

impl Visitor {
    fn need(&self, scope: &str) -> Result<(), Refusal> {
        if self.scopes.contains(&scope) {
            Ok(())
        } else {
            Err(refuse(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "the access token has not the scope for this",
            ))
        }
    }
}

/// Whose account it is.
pub(super) async fn me(visitor: Visitor) -> Result<Json<Value>, Refusal> {
    visitor.need("notes.read")?;
    let Person { id, name, email } = visitor.person;
    Ok(Json(json!({ "id": id, "name": name, "email": email })))
}

/// The person's notes, newest first.
pub(super) async fn list(State(sandbox): State<Sandbox>, visitor: Visitor) -> Result<Json<Value>, Refusal> {
    visitor.need("notes.read")?;
    let notes = locked(&sandbox.0.notes);
    let own: Vec<_> = notes.get(visitor.person.id).into_iter().flatten().rev().collect();
    Ok(Json(json!({ "notes": own })))
}

/// Writes a note.
pub(super) async fn add(
    State(sandbox): State<Sandbox>,
    visitor: Visitor,
    body: String,
) -> Result<(StatusCode, Json<Note>), Refusal> {
    visitor.need("notes.write")?;
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = body["text"].as_str().map(str::trim).unwrap_or_default();
    if text.is_empty() || text.chars().count() > MAX_TEXT {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "invalid_note",
            "text must have 1 to 500 characters",
        ));
    }
    let note = Note {
        text: text.to_owned(),
        written_at: sandbox.now(),
    };
    let mut notes = locked(&sandbox.0.notes);
    let own = notes.entry(visitor.person.id).or_default();
    if own.len() == MAX_NOTES {
        own.remove(0);
    }
    own.push(note.clone());
    Ok((StatusCode::CREATED, Json(note)))
}

/// A request that the API refuses (RFC 6750 section 3).
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    message: &'static str,
}

fn refuse(status: StatusCode, error: &'static str, message: &'static str) -> Refusal {
    Refusal { status, error, message }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, error, message } = self;
        let challenge = [(header::WWW_AUTHENTICATE, format!("Bearer error=\"{error}\""))];
        let body = Json(json!({ "error": error, "message": message }));
        (status, challenge, body).into_response()
    }
}
