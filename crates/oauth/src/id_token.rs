//! ID tokens (`OpenID` Connect Core 1.0 sections 2 and 3.1.3.7): who signed in at an identity provider.
//!
//! The signature is checked with `jsonwebtoken`; what the token says is checked here, against the caller's clock. Only
//! asymmetric algorithms count, whatever the token's header asks for, and only keys that the issuer publishes.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;
use valetkey_core::{Response, Timestamp};

use crate::{MAX_BODY, json};

/// The algorithms that count. Not among them: `none`, and those that sign with the client's secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// How far two clocks may be apart, in seconds.
const LEEWAY_S: i64 = 60;

/// The longest subject (section 2).
const MAX_SUBJECT: usize = 255;

/// The longest token.
const MAX_TOKEN: usize = 64 << 10;

/// What an issuer signs with.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<Jwk>);

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedIdToken<'a> {
    /// Who signs in whom.
    pub issuer: &'a str,
    /// For whom.
    pub client_id: &'a str,
    /// What the request had in it.
    pub nonce: &'a str,
    /// It came with a refresh, and may leave the nonce out (section 12.2).
    pub is_renewed: bool,
    /// When it is looked at.
    pub now: Timestamp,
}

/// What a token says, once it is believed.
#[derive(Clone, Debug)]
pub struct IdToken {
    /// The person: unique and never given to anybody else, at this issuer.
    pub subject: String,
    /// Everything that it says.
    pub claims: Map<String, Value>,
}

/// Why a token does not prove anything. Never shows what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// The published keys are not a key set.
    #[error("the provider's keys are not a JWK set of at most 1 MiB")]
    Keys,
    /// It is no signed token.
    #[error("the ID token is not a signed JSON Web Token")]
    Malformed,
    /// Its algorithm is not one that counts.
    #[error("the ID token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// The issuer publishes no such key (any more, or yet).
    #[error("the ID token is signed with a key that the provider does not publish")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature of the ID token is wrong")]
    Signature,
    /// It says something else than it must.
    #[error("the claim {0} of the ID token is missing or wrong")]
    Claim(&'static str),
}

/// Reads the keys that an issuer publishes (RFC 7517 section 5). Keys of kinds that are not known are passed over.
pub fn read_signing_keys(response: &Response) -> Result<SigningKeys, IdTokenError> {
    if response.status != 200 || response.body.len() > MAX_BODY {
        return Err(IdTokenError::Keys);
    }
    let mut document = json::object(&response.body).ok_or(IdTokenError::Keys)?;
    let Some(Value::Array(keys)) = document.remove("keys") else {
        return Err(IdTokenError::Keys);
    };
    let known = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    let signs = |key: &Jwk| {
        let is_known = matches!(
            key.algorithm,
            AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_)
        );
        is_known && !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption))
    };
    Ok(SigningKeys(known.filter(signs).collect()))
}

/// Reads an ID token that came from the token endpoint, and checks all that section 3.1.3.7 asks for. Whether a renewed one
/// is about the same person (section 12.2) is for the caller to say.
pub fn read_id_token(token: &str, keys: &SigningKeys, expected: &ExpectedIdToken<'_>) -> Result<IdToken, IdTokenError> {
    if token.len() > MAX_TOKEN {
        return Err(IdTokenError::Malformed);
    }
    // An algorithm that the library does not know, `none` among them, is malformed to it.
    let header = jsonwebtoken::decode_header(token).map_err(|_| IdTokenError::Malformed)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(IdTokenError::Algorithm);
    }
    if header.crit.is_some() {
        return Err(IdTokenError::Malformed);
    }
    let key = choose(keys, &header)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| IdTokenError::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    // The library would ask the system's clock, and looks at claims only if they are there.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
        .map_err(|_| IdTokenError::Signature)?
        .claims;
    check(claims, expected)
}

/// The key of the header's `kid`; without one, the only key there is.
fn choose<'a>(keys: &'a SigningKeys, header: &Header) -> Result<&'a Jwk, IdTokenError> {
    let key = match &header.kid {
        Some(kid) => keys.0.iter().find(|key| key.common.key_id.as_ref() == Some(kid)),
        None if keys.0.len() == 1 => keys.0.first(),
        None => None,
    };
    let fits = |key: &&Jwk| {
        let own = key.common.key_algorithm;
        own.is_none_or(|own| own == KeyAlgorithm::from(header.alg))
    };
    key.filter(fits).ok_or(IdTokenError::UnknownKey)
}

fn check(claims: Map<String, Value>, expected: &ExpectedIdToken<'_>) -> Result<IdToken, IdTokenError> {
    let text = |name| claims.get(name).and_then(Value::as_str);
    let must = |fits: bool, name| if fits { Ok(()) } else { Err(IdTokenError::Claim(name)) };
    must(text("iss") == Some(expected.issuer), "iss")?;
    let (is_for_us, is_for_others) = match claims.get("aud") {
        Some(Value::String(aud)) => (aud == expected.client_id, false),
        Some(Value::Array(all)) => {
            let ours = |aud: &Value| aud.as_str() == Some(expected.client_id);
            (all.iter().any(ours), !all.iter().all(ours))
        }
        _ => (false, false),
    };
    must(is_for_us, "aud")?;
    match claims.get("azp") {
        None => must(!is_for_others, "azp")?,
        Some(party) => must(party.as_str() == Some(expected.client_id), "azp")?,
    }
    let now = expected.now.0 / 1_000;
    let seconds = |name| claims.get(name).and_then(seconds);
    must(seconds("exp").is_some_and(|exp| exp > now - LEEWAY_S), "exp")?;
    must(seconds("iat").is_some_and(|iat| iat <= now + LEEWAY_S), "iat")?;
    if claims.contains_key("nbf") {
        must(seconds("nbf").is_some_and(|nbf| nbf <= now + LEEWAY_S), "nbf")?;
    }
    if claims.contains_key("nonce") || !expected.is_renewed {
        let nonce = text("nonce").unwrap_or_default();
        must(nonce.as_bytes().ct_eq(expected.nonce.as_bytes()).into(), "nonce")?;
    }
    let subject = text("sub").unwrap_or_default();
    must((1..=MAX_SUBJECT).contains(&subject.len()), "sub")?;
    Ok(IdToken {
        subject: subject.to_owned(),
        claims,
    })
}

/// A number of seconds, which may have a fraction (RFC 7519 section 2).
fn seconds(value: &Value) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest number"
    )]
    value.as_i64().or_else(|| value.as_f64().map(|float| float as i64))
}
