//! Every key is derived here: HKDF-SHA256 (RFC 5869) under a label that no other use has, so that no two uses ever
//! share a key and neither master nor data keys are used directly.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// The label of the keys that seal records.
pub(crate) const RECORD: &[u8] = b"valetkey/seal/1/record";
/// The label of the keys that wrap data keys.
pub(crate) const WRAP: &[u8] = b"valetkey/seal/1/wrap";
/// The label of the keys that make salts.
pub(crate) const SALT: &[u8] = b"valetkey/seal/1/salt";
/// The label of the public names of master keys.
pub(crate) const NAME: &[u8] = b"valetkey/seal/1/id";
/// The label of keys for others ends with their own label. The only one of variable length, and no other starts so.
pub(crate) const OTHER: &[u8] = b"valetkey/seal/1/derive/";

/// The salt of keys that have none of their own. HKDF works without, FIPS 140 does not.
pub(crate) const FIXED_SALT: &[u8] = b"valetkey/seal/1";

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// `N` bytes for the use that the label names.
pub(crate) fn derive<const N: usize>(key: &[u8; 32], salt: &[u8], label: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 gives no more") }
    let mut out = Zeroizing::new([0; N]);
    Salt::new(HKDF_SHA256, salt)
        .extract(key)
        .expand(label, Length(N))
        .and_then(|okm| okm.fill(&mut *out))
        .expect("the length is checked at compile time, nothing else can fail");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c24_no_two_labels_give_equal_bytes() {
        let key = [7; 32];
        let salt = [9; 32];
        let mut seen: Vec<[u8; 32]> = [RECORD, WRAP, SALT, NAME, OTHER]
            .map(|label| *derive(&key, &salt, &[label]))
            .to_vec();
        seen.push(key);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn is_hkdf_as_others_compute_it() {
        // The RFC has no case with a key of 32 bytes; this one is what Python's `cryptography` gives.
        let key: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).expect("small"));
        let expected = "64cc2a23b7a1da4310420350405fdf5d632cb9bda3700d753e96cbcfeb81d4496259e7075d6da9d2c325";
        assert_eq!(
            valetkey_core::encode::hex(&*derive::<42>(&key, b"salt", &[b"in", b"fo"])),
            expected
        );
    }
}
