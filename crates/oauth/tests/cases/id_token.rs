//! ID tokens: what is believed, and what is not.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use valetkey_core::Timestamp;
use valetkey_core::encode::base64url;
use valetkey_oauth::id_token::{ExpectedIdToken, IdToken, IdTokenError, SigningKeys, read_id_token, read_signing_keys};

use crate::answer;

const NOW_S: i64 = 1_790_000_000;

/// A provider with one key.
struct Provider(Ed25519KeyPair);

impl Provider {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().expect("a key"))
    }

    fn keys_with(&self, changes: &Value) -> SigningKeys {
        let mut key = json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "x": base64url(self.0.public_key().as_ref()),
        });
        let changes = changes.as_object().expect("an object").clone();
        key.as_object_mut().expect("an object").extend(changes);
        // One of a kind that nobody knows is no reason to do without the others.
        let keys = json!({"keys": [{"kty": "new", "kid": "k0"}, key]});
        read_signing_keys(&answer(200, keys.to_string())).expect("keys")
    }

    fn keys(&self) -> SigningKeys {
        self.keys_with(&json!({}))
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        format!("{text}.{}", base64url(self.0.sign(text.as_bytes()).as_ref()))
    }

    /// A good token, but for these claims; `null` takes one away.
    fn token(&self, changes: &Value) -> String {
        self.sign(&header(), &claims(changes))
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"})
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example.com", "sub": "s-1", "aud": "valetkey", "nonce": "n-1",
        "iat": NOW_S - 5, "exp": NOW_S + 600, "roles": ["a"],
    });
    let all = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    claims
}

fn read(token: &str, keys: &SigningKeys) -> Result<IdToken, IdTokenError> {
    read_as(token, keys, false)
}

fn read_as(token: &str, keys: &SigningKeys, is_renewed: bool) -> Result<IdToken, IdTokenError> {
    let expected = ExpectedIdToken {
        issuer: "https://id.example.com",
        client_id: "valetkey",
        nonce: "n-1",
        is_renewed,
        now: Timestamp(NOW_S * 1_000),
    };
    read_id_token(token, keys, &expected)
}

#[test]
fn a_good_token_says_who_it_is() {
    let provider = Provider::new();
    let id = read(&provider.token(&json!({})), &provider.keys()).expect("a person");
    assert_eq!(id.subject, "s-1");
    assert_eq!(id.claims["roles"], json!(["a"]));
    for good in [
        json!({"aud": ["valetkey"]}),
        json!({"aud": ["valetkey", "other"], "azp": "valetkey"}),
        json!({"azp": "valetkey"}),
        json!({"exp": NOW_S - 59}),
        json!({"iat": NOW_S + 59}),
        json!({"exp": 1.79e9 + 60.5}),
        json!({"nbf": NOW_S}),
    ] {
        assert!(read(&provider.token(&good), &provider.keys()).is_ok(), "{good}");
    }
}

#[test]
fn d37_a_claim_that_is_wrong_or_missing_is_named() {
    let provider = Provider::new();
    for (changes, claim) in [
        (json!({"iss": "https://other.example.com"}), "iss"),
        (json!({"iss": "https://id.example.com/"}), "iss"),
        (json!({"iss": null}), "iss"),
        (json!({"aud": "other"}), "aud"),
        (json!({"aud": []}), "aud"),
        (json!({"aud": null}), "aud"),
        (json!({"aud": ["valetkey", "other"]}), "azp"),
        (json!({"aud": ["valetkey", "other"], "azp": "other"}), "azp"),
        (json!({"azp": "other"}), "azp"),
        (json!({"exp": NOW_S - 60}), "exp"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "never"}), "exp"),
        (json!({"iat": NOW_S + 61}), "iat"),
        (json!({"iat": null}), "iat"),
        (json!({"nbf": NOW_S + 61}), "nbf"),
        (json!({"nonce": "n-2"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": 7}), "sub"),
        (json!({"sub": "x".repeat(256)}), "sub"),
    ] {
        let refused = read(&provider.token(&changes), &provider.keys()).expect_err("refused");
        assert_eq!(refused, IdTokenError::Claim(claim), "{changes}");
    }
}

#[test]
fn a_renewed_token_has_the_same_nonce_or_none() {
    let provider = Provider::new();
    let renewed = |changes: Value| read_as(&provider.token(&changes), &provider.keys(), true).map(|id| id.subject);
    for good in [json!({}), json!({"nonce": null})] {
        assert_eq!(renewed(good), Ok("s-1".to_owned()));
    }
    for bad in [json!({"nonce": "n-2"}), json!({"nonce": ""}), json!({"nonce": 1})] {
        assert_eq!(renewed(bad), Err(IdTokenError::Claim("nonce")));
    }
    assert_eq!(
        renewed(json!({"iss": "https://other.example.com"})),
        Err(IdTokenError::Claim("iss"))
    );
}

#[test]
fn only_signatures_that_only_the_provider_can_make_count() {
    let provider = Provider::new();
    let keys = provider.keys();
    let claims = claims(&json!({}));
    let none = unsigned(&json!({"alg": "none"}), &claims) + ".";
    assert_eq!(read(&none, &keys).map(|_| ()), Err(IdTokenError::Malformed));
    // The public key as the secret of a symmetric algorithm.
    let text = unsigned(&json!({"alg": "HS256", "kid": "k1"}), &claims);
    let secret = hmac::Key::new(hmac::HMAC_SHA256, provider.0.public_key().as_ref());
    let confused = format!("{text}.{}", base64url(hmac::sign(&secret, text.as_bytes()).as_ref()));
    assert_eq!(read(&confused, &keys).map(|_| ()), Err(IdTokenError::Algorithm));
    // An algorithm that counts, and is not the key's.
    let other = provider.sign(&json!({"alg": "RS256", "kid": "k1"}), &claims);
    assert!(read(&other, &keys).is_err());
    let forged = Provider::new().token(&json!({}));
    assert_eq!(read(&forged, &keys).map(|_| ()), Err(IdTokenError::Signature));
    let good = provider.token(&json!({}));
    for bad in ["", "x", "a.b.c", &good[..good.len() - 4], &format!("{good}.x")] {
        assert!(read(bad, &keys).is_err(), "{bad}");
    }
}

#[test]
fn the_key_is_one_that_the_provider_publishes_for_this() {
    let provider = Provider::new();
    let claims = claims(&json!({}));
    let unknown = provider.sign(&json!({"alg": "EdDSA", "kid": "k9"}), &claims);
    let refusal = |token: &str, keys: &SigningKeys| read(token, keys).map(|_| ()).expect_err("refused");
    assert_eq!(refusal(&unknown, &provider.keys()), IdTokenError::UnknownKey);
    let token = provider.token(&json!({}));
    let for_encryption = provider.keys_with(&json!({"use": "enc"}));
    assert_eq!(refusal(&token, &for_encryption), IdTokenError::UnknownKey);
    let for_another = provider.keys_with(&json!({"alg": "ES256"}));
    assert_eq!(refusal(&token, &for_another), IdTokenError::UnknownKey);
    // Without a `kid` it is the only key there is.
    let bare = provider.sign(&json!({"alg": "EdDSA"}), &claims);
    assert!(read(&bare, &provider.keys()).is_ok());
    // What must be understood and is not.
    let critical = json!({"alg": "EdDSA", "kid": "k1", "crit": ["b64"], "b64": false});
    assert_eq!(
        refusal(&provider.sign(&critical, &claims), &provider.keys()),
        IdTokenError::Malformed
    );
}

#[test]
fn what_is_no_key_set_is_refused() {
    for body in ["", "[]", "{}", r#"{"keys": {}}"#] {
        assert!(read_signing_keys(&answer(200, body)).is_err(), "{body}");
    }
    assert!(read_signing_keys(&answer(500, r#"{"keys": []}"#)).is_err());
}
