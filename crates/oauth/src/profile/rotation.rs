//! What becomes of a refresh token that was used, and what follows when a refresh brought no answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What becomes of a refresh token that was used (RFC 6749 section 6, RFC 9700 section 4.14.2).
///
/// In a spec: `none`, `overlap`, `{leeway_s: 600}`, `idempotent`, `single_use` or `single_use_revokes_family`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It does not change (Google, Dropbox).
    None,
    /// It is replaced, and the old one stays valid (Microsoft).
    Overlap,
    /// It is replaced, and the old one works for so many seconds (Atlassian).
    #[serde(rename = "leeway_s")]
    Leeway(u64),
    /// The same call returns the same pair until the new one is used (Box).
    Idempotent,
    /// It works once (Slack, GitHub Apps, Zoom).
    #[default]
    SingleUse,
    /// It works once, and using it twice ends the grant and its access tokens (Salesforce, Dex).
    SingleUseRevokesFamily,
}

/// Whether a refresh token may be sent again after a request that may have reached the provider and brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// As often as it takes.
    Retry,
    /// For so long after it was sent first.
    RetryWithin(Duration),
    /// Once: if the provider never saw the first request, the grant is saved, and otherwise it was lost anyway.
    RetryOnce,
    /// Once, and not while the old access token works: a second use would kill that one too.
    RetryOnceAfterExpiry,
}

impl Rotation {
    /// What to do when no answer came.
    pub fn recovery(self) -> Recovery {
        match self {
            Self::None | Self::Overlap | Self::Idempotent => Recovery::Retry,
            Self::Leeway(seconds) => Recovery::RetryWithin(Duration::from_secs(seconds)),
            Self::SingleUse => Recovery::RetryOnce,
            Self::SingleUseRevokesFamily => Recovery::RetryOnceAfterExpiry,
        }
    }
}
