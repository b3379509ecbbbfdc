//! The bytes of a sealed record, format 1.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 | the format: 1 |
//! | 1..5 | the number of the data key, big endian |
//! | 5..37 | the salt |
//! | 37..69 | the key commitment |
//! | 69..n-16 | the ciphertext, a multiple of 64 bytes |
//! | n-16..n | the tag |
//!
//! - `HKDF-SHA256(ikm = data key, salt, info = "valetkey/seal/1/record")` gives 76 bytes: commitment (32), AES key
//!   (32), nonce (12). No two records share a key, so there is no limit to the number of records under a data key.
//! - The ciphertext is AES-256-GCM of the padded plaintext: its length (4 bytes, big endian), itself, zeros up to a
//!   multiple of 64, so that the stored length says little about the length of a token.
//! - Authenticated are bytes 0..69 and the [`Context`](crate::Context): deployment, space, table, row, column, owner,
//!   each as its length (8 bytes, big endian) and its bytes; generation (8 bytes, big endian, two's complement);
//!   binding as its length and its bytes.
//! - To open: format and length are checked, the key is chosen by its number and no other is tried, the commitment is
//!   compared in constant time, and only then the cipher runs. Every failure is the same
//!   [`SealError::Integrity`].
//!
//! A wrapped data key is `1`, salt (32), commitment (32), ciphertext (32), tag (16): the same construction under the
//! master key with the info `valetkey/seal/1/wrap`, without number and padding; authenticated are bytes 0..65, the
//! deployment as its length (8 bytes, big endian) and its bytes, and the number of the key (4 bytes, big endian).

use zeroize::Zeroizing;

use crate::SealError;

/// The longest value that is sealed: 1 MiB.
pub const MAX_PLAINTEXT: usize = 1 << 20;

/// The format that this crate writes, and the only one that it reads.
pub const FORMAT: u8 = 1;

/// The length of a sealed value, which depends on the length of the plaintext only.
pub const fn sealed_len(plaintext: usize) -> usize {
    PREFIX + SALT + COMMITMENT + padded_len(plaintext) + TAG
}

/// Format and number.
pub(crate) const PREFIX: usize = 5;
pub(crate) const SALT: usize = 32;
pub(crate) const COMMITMENT: usize = 32;
pub(crate) const TAG: usize = 16;

const LENGTH: usize = 4;
const BLOCK: usize = 64;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

const fn padded_len(plaintext: usize) -> usize {
    (LENGTH + plaintext).next_multiple_of(BLOCK)
}

pub(crate) fn prefix(key: u32) -> [u8; PREFIX] {
    let [a, b, c, d] = key.to_be_bytes();
    [FORMAT, a, b, c, d]
}

/// The number of the data key, if the bytes may be a record at all.
pub(crate) fn key_of(sealed: &[u8]) -> Option<u32> {
    let possible = (sealed_len(0)..=sealed_len(MAX_PLAINTEXT)).contains(&sealed.len())
        && (sealed.len() - sealed_len(0)).is_multiple_of(BLOCK);
    match sealed {
        [FORMAT, a, b, c, d, ..] if possible => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// What goes in front of the plaintext and what behind it.
pub(crate) fn padding(plaintext: &[u8]) -> Result<([u8; LENGTH], &'static [u8]), SealError> {
    let length = u32::try_from(plaintext.len()).map_err(|_| SealError::TooLong)?;
    if plaintext.len() > MAX_PLAINTEXT {
        return Err(SealError::TooLong);
    }
    Ok((
        length.to_be_bytes(),
        &ZEROS[..padded_len(plaintext.len()) - LENGTH - plaintext.len()],
    ))
}

/// The plaintext alone, in the same buffer.
pub(crate) fn unpad(mut padded: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    let (length, rest) = padded.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let zeros = rest.get(length..)?;
    if padded.len() != padded_len(length) || zeros.iter().any(|b| *b != 0) {
        return None;
    }
    padded.copy_within(LENGTH..LENGTH + length, 0);
    padded.truncate(length); // what is cut off is wiped with the rest: `Zeroizing` covers the whole capacity
    Some(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c36_lengths_come_in_steps_of_64() {
        assert_eq!(sealed_len(0), 149);
        assert_eq!(sealed_len(40), sealed_len(60));
        assert_eq!(sealed_len(61), sealed_len(60) + 64);
    }

    #[test]
    fn padding_reads_back_and_nothing_else_does() {
        for length in [0, 1, 59, 60, 61, 200] {
            let plain = vec![7; length];
            let (front, back) = padding(&plain).expect("short");
            let padded = Zeroizing::new([&front, plain.as_slice(), back].concat());
            assert_eq!(padded.len(), padded_len(length));
            assert_eq!(unpad(padded.clone()).as_deref(), Some(&plain));

            let mut longer = padded.clone();
            longer.extend_from_slice(&ZEROS);
            assert_eq!(unpad(longer), None, "more padding than needed");
            let mut claims_more = padded.clone();
            claims_more[0] = 0xff;
            assert_eq!(unpad(claims_more), None);
            if !back.is_empty() {
                let mut dirty = padded;
                *dirty.last_mut().expect("not empty") = 1;
                assert_eq!(unpad(dirty), None);
            }
        }
        assert_eq!(unpad(Zeroizing::new(vec![0; 3])), None);
    }
}
