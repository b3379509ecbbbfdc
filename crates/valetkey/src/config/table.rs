//! Every setting, once: this table is where names, kinds, defaults and help come from.

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A list; comma separated in the environment and in flags.
    List,
    /// A whole number.
    Number,
    /// A span: `30s`, `10m`, `1h`, `500ms`, or seconds as a number.
    Span,
    /// Bytes: a number, or `64KiB`, `1MiB`.
    Size,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Its path in the file: `oauth.flow_ttl`.
    pub(crate) path: &'static str,
    /// What its value looks like.
    pub(crate) kind: Kind,
    /// What it is if nobody sets it, as it would stand in the file; empty for unset.
    pub(crate) default: &'static str,
    /// For people.
    pub(crate) help: &'static str,
}

const fn setting(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting {
        path,
        kind,
        default,
        help,
    }
}

/// The settings, in the order of the example file: plain ones first, sections after.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        Kind::Text,
        "\"127.0.0.1:7420\"",
        "Address and port to listen on.",
    ),
    setting(
        "data_dir",
        Kind::Text,
        "\"valetkey-data\"",
        "Where the embedded store and the master key live.",
    ),
    setting(
        "database_url",
        Kind::Secret,
        "",
        "A PostgreSQL database to keep everything in instead: `postgres://user:password@host/name`.",
    ),
    setting(
        "public_base_url",
        Kind::Text,
        "",
        "Where browsers reach this server. No flow can start without it.",
    ),
    setting(
        "master_key",
        Kind::Secret,
        "",
        "The master key itself: 32 bytes in base64 or hexadecimal.",
    ),
    setting(
        "master_key_file",
        Kind::Text,
        "",
        "A file with the master key; `master.key` in the data directory if unset.",
    ),
    setting(
        "new_master_key",
        Kind::Secret,
        "",
        "The master key that master_key is to be exchanged for; see docs/operating.md.",
    ),
    setting(
        "new_master_key_file",
        Kind::Text,
        "",
        "A file with that key, made if it does not exist; the master key's file with `.new` if unset.",
    ),
    setting(
        "bootstrap_api_key",
        Kind::Secret,
        "",
        "An admin API key to create at the first start; starts with vk_.",
    ),
    setting("bootstrap_api_key_file", Kind::Text, "", "A file with that key."),
    setting(
        "allowed_hosts",
        Kind::List,
        "[\"*\"]",
        "Hosts that outbound requests may go to: `*`, a host, or `*.example.com`.",
    ),
    setting(
        "allow_networks",
        Kind::List,
        "[]",
        "Networks (CIDR) that outbound requests may reach although they are not public.",
    ),
    setting(
        "allow_insecure_http",
        Kind::List,
        "[]",
        "Hosts that outbound requests may reach over plain http.",
    ),
    setting(
        "allowed_return_origins",
        Kind::List,
        "[]",
        "Origins that return URLs may have besides our own.",
    ),
    setting(
        "allowed_return_urls",
        Kind::List,
        "[]",
        "Return URLs of native apps, each taken as it stands here: `com.example.app:/connected`.",
    ),
    setting(
        "upstreams",
        Kind::List,
        "[]",
        "Pairs `https://slack.com=http://127.0.0.1:9000`: requests for the first go to the second.",
    ),
    setting(
        "extra_ca_file",
        Kind::Text,
        "",
        "A PEM file with certificate authorities to trust besides the system's.",
    ),
    setting(
        "trusted_proxies",
        Kind::List,
        "[]",
        "Networks (CIDR) of reverse proxies whose X-Forwarded-For is believed.",
    ),
    setting(
        "response_timeout",
        Kind::Span,
        "\"60s\"",
        "How long an API may take to answer an action.",
    ),
    setting(
        "max_response_content_length",
        Kind::Size,
        "\"1MiB\"",
        "How much an API may answer to an action.",
    ),
    setting(
        "connectors_dir",
        Kind::Text,
        "",
        "A directory with more connector specs.",
    ),
    setting(
        "locales_dir",
        Kind::Text,
        "",
        "A directory with the texts of hosted pages in more languages: `de.ftl`; see docs/branding.md.",
    ),
    setting(
        "log",
        Kind::Text,
        "\"info\"",
        "What is logged: a level, or a filter such as `info,valetkey_engine=debug`.",
    ),
    setting(
        "branding.name",
        Kind::Text,
        "\"valetkey\"",
        "Who asks for access, as hosted pages call it: the name of your product.",
    ),
    setting(
        "branding.logo_file",
        Kind::Text,
        "",
        "An SVG or PNG file of at most 256 KiB that hosted pages show.",
    ),
    setting(
        "branding.accent",
        Kind::Text,
        "",
        "The colour of buttons, as `#rrggbb`.",
    ),
    setting(
        "branding.accent_dark",
        Kind::Text,
        "",
        "The same where dark pages are wanted; branding.accent if unset.",
    ),
    setting(
        "calls.per_connection",
        Kind::Number,
        "64",
        "Calls to services that run at the same time with one connection.",
    ),
    setting(
        "calls.per_space",
        Kind::Number,
        "256",
        "Calls of one space that run at the same time.",
    ),
    setting(
        "calls.per_host",
        Kind::Number,
        "512",
        "Calls to one host that run at the same time; more than one space may have.",
    ),
    setting(
        "calls.patience",
        Kind::Span,
        "\"5s\"",
        "How long a call waits for its turn before it is refused with 429.",
    ),
    setting(
        "oauth.flow_ttl",
        Kind::Span,
        "\"10m\"",
        "How long a person may take to connect an account.",
    ),
    setting(
        "oauth.refresh_margin",
        Kind::Span,
        "\"300s\"",
        "How long before its expiry a token is renewed; at most a fifth of its lifetime.",
    ),
    setting(
        "oauth.token_timeout",
        Kind::Span,
        "\"30s\"",
        "How long a token endpoint may take to answer.",
    ),
    setting(
        "oauth.background_refreshes",
        Kind::Number,
        "256",
        "Connections that are renewed ahead of time at once, by each process; 0 for none: then tokens are renewed when they are needed.",
    ),
    setting(
        "oauth.background_refreshes_per_host",
        Kind::Number,
        "128",
        "How many of them at the same token host.",
    ),
    setting(
        "oauth.token_concurrency",
        Kind::Number,
        "64",
        "Token requests to one host that may be under way at the same time.",
    ),
    setting(
        "oauth.max_pending_flows",
        Kind::Number,
        "20",
        "Flows of one owner that may wait at the same time.",
    ),
    setting(
        "oauth.rate_limits.authorize.limit",
        Kind::Number,
        "100",
        "Flows that one user may start in the window: 1 to 1000.",
    ),
    setting(
        "oauth.rate_limits.authorize.lookback_window",
        Kind::Span,
        "\"1h\"",
        "The window of that limit.",
    ),
    setting(
        "oauth.rate_limits.callback.limit",
        Kind::Number,
        "100",
        "Callbacks of one user in the window: 1 to 1000.",
    ),
    setting(
        "oauth.rate_limits.callback.lookback_window",
        Kind::Span,
        "\"1h\"",
        "The window of that limit.",
    ),
    setting(
        "session.idle",
        Kind::Span,
        "\"30m\"",
        "After how long without use a session of a browser ends: 2m to 1d.",
    ),
    setting(
        "session.lifetime",
        Kind::Span,
        "\"12h\"",
        "After how long a session ends in any case: 2m to 30d.",
    ),
    setting(
        "session.rate_limits.sign_in.limit",
        Kind::Number,
        "100",
        "Attempts to sign in from one address in the window: 1 to 1000.",
    ),
    setting(
        "session.rate_limits.sign_in.lookback_window",
        Kind::Span,
        "\"10m\"",
        "The window of that limit.",
    ),
    setting(
        "oidc.issuer",
        Kind::Text,
        "",
        "The issuer of an OpenID Connect provider at which people sign in to the console; see docs/sign-in.md.",
    ),
    setting("oidc.client_id", Kind::Text, "", "Who valetkey is to it."),
    setting(
        "oidc.client_secret",
        Kind::Secret,
        "",
        "The secret of that client; none for a public one.",
    ),
    setting(
        "oidc.name",
        Kind::Text,
        "\"Single sign-on\"",
        "What the button says with which people sign in there.",
    ),
    setting(
        "oidc.scope",
        Kind::Text,
        "\"openid profile email\"",
        "What is asked for, separated by spaces; openid must be in it.",
    ),
    setting(
        "oidc.roles_claim",
        Kind::Text,
        "\"roles\"",
        "The claim of the ID token with a person's roles; members within members are joined by dots.",
    ),
    setting(
        "oidc.admin_roles",
        Kind::List,
        "[]",
        "Roles whose holders may do everything.",
    ),
    setting(
        "oidc.user_roles",
        Kind::List,
        "[]",
        "Roles whose holders may see and run connectors and connect their accounts; `*` for everybody.",
    ),
    setting(
        "oidc.user_spaces",
        Kind::List,
        "[\"default\"]",
        "The spaces in which they may do so; `*` for all.",
    ),
    setting(
        "oidc.recheck",
        Kind::Span,
        "\"5m\"",
        "After how long the provider is asked again what a person who is signed in may do: 5s to 1h.",
    ),
    setting(
        "sealing.max_key_age",
        Kind::Span,
        "\"365d\"",
        "How old the data key may be that seals, before it is replaced: 1h to 732d.",
    ),
    setting(
        "sealing.reseal_rate",
        Kind::Number,
        "200",
        "Rows a second that are sealed again in the background after a new data key: 1 to 100000.",
    ),
    setting(
        "connections.unused_after",
        Kind::Span,
        "\"90d\"",
        "After how long without use a connection is disconnected, which is announced 14 days before; 0 for never.",
    ),
];

/// Settings for tests of this program. A released one does not know them, and nobody is told of them.
const HIDDEN: &[Setting] = &[
    #[cfg(debug_assertions)]
    setting("crash_at", Kind::Text, "", "At which crash points something happens."),
    #[cfg(debug_assertions)]
    setting(
        "refresh_lease",
        Kind::Span,
        "",
        "How long a lease lasts that nobody renews.",
    ),
];

/// The setting of a path.
pub(crate) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().chain(HIDDEN).find(|s| s.path == path)
}

/// The setting of an environment variable.
pub(crate) fn find_variable(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().chain(HIDDEN).find(|s| s.variable() == name)
}

impl Setting {
    /// How the environment spells it: `VALETKEY_OAUTH__FLOW_TTL`.
    pub(crate) fn variable(&self) -> String {
        format!("VALETKEY_{}", self.path.replace('.', "__").to_ascii_uppercase())
    }
}

/// An example file with every setting at its default.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Settings of valetkey. Every line shows the default. The environment (VALETKEY_…) and flags win.\n",
    );
    let mut section = "";
    for s in SETTINGS {
        let (place, name) = s.path.rsplit_once('.').unwrap_or(("", s.path));
        if place != section {
            section = place;
            text.push_str("\n[");
            text.push_str(section);
            text.push_str("]\n");
        }
        let value = if s.default.is_empty() { "\"\"" } else { s.default };
        for part in ["\n# ", s.help, " (", &s.variable(), ")\n# ", name, " = ", value, "\n"] {
            text.push_str(part);
        }
    }
    text
}
