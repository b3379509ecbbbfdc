//! **A sandbox, not a product.** It plays an OAuth provider with an API for `valetkey demo`, and only the demo starts it:
//! nobody logs in, two made-up people stand for accounts, everything is in memory and gone at the end.
//!
//! What a client sees of it is real, so that there is something to look at: the authorization code grant with PKCE
//! (RFC 6749, RFC 7636), refresh tokens that rotate and whose reuse ends the grant (RFC 9700 section 4.14.2), access tokens
//! that live a minute, revocation (RFC 7009), metadata (RFC 8414), and `iss` on the callback (RFC 9207).

mod authorize;
mod home;
mod ledger;
mod notes;
mod token;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use valetkey_core::encode::base64url;
use valetkey_core::{Clock, Rng, Secret, Timestamp};

use crate::system::SystemRng;
use ledger::Ledger;
use notes::Notes;

/// The client id that it knows.
pub(super) const CLIENT_ID: &str = "valetkey-demo";

/// One of the made-up people.
#[derive(Debug)]
struct Person {
    id: &'static str,
    name: &'static str,
    email: &'static str,
}

/// Who there is.
const PEOPLE: [Person; 2] = [
    Person {
        id: "ada",
        name: "Ada",
        email: "ada@sandbox.example",
    },
    Person {
        id: "grace",
        name: "Grace",
        email: "grace@sandbox.example",
    },
];

/// What can be asked for.
#[derive(Debug)]
struct Scope {
    name: &'static str,
    meaning: &'static str,
}

/// Every scope.
const SCOPES: [Scope; 2] = [
    Scope {
        name: "notes.read",
        meaning: "See your name and read your notes",
    },
    Scope {
        name: "notes.write",
        meaning: "Write notes in your name",
    },
];

/// Every scope, as a client asks for them.
pub(super) fn every_scope() -> String {
    SCOPES.map(|s| s.name).join(" ")
}

/// The sandbox. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sandbox(Arc<Inner>);

struct Inner {
    origin: String,
    client_secret: Secret<String>,
    redirect_uris: Mutex<Vec<String>>,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    notes: Mutex<Notes>,
}

impl Sandbox {
    /// A sandbox at `origin`.
    pub(super) fn new(origin: &str, lifetime: Duration, clock: Arc<dyn Clock>) -> Self {
        let rng: &dyn Rng = &SystemRng;
        Self(Arc::new(Inner {
            origin: origin.to_owned(),
            client_secret: Secret::new(base64url(&rng.bytes::<32>())),
            redirect_uris: Mutex::default(),
            clock,
            ledger: Mutex::new(Ledger::new(Arc::new(SystemRng), lifetime)),
            notes: Mutex::default(),
        }))
    }

    /// Its origin, which is also its issuer identifier.
    pub(super) fn origin(&self) -> &str {
        &self.0.origin
    }

    /// The client secret of this run.
    pub(super) fn client_secret(&self) -> &Secret<String> {
        &self.0.client_secret
    }

    /// What a developer does in a provider's console.
    pub(super) fn register_redirect_uri(&self, uri: &str) {
        locked(&self.0.redirect_uris).push(uri.to_owned());
    }

    /// Its routes.
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/", get(home::show))
            .route("/end", post(home::end_grant))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/authorize", get(authorize::ask))
            .route("/consent", post(authorize::decide))
            .route("/token", post(token::token))
            .route("/revoke", post(token::revoke))
            .route("/api/me", get(notes::me))
            .route("/api/notes", get(notes::list).post(notes::add))
            .with_state(self.clone())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.0.ledger)
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

/// Nothing here panics while it holds a lock, and a sandbox may go on if something does.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// RFC 8414 section 2.
async fn metadata(State(sandbox): State<Sandbox>) -> Json<Value> {
    let origin = sandbox.origin();
    Json(json!({
        "issuer": origin,
        "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/token"),
        "revocation_endpoint": format!("{origin}/revoke"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
        "scopes_supported": SCOPES.map(|s| s.name),
        "authorization_response_iss_parameter_supported": true,
    }))
}
