//! An OAuth 2.0 client without I/O and without a clock: it makes HTTP requests as values and reads answers as values.
//!
//! Whoever uses it owns the sockets, the time and the storage. One connection, from consent to disconnect:
//!
//! 1. Describe the provider once, as a [`Profile`]; `Profile::default()` is a provider that follows the RFCs.
//!    [`Profile::check`] refuses a description that cannot work. With an issuer alone, ask [`discovery::metadata_urls`]
//!    where the endpoints are published and read the answer with [`discovery::read_metadata`].
//! 2. Make [`new_state`] and [`new_pkce`], remember both (the state as a hash), and send the browser to
//!    [`AuthorizationRequest::url`]; through [`par`] where the provider demands pushed requests.
//! 3. Read what the browser brings back with [`read_callback`]; use up the state whatever else is wrong, then
//!    [`Callback::check_issuer`].
//! 4. Send [`TokenRequest::request`] with [`Grant::AuthorizationCode`], and read the answer with
//!    [`read_token_response`].
//! 5. Use the token: [`apply::authorization_header`]. Where an API wants a stronger sign-in, [`read_step_up`] says which.
//! 6. Renew it with [`Grant::RefreshToken`] and [`read_refresh_response`]. Keep the old refresh token when the answer
//!    has none. After an error, [`TokenError::class`] says what it means for the grant; when no answer came at all,
//!    [`profile::Rotation::recovery`] says whether the same refresh token may be sent again.
//! 7. End it with [`revocation_request`] and [`read_revocation`].
//!
//! ```
//! use std::collections::BTreeMap;
//! use valetkey_oauth::{AuthorizationRequest, Profile, check_endpoint};
//!
//! let endpoint = check_endpoint("https://as.example/authorize")?;
//! let url = AuthorizationRequest {
//!     profile: &Profile::default(),
//!     endpoint: &endpoint,
//!     client_id: "s6BhdRkqt3",
//!     redirect_uri: "https://client.example/cb",
//!     state: "af0ifjsldkj",
//!     challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
//!     scopes: &["read".to_owned()],
//!     resource: None,
//!     extra_params: &BTreeMap::new(),
//! }
//! .url()?;
//! assert!(url.as_str().starts_with("https://as.example/authorize?response_type=code&client_id=s6BhdRkqt3&"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Three rules hold everywhere. Parsers refuse; they do not guess. Only a code that says so ends a grant: everything
//! else that goes wrong leaves it alone. No `Debug` and no `Display` shows a secret, and no request has one in its URL.

pub mod apply;
pub mod discovery;
pub mod flow;
mod form;
pub mod id_token;
pub mod json;
mod message;
pub mod par;
pub mod profile;
pub mod response;
pub mod revoke;
pub mod step_up;
mod text;
pub mod token;
pub mod userinfo;

pub use discovery::{DiscoveryError, Metadata, metadata_request, metadata_urls, read_metadata};
pub use flow::{
    AuthorizationRequest, AuthorizeError, Callback, CallbackError, EndpointError, IssuerError, Pkce, ProviderError,
    challenge_of, check_endpoint, check_extra_params, new_pkce, new_state, read_callback,
};
pub use par::{par_request, pushed_url, read_par_response};
pub use profile::{ErrorClass, Profile, ProfileError, Recovery, Rotation};
pub use response::{TokenError, Tokens, read_refresh_response, read_token_response};
pub use revoke::{Revocation, read_revocation, revocation_request};
pub use step_up::{StepUp, read_step_up};
pub use token::{Client, Grant, TokenRequest, TokenRequestError};
pub use userinfo::{UserInfo, UserInfoError, read_userinfo, userinfo_request};

/// The largest answer that is read: 1 MiB. The wire should stop there too.
pub const MAX_BODY: usize = 1 << 20;
