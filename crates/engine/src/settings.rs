//! What an operator may set about the engine. The binary reads the settings; the engine only obeys.

use std::time::Duration;

use url::Url;
use valetkey_core::Secret;

/// How often something may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// This many times …
    pub limit: u32,
    /// … in any span of this length.
    pub window: Duration,
}

/// How many calls to services run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// With the credential of one connection.
    pub per_connection: u32,
    /// Of one space.
    pub per_space: u32,
    /// To one host, whoever calls.
    pub per_host: u32,
    /// How long a call waits for its turn.
    pub patience: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            per_connection: 64,
            per_space: 256,
            per_host: 512,
            patience: Duration::from_secs(5),
        }
    }
}

/// An identity provider at which people sign in.
#[derive(Clone, Debug)]
pub struct OidcSettings {
    /// Its issuer identifier, as its tokens have it.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// Our secret; `None` for a public client.
    pub client_secret: Option<Secret<String>>,
    /// What the button says.
    pub name: String,
    /// What is asked for, separated by spaces.
    pub scope: String,
    /// The claim of the ID token that has the roles.
    pub roles_claim: String,
    /// Roles of administrators.
    pub admin_roles: Vec<String>,
    /// Roles of people who only use connectors; `*` for everybody who can sign in there.
    pub user_roles: Vec<String>,
    /// Where those people may do so.
    pub user_spaces: Vec<String>,
    /// After how long it is asked again what a person who is signed in may do.
    pub recheck: Duration,
}

/// The engine's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where browsers reach this installation; no flow can start without it.
    pub public_base_url: Option<Url>,
    /// Origins that a return URL may have besides our own.
    pub allowed_return_origins: Vec<String>,
    /// Return URLs of native apps, each allowed exactly as it is.
    pub allowed_return_urls: Vec<String>,
    /// How long a flow may take.
    pub flow_ttl: Duration,
    /// Flows of one owner that may wait at the same time.
    pub max_pending_flows: u32,
    /// Starts per user.
    pub authorize_limit: RateLimit,
    /// Callbacks per user.
    pub callback_limit: RateLimit,
    /// Attempts to sign in from one address.
    pub sign_in_limit: RateLimit,
    /// Where people sign in besides; `None` for nowhere.
    pub oidc: Option<OidcSettings>,
    /// After how long without use a session ends.
    pub session_idle: Duration,
    /// After how long a session ends in any case.
    pub session_lifetime: Duration,
    /// How long before its expiry a token counts as stale; never more than a fifth of the token's lifetime.
    pub refresh_margin: Duration,
    /// How long a token endpoint may take to answer.
    pub token_timeout: Duration,
    /// How long a lease lasts; longer than `token_timeout` plus the time to commit.
    pub refresh_lease: Duration,
    /// How many connections background work attends to at once; none if it is 0.
    pub background_refreshes: usize,
    /// How many of them may be at the same token host.
    pub background_refreshes_per_host: usize,
    /// After how long without use a connection is disconnected; `None` for never.
    pub unused_after: Option<Duration>,
    /// How long a caller waits for a refresh; the refresh goes on without the caller.
    pub refresh_patience: Duration,
    /// Token requests to one host that may be under way at the same time.
    pub token_concurrency: usize,
    /// How long an API may take to answer an action.
    pub response_timeout: Duration,
    /// How many bytes an API may answer to an action.
    pub max_response_content_length: usize,
    /// How old a data key may be that seals; an older one is replaced.
    pub max_key_age: Duration,
    /// How many calls run at the same time.
    pub calls: CallLimits,
    /// How many connections are remembered (sealed) in memory.
    pub cached_connections: usize,
    /// How old a remembered record may be before the store is asked again; `None` when this process is the only writer.
    pub cache_max_age: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        let hourly = RateLimit {
            limit: 100,
            window: Duration::from_secs(3600),
        };
        Self {
            public_base_url: None,
            allowed_return_origins: Vec::new(),
            allowed_return_urls: Vec::new(),
            flow_ttl: Duration::from_secs(600),
            max_pending_flows: 20,
            authorize_limit: hourly,
            callback_limit: hourly,
            sign_in_limit: RateLimit {
                limit: 100,
                window: Duration::from_secs(600),
            },
            oidc: None,
            session_idle: Duration::from_secs(30 * 60),
            session_lifetime: Duration::from_secs(12 * 3600),
            refresh_margin: Duration::from_secs(300),
            token_timeout: Duration::from_secs(30),
            refresh_lease: Duration::from_secs(40),
            background_refreshes: 256,
            background_refreshes_per_host: 128,
            unused_after: Some(Duration::from_secs(90 * 86_400)),
            refresh_patience: Duration::from_secs(35),
            token_concurrency: 64,
            response_timeout: Duration::from_secs(60),
            max_response_content_length: 1024 * 1024,
            max_key_age: Duration::from_secs(365 * 24 * 60 * 60),
            calls: CallLimits::default(),
            cached_connections: 10_000,
            cache_max_age: None,
        }
    }
}
