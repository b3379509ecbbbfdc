//! A master key that this process holds itself.

use std::fmt;

use valetkey_core::Rng;
use valetkey_core::encode::{from_base64url, hex};
use zeroize::Zeroizing;

use crate::derive::{FIXED_SALT, NAME, WRAP, derive};
use crate::envelope::{Envelope, Shut};
use crate::format::{COMMITMENT, FORMAT, SALT, TAG};
use crate::{KeySource, SealError};

const LENGTH: usize = 32;
const WRAPPED: usize = 1 + SALT + COMMITMENT + LENGTH + TAG;
const WRONG_LENGTH: SealError = SealError::WeakKey("must be 32 bytes, written in base64 or as 64 hexadecimal digits");

/// A master key in memory. It only ever feeds the derivation of wrapping keys, and of its public name.
pub struct MasterKey {
    envelope: Envelope,
    id: String,
}

impl MasterKey {
    /// Takes 32 bytes from a random generator. Bytes that surely are not from one are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; LENGTH]);
        if bytes.len() != LENGTH {
            return Err(WRONG_LENGTH);
        }
        key.copy_from_slice(bytes);
        check(&key)?;
        // 64 bits: enough that two master keys of one installation differ, and with a key of 256 bits nothing to guess from.
        let id = hex(&*derive::<8>(&key, FIXED_SALT, &[NAME]));
        Ok(Self {
            envelope: Envelope::new(key, WRAP),
            id,
        })
    }

    /// Reads base64 (standard or URL-safe, padded or not) or 64 hexadecimal digits; white space around it is ignored.
    ///
    /// There are no passphrases: what does not stand for exactly 32 bytes is refused.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let text = text.trim();
        let bytes = if text.len() == 2 * LENGTH {
            from_hex(text)
        } else {
            from_any_base64(text)
        };
        Self::from_bytes(&bytes.ok_or(WRONG_LENGTH)?)
    }
}

/// Rules that 32 random bytes break less often than once in 10^13.
fn check(key: &[u8; LENGTH]) -> Result<(), SealError> {
    let step = key[1].wrapping_sub(key[0]);
    if key.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
        return Err(SealError::WeakKey(
            "must be random, not one byte repeated or counted up",
        ));
    }
    let mut seen = Zeroizing::new([false; 256]);
    for b in key {
        seen[usize::from(*b)] = true;
    }
    if seen.iter().filter(|s| **s).count() < 12 {
        return Err(SealError::WeakKey("must be random, not a pattern"));
    }
    if key.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        return Err(SealError::WeakKey("must be 32 random bytes, not text"));
    }
    Ok(())
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    // Written into a buffer of full size: one that grows would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        out.push(digit(high)? << 4 | digit(low)?);
    }
    Some(out)
}

fn from_any_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bare = text.strip_suffix('=').unwrap_or(text);
    if bare.len() != 43 {
        return None;
    }
    let mut url_safe = Zeroizing::new(String::with_capacity(bare.len()));
    url_safe.extend(bare.chars().map(|c| match c {
        '+' => '-',
        '/' => '_',
        other => other,
    }));
    from_base64url(&url_safe).map(Zeroizing::new)
}

impl KeySource for MasterKey {
    fn id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, key: &[u8; 32], context: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, SealError> {
        self.envelope.seal(&[FORMAT], context, &[key], rng)
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        if wrapped.len() != WRAPPED || wrapped[0] != FORMAT {
            return Err(SealError::Integrity);
        }
        let body = self.envelope.open(1, context, wrapped).map_err(|shut| match shut {
            Shut::Key => SealError::WrongMasterKey,
            Shut::Content => SealError::Integrity,
        })?;
        let mut key = Zeroizing::new([0; LENGTH]);
        key.copy_from_slice(&body);
        Ok(key)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, [redacted])", self.id)
    }
}
