//! The front channel: what the browser takes to the provider and what it brings back (RFC 6749 section 4.1).

mod authorize;
mod callback;
mod endpoint;

use aws_lc_rs::digest;
use valetkey_core::{Rng, Secret, encode};
use zeroize::Zeroizing;

pub use authorize::{AuthorizationRequest, AuthorizeError, check_extra_params};
pub(crate) use authorize::{Pairs, check_profile_params, check_resource, join_scopes, reserved_in, with_query};
pub use callback::{Callback, CallbackError, IssuerError, ProviderError, read_callback};
pub use endpoint::{EndpointError, check_endpoint};

/// A `state`: 32 random bytes in base64url, 43 characters (RFC 6749 section 10.12, RFC 9700 section 4.7).
pub fn new_state(rng: &dyn Rng) -> Secret<String> {
    Secret::new(encode::base64url(&*Zeroizing::new(rng.bytes::<32>())))
}

/// What proves that whoever redeems a code is whoever asked for it (RFC 7636).
#[derive(Clone, Debug)]
pub struct Pkce {
    /// 96 random bytes in base64url: 128 characters, the longest that section 4.1 allows.
    pub verifier: Secret<String>,
    /// Its S256 challenge.
    pub challenge: String,
}

/// A new verifier and its challenge.
pub fn new_pkce(rng: &dyn Rng) -> Pkce {
    let verifier = Secret::new(encode::base64url(&*Zeroizing::new(rng.bytes::<96>())));
    Pkce {
        challenge: challenge_of(verifier.expose()),
        verifier,
    }
}

/// The S256 challenge of a verifier (RFC 7636 section 4.2). There is no `plain` here.
pub fn challenge_of(verifier: &str) -> String {
    encode::base64url(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use valetkey_core::fake::FakeRng;

    use super::*;

    #[test]
    fn a01_state_has_256_bits_and_does_not_repeat() {
        let rng = FakeRng::seeded(1);
        let states: BTreeSet<String> = (0..10_000).map(|_| new_state(&rng).expose().clone()).collect();
        assert_eq!(states.len(), 10_000);
        for state in &states {
            assert_eq!(
                encode::from_base64url(state).map(|bytes| bytes.len()),
                Some(32),
                "{state}"
            );
            assert_eq!(state.len(), 43);
        }
    }

    #[test]
    fn a27_verifier_is_as_long_as_allowed_and_matches_its_challenge() {
        let pkce = new_pkce(&FakeRng::seeded(2));
        assert_eq!(pkce.verifier.expose().len(), 128);
        assert!(
            pkce.verifier
                .expose()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_eq!(pkce.challenge, challenge_of(pkce.verifier.expose()));
        assert!(!format!("{pkce:?}").contains(pkce.verifier.expose()));
    }

    #[test]
    fn rfc7636_appendix_b_vector() {
        assert_eq!(
            challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
