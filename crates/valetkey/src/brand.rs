//! How hosted pages look, as far as an operator sets it: a name, a logo, a colour.

use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// The largest logo.
const MAX_LOGO: u64 = 256 * 1024;

/// Contrast of text that WCAG 2.2 asks for (level AA).
const TEXT_CONTRAST: f64 = 4.5;

/// What an operator set, checked.
#[derive(Clone, Debug)]
pub(crate) struct Brand {
    /// Who asks for access, for people.
    pub(crate) name: String,
    /// What is shown instead of the name.
    pub(crate) logo: Option<Logo>,
    /// The colour of buttons.
    pub(crate) accent: Option<Color>,
    /// The same on dark pages.
    pub(crate) accent_dark: Option<Color>,
}

/// An image, as it was when the program started.
#[derive(Clone)]
pub(crate) struct Logo {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What they are.
    pub(crate) content_type: &'static str,
}

impl std::fmt::Debug for Logo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Logo({}, {} bytes)", self.content_type, self.bytes.len())
    }
}

impl Logo {
    /// Reads a file; what it is, its contents say.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot be read: {}", path.display()));
        let mut bytes = Vec::new();
        file.and_then(|file| Ok(file.take(MAX_LOGO + 1).read_to_end(&mut bytes)?))
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        if bytes.len() as u64 > MAX_LOGO {
            bail!("must name a file of at most 256 KiB");
        }
        let content_type = content_type(&bytes).context("must name an SVG or PNG file")?;
        Ok(Self { bytes, content_type })
    }
}

fn content_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let is_markup = text.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    (is_markup && text.contains("<svg")).then_some("image/svg+xml")
}

/// A colour of the sRGB space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color([u8; 3]);

impl FromStr for Color {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(number) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            bail!("must be a colour such as \"#2456c8\"");
        };
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl std::fmt::Display for Color {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self([red, green, blue]) = self;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Color {
    const WHITE: Self = Self([255; 3]);
    const BLACK: Self = Self([0; 3]);

    /// The colour of text on this one: white where that can be read, else black, which then can.
    pub(crate) fn text(self) -> Self {
        if self.contrast(Self::WHITE) >= TEXT_CONTRAST {
            Self::WHITE
        } else {
            Self::BLACK
        }
    }

    /// WCAG 2.2, contrast ratio: 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_be_read_on_every_colour() {
        for number in (0..=0x00ff_ffff_u32).step_by(0x0101) {
            let [_, red, green, blue] = number.to_be_bytes();
            let color = Color([red, green, blue]);
            assert!(color.contrast(color.text()) >= TEXT_CONTRAST, "{color}");
        }
        let color = |text: &str| text.parse::<Color>().expect("a colour");
        assert_eq!(color("#2456C8").to_string(), "#2456c8");
        assert_eq!(color("#2456c8").text(), Color::WHITE);
        assert_eq!(color("#ffd76a").text(), Color::BLACK);
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for bad in ["", "red", "#fff", "2456c8", "#2456c8ff", "#24 6c8", "#+2456c", "#é56c8"] {
            assert!(bad.parse::<Color>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_logo_is_what_its_contents_say() {
        assert_eq!(content_type(b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(content_type(b"<?xml version='1.0'?><svg/>"), Some("image/svg+xml"));
        assert_eq!(content_type(b" <svg xmlns='x'></svg>"), Some("image/svg+xml"));
        for bad in [&b"GIF89a"[..], b"<html>", b"", b"\xff<svg", b"text <svg"] {
            assert_eq!(content_type(bad), None);
        }
    }
}
