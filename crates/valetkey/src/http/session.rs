//! Signing in and out with a browser.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::{ErrorCode, Privilege, Secret, Timestamp};
use valetkey_engine::{NewSession, SessionView, Visitor};

use super::body::Json;
use super::error::{ApiError, ErrorBody};
use super::front::Meta;
use super::guard::{refuse_other_sites, session_secret};
use super::pages::{Visit, page, set_cookie};
use super::router::AppState;

/// What a person signs in with: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// An API key.
    #[schema(value_type = Option<String>)]
    key: Option<Secret<String>>,
    /// The part after `#` of a sign-in link, which works once.
    #[schema(value_type = Option<String>)]
    link: Option<Secret<String>>,
}

/// Who is signed in, and how one can sign in here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionAnswer {
    /// Whether anybody is.
    signed_in: bool,
    /// The person; this and what follows is there if somebody is signed in.
    #[serde(flatten)]
    session: Option<SessionBody>,
    /// The ways to sign in.
    methods: Methods,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionBody {
    /// The person's name, or the API key's.
    name: String,
    /// The user that the person is.
    profile_uid: Option<String>,
    /// What the session allows, by the names that API keys have.
    #[schema(value_type = Vec<String>)]
    privileges: Vec<Privilege>,
    /// Where it is valid; `["*"]` for everywhere.
    spaces: Vec<String>,
    /// When it ends if nothing more is done.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// The ways to sign in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Methods {
    /// With an API key.
    api_key: bool,
    /// At an identity provider, if one is set up.
    oidc: Option<OidcMethod>,
}

/// An identity provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OidcMethod {
    /// What its button says.
    name: String,
}

/// Who is signed in. Needs no credentials, and is no use of a session: it ends when it would have ended.
#[utoipa::path(get, path = "/api/session", tag = "session", responses((status = 200, body = SessionAnswer)))]
pub(crate) async fn get_session(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<axum::Json<SessionAnswer>, ApiError> {
    let session = match session_secret(&headers, &state) {
        Some(secret) => state.engine.session(secret.expose()).await?,
        None => None,
    };
    Ok(axum::Json(answer(&state, session)))
}

/// Signs in with an API key or with a link. The session that the browser had before ends.
#[utoipa::path(post, path = "/api/session", tag = "session", request_body = SignIn,
    responses((status = 200, body = SessionAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn sign_in(
    State(state): State<AppState>,
    axum::Extension(meta): axum::Extension<Meta>,
    headers: HeaderMap,
    Json(body): Json<SignIn>,
) -> Result<Response, ApiError> {
    // A page elsewhere cannot send JSON here without asking first; where the browser says who asks, that counts too.
    refuse_other_sites(&Method::POST, &headers, false)?;
    let before = session_secret(&headers, &state);
    let before = before.as_ref().map(|secret| secret.expose().as_str());
    let visitor = visitor(&meta);
    let new = match (&body.key, &body.link) {
        (Some(key), None) => state.engine.sign_in_with_key(key.expose(), before, &visitor).await?,
        (None, Some(link)) => state.engine.sign_in_with_link(link.expose(), before, &visitor).await?,
        _ => {
            return Err(ApiError::new(
                ErrorCode::ValidationFailed,
                "the body must have either key or link",
            ));
        }
    };
    let cookie = session_cookie(&state, &new);
    let mut response = axum::Json(answer(&state, Some(new.view))).into_response();
    set_cookie(&mut response, &cookie);
    Ok(response)
}

/// Signs out. Also 204 when nobody was signed in.
#[utoipa::path(delete, path = "/api/session", tag = "session",
    responses((status = 204), (status = 403, body = ErrorBody)))]
pub(crate) async fn sign_out(
    State(state): State<AppState>,
    axum::Extension(meta): axum::Extension<Meta>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    refuse_other_sites(&Method::DELETE, &headers, true)?;
    if let Some(secret) = session_secret(&headers, &state) {
        state.engine.sign_out(secret.expose(), &visitor(&meta)).await?;
    }
    Ok(signed_out(&state))
}

/// Signs the person out of every browser.
#[utoipa::path(delete, path = "/api/sessions", tag = "session",
    responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn sign_out_everywhere(
    State(state): State<AppState>,
    axum::Extension(meta): axum::Extension<Meta>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let secret = session_secret(&headers, &state)
        .ok_or_else(|| ApiError::new(ErrorCode::Unauthenticated, "nobody is signed in here; sign in first"))?;
    refuse_other_sites(&Method::DELETE, &headers, true)?;
    let visitor = visitor(&meta);
    state.engine.sign_out_everywhere(secret.expose(), &visitor).await?;
    Ok(signed_out(&state))
}

/// Sends the browser to the identity provider.
#[utoipa::path(get, path = "/api/session/oidc/start", tag = "session",
    params(("to" = Option<String>, Query, description = "Where to go afterwards: a path that begins with `/app`")),
    responses((status = 302, description = "To the identity provider"),
        (status = 303, description = "To `/app/sign-in?error=<code>`")))]
pub(crate) async fn oidc_start(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let Visit { state, meta, .. } = &visit;
    let query = query.unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let to = pairs.find(|(name, _)| name == "to");
    let to = to.map_or_else(|| "/app".to_owned(), |(_, to)| to.into_owned());
    match state.engine.oidc_start(&to, &visitor(meta)).await {
        Ok(departure) => {
            let mut response = go(StatusCode::FOUND, departure.url.as_str());
            let cookie = sign_in_cookie(state, departure.cookie.expose(), departure.seconds);
            set_cookie(&mut response, &cookie);
            response
        }
        Err(error) => failed(state, &error, meta),
    }
}

/// Where the identity provider sends the browser back to.
#[utoipa::path(get, path = "/api/session/oidc/callback", tag = "session",
    responses((status = 303, description = "Signed in: to where `to` said; else to `/app/sign-in?error=<code>`")))]
pub(crate) async fn oidc_callback(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let Visit { state, meta, .. } = &visit;
    let cookie = visit.cookies().remove(state.engine.oidc_cookie());
    let before = session_secret(visit.headers(), state);
    let before = before.as_ref().map(|secret| secret.expose().as_str());
    let query = query.unwrap_or_default();
    let arrived = state
        .engine
        .oidc_callback(&query, cookie.as_deref(), before, &visitor(meta))
        .await;
    let mut response = match arrived {
        Ok(arrival) => {
            let mut response = go(StatusCode::SEE_OTHER, &console_url(state, &arrival.to));
            set_cookie(&mut response, &session_cookie(state, &arrival.session));
            response
        }
        Err(error) => failed(state, &error, meta),
    };
    set_cookie(&mut response, &sign_in_cookie(state, "", 0));
    response
}

/// Back to the console, which says what the code means.
fn failed(state: &AppState, error: &valetkey_engine::Error, meta: &Meta) -> Response {
    let cause = error.cause.as_deref().unwrap_or_default();
    let code = error.code.as_str();
    tracing::info!(request.id = &*meta.request_id, code, cause, "a sign-in was refused");
    go(
        StatusCode::SEE_OTHER,
        &console_url(state, &format!("/app/sign-in?error={code}")),
    )
}

/// A page of the console, where browsers reach it.
fn console_url(state: &AppState, path: &str) -> String {
    let base = state.public_base_url.as_deref().unwrap_or_default();
    format!("{}{path}", base.trim_end_matches('/'))
}

fn go(status: StatusCode, url: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(url) else {
        return page(StatusCode::INTERNAL_SERVER_ERROR, String::new());
    };
    let mut response = page(status, String::new());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn answer(state: &AppState, session: Option<SessionView>) -> SessionAnswer {
    SessionAnswer {
        signed_in: session.is_some(),
        session: session.map(|view| SessionBody {
            name: view.name,
            profile_uid: view.profile_uid.map(String::from),
            privileges: view.privileges,
            spaces: view.spaces,
            expires_at: view.expires_at,
        }),
        methods: Methods {
            api_key: true,
            oidc: state
                .engine
                .oidc_name()
                .map(|name| OidcMethod { name: name.to_owned() }),
        },
    }
}

/// Nothing of what the browser saw stays with it.
fn signed_out(state: &AppState) -> Response {
    let clear = [("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""))];
    let mut response = (StatusCode::NO_CONTENT, clear).into_response();
    set_cookie(&mut response, &cookie(state, state.engine.session_cookie(), "", 0));
    response
}

/// The cookie of a session that was opened.
fn session_cookie(state: &AppState, new: &NewSession) -> String {
    cookie(state, state.engine.session_cookie(), new.secret.expose(), new.seconds)
}

/// The cookie of a sign-in that is under way.
fn sign_in_cookie(state: &AppState, value: &str, seconds: u64) -> String {
    cookie(state, state.engine.oidc_cookie(), value, seconds)
}

fn cookie(state: &AppState, name: &str, value: &str, seconds: u64) -> String {
    let secure = if state.engine.is_https() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// Who knocks.
pub(crate) fn visitor(meta: &Meta) -> Visitor {
    Visitor {
        space: meta.space.clone(),
        address: meta.address.clone(),
        request_id: meta.request_id.clone(),
    }
}
