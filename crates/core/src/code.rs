//! The closed list of error codes: part of the API contract, documented once, here.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What went wrong, as a stable word for machines. The HTTP status of each is decided in one table of the binary.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $name,)+ }

        impl ErrorCode {
            /// Every code, in the order of this file.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word used in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it means, for the documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }

            /// Reads the word back; `None` for anything else.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The request has no credentials, or they are unknown.
    Unauthenticated = "unauthenticated",
    /// The API key is past its expiry.
    KeyExpired = "key_expired",
    /// A credential was sent in the URL, where it ends up in logs.
    CredentialInUrl = "credential_in_url",
    /// More than one credential was sent.
    MultipleCredentials = "multiple_credentials",
    /// A page of another site made the request, or could have: with a session, the header `kbn-xsrf` is needed.
    CrossSiteRequest = "cross_site_request",
    /// The sign-in at the identity provider is too old, or was begun in another browser.
    SignInInvalid = "sign_in_invalid",
    /// The identity provider no longer stands by the session: it has ended.
    SessionRevoked = "session_revoked",
    /// The identity provider cannot be asked whether the session may go on.
    SessionUnconfirmed = "session_unconfirmed",
    /// The identity provider gives this person no role here.
    SignInNotAllowed = "sign_in_not_allowed",
    /// What the identity provider sent does not prove who signed in.
    IdTokenInvalid = "id_token_invalid",
    /// Too many wrong keys came from this address.
    TooManyFailures = "too_many_failures",
    /// The key lacks the privilege that the route needs.
    PrivilegeMissing = "privilege_missing",
    /// The key is not valid in this space.
    SpaceNotAllowed = "space_not_allowed",
    /// The key may not run this action.
    ActionNotAllowed = "action_not_allowed",
    /// The key may not act for this user.
    UserNotAllowed = "user_not_allowed",
    /// The call needs a user, and none was named.
    UserRequired = "user_required",
    /// The path does not exist.
    RouteNotFound = "route_not_found",
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed",
    /// The request is malformed.
    InvalidRequest = "invalid_request",
    /// A field is missing, has the wrong type, or breaks its schema.
    ValidationFailed = "validation_failed",
    /// The body has a field that does not exist here.
    UnknownField = "unknown_field",
    /// The body is larger than allowed.
    BodyTooLarge = "body_too_large",
    /// The body did not come in time.
    BodyTooSlow = "body_too_slow",
    /// The body is not `application/json`, or is compressed.
    UnsupportedMediaType = "unsupported_media_type",
    /// The space id breaks its rules.
    InvalidSpace = "invalid_space",
    /// There is no such connector here, or the caller may not see it.
    ConnectorNotFound = "connector_not_found",
    /// There is no such connector type.
    ConnectorTypeNotFound = "connector_type_not_found",
    /// A connector with this id exists already.
    ConnectorExists = "connector_exists",
    /// The connector was changed by somebody else in between.
    ConnectorConflict = "connector_conflict",
    /// The secrets of the connector are missing; they must be entered again.
    ConnectorSecretsMissing = "connector_secrets_missing",
    /// There is no such API key.
    KeyNotFound = "key_not_found",
    /// The master key is being exchanged, and that has to be finished first.
    RotationUnderWay = "rotation_under_way",
    /// `public_base_url` is not set, so that no provider could send anybody back.
    PublicBaseUrlMissing = "public_base_url_missing",
    /// The host is not in `allowed_hosts`.
    HostNotAllowed = "host_not_allowed",
    /// The return URL's origin is neither ours nor in `allowed_return_origins`.
    ReturnUrlNotAllowed = "return_url_not_allowed",
    /// The connector's auth type is not OAuth.
    AuthTypeNotOauth = "auth_type_not_oauth",
    /// A setting of the OAuth client is missing.
    OauthConfigIncomplete = "oauth_config_incomplete",
    /// The provider's published metadata cannot be used.
    DiscoveryFailed = "discovery_failed",
    /// A scope was asked for that the connector does not have.
    ScopeNotAllowed = "scope_not_allowed",
    /// An extra parameter would override one of the protocol's own.
    ReservedParameter = "reserved_parameter",
    /// The limit of attempts per time is reached.
    RateLimited = "rate_limited",
    /// Too many flows of this user are waiting.
    TooManyFlows = "too_many_flows",
    /// Too many calls of this connection, of this space or to this service run at the same time.
    TooManyCalls = "too_many_calls",
    /// The flow is unknown, or the callback is malformed.
    FlowInvalid = "flow_invalid",
    /// The flow is older than its time to live.
    FlowExpired = "flow_expired",
    /// The flow was finished before; a state works once.
    FlowAlreadyUsed = "flow_already_used",
    /// Another browser finished what this one started.
    FlowBrowserMismatch = "flow_browser_mismatch",
    /// The flow belongs to somebody else.
    FlowUserMismatch = "flow_user_mismatch",
    /// The connect link was opened in another browser before.
    TicketUsed = "ticket_used",
    /// There is no flow behind the connect link.
    TicketUnknown = "ticket_unknown",
    /// The person ended the flow on the connect page.
    FlowCancelled = "flow_cancelled",
    /// The callback came to the redirect URI of something else.
    ContextMismatch = "context_mismatch",
    /// A callback parameter came twice.
    DuplicateParameter = "duplicate_parameter",
    /// The provider announces `iss` and did not send it.
    IssuerMissing = "issuer_missing",
    /// The answer comes from another authorization server.
    IssuerMismatch = "issuer_mismatch",
    /// The connector was changed or deleted while the flow was under way.
    ProviderChanged = "provider_changed",
    /// Another account is connected than the one that was signed in at the provider; it was kept.
    AccountChanged = "account_changed",
    /// The right to connect was withdrawn while the flow was under way.
    ConnectNotAllowed = "connect_not_allowed",
    /// The person said no at the provider.
    DeniedByUser = "denied_by_user",
    /// The provider refused the authorization request.
    ProviderRefused = "provider_refused",
    /// The provider is down or overloaded.
    ProviderUnavailable = "provider_unavailable",
    /// The provider did not accept the authorization code.
    CodeRejected = "code_rejected",
    /// The provider did not accept the client id or the client secret.
    ClientRejected = "client_rejected",
    /// The provider says that the request is configured wrongly.
    ProviderConfigError = "provider_config_error",
    /// The provider's answer cannot be understood.
    ProviderBadResponse = "provider_bad_response",
    /// The provider's answer is larger than allowed.
    ProviderResponseTooLarge = "provider_response_too_large",
    /// The provider answered a token request with a redirect, which is never followed.
    ProviderRedirected = "provider_redirected",
    /// The provider sent a token that cannot be used: a bad character, length or type.
    TokenUnusable = "token_unusable",
    /// A person must connect, or connect again.
    AuthorizationRequired = "authorization_required",
    /// The token was rejected again right after it was renewed.
    RefreshCooldown = "refresh_cooldown",
    /// The connection is being renewed, and that takes longer than this caller can wait.
    RefreshBusy = "refresh_busy",
    /// The outbound address is loopback, private, link-local or otherwise special.
    AddressDenied = "address_denied",
    /// The outbound host is not one that the connector may talk to.
    OriginNotAllowed = "origin_not_allowed",
    /// The path would leave its place.
    PathInvalid = "path_invalid",
    /// A header may not be set, or has characters that do not belong there.
    HeaderInvalid = "header_invalid",
    /// The answer is larger than `max_response_content_length`.
    ResponseTooLarge = "response_too_large",
    /// A stored value does not open: it was changed, or the key is another one.
    IntegrityError = "integrity_error",
    /// The store cannot be reached or written.
    StoreUnavailable = "store_unavailable",
    /// Something unforeseen; the log has the cause under the request id.
    Internal = "internal",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_read_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_word(code.as_str()), Some(*code));
            assert!(!code.meaning().is_empty());
        }
    }
}
