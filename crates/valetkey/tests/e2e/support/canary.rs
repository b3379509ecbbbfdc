//! Searching for secrets where none may be.

use std::fs;
use std::path::{Path, PathBuf};

use valetkey_core::encode::{base64, hex};

/// A secret in every form in which it might be lying about.
struct Needle {
    secret: String,
    forms: Vec<Vec<u8>>,
}

impl Needle {
    fn new(secret: &str) -> Self {
        let bytes = secret.as_bytes();
        let percent: String = url::form_urlencoded::byte_serialize(bytes).collect();
        let mut forms = vec![
            bytes.to_vec(),
            percent.into_bytes(),
            hex(bytes).into_bytes(),
            hex(bytes).to_uppercase().into_bytes(),
        ];
        // Inside other bytes, base64 has one of three alignments; what neighbours share bits with is cut off.
        for shift in 0..3 {
            let text = base64(&[&vec![0; shift], bytes].concat());
            let start = (shift * 8).div_ceil(6);
            let end = (shift + bytes.len()) * 8 / 6;
            let inner = &text[start..end];
            forms.push(inner.as_bytes().to_vec());
            forms.push(inner.replace('+', "-").replace('/', "_").into_bytes());
        }
        forms.push(serde_json::to_vec(bytes).expect("JSON"));
        forms.sort();
        forms.dedup();
        Self {
            secret: secret.to_owned(),
            forms,
        }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(text, form))
    }
}

/// Substring search that does not look at every byte of every position.
fn contains(text: &[u8], form: &[u8]) -> bool {
    let Some((first, rest)) = form.split_first() else {
        return false;
    };
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|b| b == first) {
        at += found + 1;
        if text[at..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// The secrets to look for.
pub(crate) struct Canaries(Vec<Needle>);

impl Canaries {
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<_> = secrets.into_iter().collect();
        secrets.sort();
        secrets.dedup();
        assert!(secrets.iter().all(|s| s.len() >= 12), "too short to be told from noise");
        Self(secrets.iter().map(|s| Needle::new(s)).collect())
    }

    /// Fails if one of the secrets is in a text.
    #[track_caller]
    pub(crate) fn are_not_in(&self, place: &str, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let found: Vec<_> = self
            .0
            .iter()
            .filter(|n| n.is_in(text))
            .map(|n| n.secret.as_str())
            .collect();
        assert!(found.is_empty(), "{found:?} found in {place}");
    }

    /// Fails if one of the secrets is in a file of a directory, write-ahead logs and all.
    #[track_caller]
    pub(crate) fn are_not_below(&self, dir: &Path) {
        let files = files(dir);
        assert!(!files.is_empty(), "nothing to search in {}", dir.display());
        for file in files {
            self.are_not_in(&file.display().to_string(), fs::read(&file).expect("a file"));
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret = "a/secret+with?signs-0123456789";
        let canaries = Canaries::new([secret.to_owned()]);
        let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut texts = vec![secret.to_owned(), percent, hex(secret.as_bytes())];
        for before in ["", "x", "xy", "xyz"] {
            texts.push(base64(format!("{before}{secret}:tail").as_bytes()));
        }
        for text in texts {
            let page = format!("noise {text} noise");
            let found = std::panic::catch_unwind(|| canaries.are_not_in("a page", &page)).is_err();
            assert!(found, "{page}");
        }
        canaries.are_not_in("a page", "a/secret+with?signs-01234567x9");
    }
}
