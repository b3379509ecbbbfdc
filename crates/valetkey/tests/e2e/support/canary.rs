//! Searching for secrets where none may be.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use valetkey_core::encode::{base64, hex};

/// How many bytes of a form are looked up at once.
const HEAD: usize = 8;

/// The secrets to look for, each in every form in which it might be lying about.
pub(crate) struct Canaries {
    /// The forms that begin with these bytes, and the secret that each stands for.
    forms: HashMap<[u8; HEAD], Vec<(Vec<u8>, String)>>,
    /// Whether a form begins with these two bytes: most places of most texts need no second look.
    starts: Vec<bool>,
}

impl Canaries {
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let secrets: BTreeSet<_> = secrets.into_iter().collect();
        let mut canaries = Self {
            forms: HashMap::new(),
            starts: vec![false; 1 << 16],
        };
        for secret in secrets {
            assert!(secret.len() >= 12, "too short to be told from noise");
            for form in forms(&secret) {
                let head = *form.first_chunk().expect("a form that is long enough");
                canaries.starts[start(&head)] = true;
                canaries.forms.entry(head).or_default().push((form, secret.clone()));
            }
        }
        canaries
    }

    /// The secrets that are in a text.
    pub(crate) fn found_in(&self, text: &[u8]) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for (at, head) in text.windows(HEAD).enumerate() {
            if !self.starts[start(head)] {
                continue;
            }
            let here = self.forms.get(head).into_iter().flatten();
            found.extend(
                here.filter(|(form, _)| text[at..].starts_with(form))
                    .map(|(_, secret)| secret.as_str()),
            );
        }
        found
    }

    /// The secrets that are in a file of a directory, write-ahead logs and all.
    pub(crate) fn found_below(&self, dir: &Path) -> BTreeSet<&str> {
        let contents = files(dir).into_iter().map(|file| fs::read(file).expect("a file"));
        contents.flat_map(|text| self.found_in(&text)).collect()
    }

    /// Fails if one of the secrets is in a text.
    #[track_caller]
    pub(crate) fn are_not_in(&self, place: &str, text: impl AsRef<[u8]>) {
        let found = self.found_in(text.as_ref());
        assert!(found.is_empty(), "{found:?} found in {place}");
    }

    /// Fails if one of the secrets is in a file of a directory.
    #[track_caller]
    pub(crate) fn are_not_below(&self, dir: &Path) {
        let found = self.found_below(dir);
        assert!(found.is_empty(), "{found:?} found below {}", dir.display());
    }
}

fn start(head: &[u8]) -> usize {
    usize::from(head[0]) << 8 | usize::from(head[1])
}

/// As it is, percent-encoded, in hexadecimal, as a list of numbers, and in base64.
fn forms(secret: &str) -> BTreeSet<Vec<u8>> {
    let bytes = secret.as_bytes();
    let percent: String = url::form_urlencoded::byte_serialize(bytes).collect();
    let numbers = serde_json::to_vec(bytes).expect("JSON");
    let mut forms = BTreeSet::from([bytes.to_vec(), percent.into_bytes(), numbers, hex(bytes).into_bytes()]);
    forms.insert(hex(bytes).to_uppercase().into_bytes());
    // Inside other bytes, base64 has one of three alignments; what neighbours share bits with is cut off.
    for shift in 0..3 {
        let text = base64(&[&vec![0; shift], bytes].concat());
        let inner = &text[(shift * 8).div_ceil(6)..(shift + bytes.len()) * 8 / 6];
        forms.insert(inner.as_bytes().to_vec());
        forms.insert(inner.replace('+', "-").replace('/', "_").into_bytes());
    }
    forms
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
            assert!(canaries.found_in(page.as_bytes()).contains(secret), "{page}");
        }
        canaries.are_not_in("a page", "a/secret+with?signs-01234567x9");
    }
}
