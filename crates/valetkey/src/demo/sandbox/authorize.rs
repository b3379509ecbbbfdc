//! The authorization endpoint (RFC 6749 section 3.1) and its consent page.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use url::Url;

use super::ledger::Asked;
use super::{CLIENT_ID, PEOPLE, Person, SCOPES, Sandbox, Scope, locked};
use crate::demo::web::{html, parameters};

/// Where the consent page's form leads: browsers hold the whole chain of redirects against the policy, and it ends at the
/// application.
const LEADS_TO: &str = "http://127.0.0.1:*";

#[derive(Template)]
#[template(path = "demo_consent.html")]
struct ConsentTemplate {
    request: String,
    scopes: Vec<&'static Scope>,
    people: &'static [Person],
    returns_to: String,
}

#[derive(Template)]
#[template(path = "demo_refusal.html")]
struct RefusalTemplate {
    message: &'static str,
}

/// A request that goes back to the client with an error (RFC 6749 section 4.1.2.1).
type Wrong = (&'static str, &'static str);

/// Checks a request and asks a person. As long as client and redirect URI are not right, nobody is sent anywhere.
pub(super) async fn ask(State(sandbox): State<Sandbox>, RawQuery(query): RawQuery) -> Response {
    let Some(query) = parameters(&query.unwrap_or_default()) else {
        return refuse("a parameter of the request comes twice");
    };
    let parameter = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    if parameter("client_id") != CLIENT_ID {
        return refuse("the client is unknown");
    }
    let redirect_uri = parameter("redirect_uri").to_owned();
    if !locked(&sandbox.0.redirect_uris).contains(&redirect_uri) {
        return refuse("the redirect URI is not registered");
    }
    let mut asked = Asked {
        redirect_uri,
        state: query.get("state").cloned(),
        challenge: parameter("code_challenge").to_owned(),
        scopes: Vec::new(),
    };
    let scopes = check_challenge(&asked.challenge, parameter("code_challenge_method"))
        .and_then(|()| check_response_type(parameter("response_type")))
        .and_then(|()| scopes(parameter("scope")));
    match scopes {
        Ok(scopes) => {
            asked.scopes = scopes.iter().map(|s| s.name).collect();
            let template = ConsentTemplate {
                returns_to: authority(&asked.redirect_uri),
                request: sandbox.ledger().ask(asked, sandbox.now()),
                scopes,
                people: &PEOPLE,
            };
            html(StatusCode::OK, &template, LEADS_TO)
        }
        Err((error, description)) => {
            let answer = [("error", error), ("error_description", description)];
            send_back(&sandbox, &asked, &answer)
        }
    }
}

/// Host and port of a URL, for people.
fn authority(url: &str) -> String {
    Url::parse(url).map_or_else(|_| String::new(), |url| url.authority().to_owned())
}

/// What the person decided.
pub(super) async fn decide(State(sandbox): State<Sandbox>, body: String) -> Response {
    let form = parameters(&body).unwrap_or_default();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let now = sandbox.now();
    let Some(asked) = sandbox.ledger().take(field("request"), now) else {
        return refuse("this page was answered before, or waited too long; go back and start again");
    };
    match PEOPLE
        .iter()
        .find(|p| p.id == field("person"))
        .filter(|_| field("decision") == "allow")
    {
        Some(person) => {
            let code = sandbox.ledger().allow(asked.clone(), person, now);
            send_back(&sandbox, &asked, &[("code", &code)])
        }
        None => send_back(&sandbox, &asked, &[("error", "access_denied")]),
    }
}

/// PKCE is required, and only with S256 (RFC 7636 section 4.3).
fn check_challenge(challenge: &str, method: &str) -> Result<(), Wrong> {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if method == "S256" && challenge.len() == 43 && challenge.bytes().all(base64url) {
        Ok(())
    } else {
        Err((
            "invalid_request",
            "a code_challenge with code_challenge_method=S256 is required",
        ))
    }
}

fn check_response_type(response_type: &str) -> Result<(), Wrong> {
    match response_type {
        "code" => Ok(()),
        "" => Err(("invalid_request", "response_type is missing")),
        _ => Err(("unsupported_response_type", "only code is supported")),
    }
}

fn scopes(text: &str) -> Result<Vec<&'static Scope>, Wrong> {
    let known = |name| SCOPES.iter().find(|s| s.name == name);
    let found: Option<Vec<_>> = text.split(' ').filter(|name| !name.is_empty()).map(known).collect();
    found
        .filter(|scopes| !scopes.is_empty())
        .ok_or(("invalid_scope", "there are the scopes notes.read and notes.write"))
}

/// Sends the browser back to the client, with `iss` on every answer (RFC 9207).
fn send_back(sandbox: &Sandbox, asked: &Asked, answer: &[(&str, &str)]) -> Response {
    let Ok(mut url) = Url::parse(&asked.redirect_uri) else {
        return refuse("the redirect URI is not a URL");
    };
    url.query_pairs_mut()
        .extend_pairs(answer)
        .extend_pairs(asked.state.iter().map(|state| ("state", state)))
        .append_pair("iss", sandbox.origin());
    Redirect::to(url.as_str()).into_response()
}

fn refuse(message: &'static str) -> Response {
    html(StatusCode::BAD_REQUEST, &RefusalTemplate { message }, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pkce_with_s256_is_required() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(check_challenge(challenge, "S256").is_ok());
        for (challenge, method) in [("", ""), (challenge, "plain"), (challenge, ""), ("short", "S256")] {
            assert!(check_challenge(challenge, method).is_err());
        }
    }

    #[test]
    fn only_known_scopes_can_be_asked_for() {
        assert_eq!(scopes("notes.write notes.read").map(|s| s.len()), Ok(2));
        assert!(scopes("").is_err() && scopes("notes.read mail.read").is_err());
    }
}
