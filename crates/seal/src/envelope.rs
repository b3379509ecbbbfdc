//! One key that seals: salt, commitment, AES-256-GCM. Records and wrapped keys are both made of it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use valetkey_core::Rng;
use zeroize::Zeroizing;

use crate::SealError;
use crate::derive::{FIXED_SALT, SALT, derive};
use crate::format::{COMMITMENT, SALT as SALT_LEN, TAG};

/// A master key or a data key, with what is derived from it once.
pub(crate) struct Envelope {
    key: Zeroizing<[u8; 32]>,
    salts: hmac::Key,
    label: &'static [u8],
}

/// Why an envelope stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// It was sealed under another key, or is not an envelope.
    Key,
    /// It was sealed under this key, then changed or moved.
    Content,
}

impl Envelope {
    pub(crate) fn new(key: Zeroizing<[u8; 32]>, label: &'static [u8]) -> Self {
        let salts = hmac::Key::new(hmac::HMAC_SHA256, &*derive::<32>(&key, FIXED_SALT, &[SALT]));
        Self { key, salts, label }
    }

    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// `prefix`, salt, commitment, the encrypted parts of `body` joined, tag. Everything in front of the ciphertext,
    /// and
    /// `context`, is authenticated.
    pub(crate) fn seal(
        &self,
        prefix: &[u8],
        context: &[u8],
        body: &[&[u8]],
        rng: &dyn Rng,
    ) -> Result<Vec<u8>, SealError> {
        let salt = self.salt(context, body, rng);
        let keys = Keys::derive(self, salt.as_ref());
        let length: usize = body.iter().map(|part| part.len()).sum();
        let head = prefix.len() + SALT_LEN + COMMITMENT;
        // Holds the plaintext until it is encrypted in place; wiped if that fails.
        let mut out = Zeroizing::new(Vec::with_capacity(head + length + TAG));
        out.extend_from_slice(prefix);
        out.extend_from_slice(salt.as_ref());
        out.extend_from_slice(keys.commitment());
        let authenticated = [&out, context].concat();
        for part in body {
            out.extend_from_slice(part);
        }
        let tag = keys
            .cipher()
            .and_then(|c| c.seal_in_place_separate_tag(keys.nonce(), Aad::from(authenticated), &mut out[head..]))
            .map_err(|_| SealError::Library)?;
        out.extend_from_slice(tag.as_ref());
        Ok(std::mem::take(&mut *out))
    }

    /// The body of what [`Self::seal`] made, if prefix and context are the same.
    pub(crate) fn open(&self, prefix: usize, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Shut> {
        let (head, rest) = sealed
            .split_at_checked(prefix + SALT_LEN + COMMITMENT)
            .ok_or(Shut::Key)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or(Shut::Key)?;
        let (salt, commitment) = head[prefix..].split_at(SALT_LEN);
        let keys = Keys::derive(self, salt);
        // Before the cipher sees anything: AES-GCM itself does not say under which key a message was made.
        verify_slices_are_equal(commitment, keys.commitment()).map_err(|_| Shut::Key)?;
        let authenticated = [head, context].concat();
        let mut body = Zeroizing::new(vec![0; ciphertext.len()]);
        keys.cipher()
            .and_then(|c| c.open_separate_gather(keys.nonce(), Aad::from(authenticated), ciphertext, tag, &mut body))
            .map_err(|_| Shut::Content)?;
        Ok(body)
    }

    /// A fresh salt: random bytes, with context and body mixed in under a key.
    ///
    /// A good generator needs no such help. One that repeats itself (a machine restored twice from one snapshot) would
    /// give two records one salt, thus one key and one nonce; so it gives the same salt to the same record only.
    fn salt(&self, context: &[u8], body: &[&[u8]], rng: &dyn Rng) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.salts);
        mac.update(&rng.bytes::<SALT_LEN>());
        mac.update(&(context.len() as u64).to_be_bytes());
        mac.update(context);
        for part in body {
            mac.update(part);
        }
        mac.sign()
    }
}

/// What one salt gives. The commitment comes first: so it is one whole output of HMAC-SHA256 and inherits its collision
/// resistance, which is what makes it a commitment.
struct Keys(Zeroizing<[u8; COMMITMENT + 32 + 12]>);

impl Keys {
    fn derive(envelope: &Envelope, salt: &[u8]) -> Self {
        Self(derive(&envelope.key, salt, &[envelope.label]))
    }

    fn commitment(&self) -> &[u8] {
        &self.0[..COMMITMENT]
    }

    fn cipher(&self) -> Result<LessSafeKey, aws_lc_rs::error::Unspecified> {
        UnboundKey::new(&AES_256_GCM, &self.0[COMMITMENT..COMMITMENT + 32]).map(LessSafeKey::new)
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.0[COMMITMENT + 32..]);
        Nonce::assume_unique_for_key(nonce)
    }
}

#[cfg(test)]
mod tests {
    use valetkey_core::fake::FakeRng;

    use super::*;
    use crate::derive::RECORD;

    fn envelope(byte: u8) -> Envelope {
        Envelope::new(Zeroizing::new([byte; 32]), RECORD)
    }

    #[test]
    fn c14_the_commitment_is_checked_even_if_the_cipher_would_open() {
        let (envelope, other) = (envelope(1), envelope(2));
        let keys = Keys::derive(&envelope, &[5; SALT_LEN]);
        let foreign = Keys::derive(&other, &[5; SALT_LEN]);
        let open = |commitment: &[u8]| {
            let mut sealed = [[5; SALT_LEN].as_slice(), commitment].concat();
            let mut body = *b"valid";
            let tag = keys
                .cipher()
                .and_then(|c| c.seal_in_place_separate_tag(keys.nonce(), Aad::from(&sealed), &mut body))
                .expect("sealed");
            sealed.extend_from_slice(&body);
            sealed.extend_from_slice(tag.as_ref());
            envelope.open(0, &[], &sealed).map(|body| body.to_vec())
        };
        assert_eq!(open(keys.commitment()), Ok(b"valid".to_vec()));
        assert_eq!(open(foreign.commitment()), Err(Shut::Key));
    }

    #[test]
    fn c11_a_generator_that_repeats_itself_repeats_no_salt_unless_everything_is_the_same() {
        let envelope = envelope(1);
        let salt = |context: &[u8], body: &[&[u8]]| envelope.salt(context, body, &FakeRng::seeded(1)).as_ref().to_vec();
        let salts = [
            salt(b"row 1", &[b"token"]),
            salt(b"row 2", &[b"token"]),
            salt(b"row 1", &[b"another"]),
            salt(b"row 1t", &[b"oken"]),
        ];
        for (i, one) in salts.iter().enumerate() {
            assert!(!salts[..i].contains(one));
        }
        assert_eq!(salts[0], salt(b"row 1", &[b"tok", b"en"]));
    }

    #[test]
    fn a_failed_open_says_whether_the_key_or_the_content_is_wrong() {
        let rng = FakeRng::seeded(1);
        let sealed = envelope(1).seal(&[9], b"here", &[b"to", b"ken"], &rng).expect("sealed");
        assert_eq!(
            envelope(1).open(1, b"here", &sealed).as_deref().map(Vec::as_slice),
            Ok(b"token".as_slice())
        );
        assert_eq!(envelope(1).open(1, b"there", &sealed), Err(Shut::Content));
        assert_eq!(envelope(2).open(1, b"here", &sealed), Err(Shut::Key));
        assert_eq!(envelope(1).open(1, b"here", &sealed[..80]), Err(Shut::Key));
    }
}
