//! Randomness, as the engine sees it: through one injected source.

use std::fmt;

/// The one source of randomness: the operating system's generator in the product, a seeded one in tests.
pub trait Rng: Send + Sync + fmt::Debug {
    /// Fills `bytes`. There is no fallback: a source that fails must end the process.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Rng + '_ {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A version 4 UUID in its usual text form.
    pub fn uuid(&self) -> String {
        let mut b = self.bytes::<16>();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let h = crate::encode::hex(&b);
        format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }
}
