//! The test kit: the real binary, browsers without a screen, a scripted provider and a real one.

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod canary;
pub(crate) mod database;
pub(crate) mod fake;
pub(crate) mod grants;
pub(crate) mod html;
pub(crate) mod link;
pub(crate) mod oidc;
#[path = "../../../../store/tests/support/place.rs"]
pub(crate) mod place;
pub(crate) mod raw;
pub(crate) mod signed_in;
pub(crate) mod site;
pub(crate) mod stage;
pub(crate) mod valetkey;
pub(crate) mod wait;

use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest;
use serde_json::Value;
use valetkey_core::encode::{base64, base64url};

/// A text that nobody can guess and that a search finds.
pub(crate) fn secret(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut bytes = [0; 18];
    aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
    format!("{what}-{}-{}", COUNT.fetch_add(1, Ordering::Relaxed), base64url(&bytes))
}

/// Tells people something about a test.
pub(crate) fn notice(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").expect("a notice");
}

/// The value of an `Authorization` header (RFC 6749 section 2.3.1).
pub(crate) fn basic(user: &str, password: &str) -> String {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!(
        "Basic {}",
        base64(format!("{}:{}", encode(user), encode(password)).as_bytes())
    )
}

/// A PKCE challenge (RFC 7636 section 4.2).
pub(crate) fn s256(verifier: &str) -> String {
    base64url(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref())
}

/// Puts the members of `changes` into `value`; `null` takes one away.
pub(crate) fn patch(value: &mut Value, changes: &Value) {
    let (Some(value), Some(changes)) = (value.as_object_mut(), changes.as_object()) else {
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            value.remove(name);
        } else {
            value.insert(name.clone(), change.clone());
        }
    }
}
