//! What the console consists of: embedded, compressed when the binary was built, and named after what is in it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};
use valetkey_core::encode;

/// One file of the console.
pub(crate) struct Embedded {
    /// Its path below the folder of the sources.
    pub(crate) name: &'static str,
    pub(crate) plain: &'static [u8],
    /// The same with gzip.
    pub(crate) packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// What the paths of all files begin with. It changes with any of them, so that browsers may keep each for ever, and never mix
/// two versions: modules name each other by relative paths.
pub(crate) static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut context = Context::new(&SHA256);
    for file in EMBEDDED {
        context.update(file.name.as_bytes());
        context.update(&file.plain.len().to_be_bytes());
        context.update(file.plain);
    }
    encode::hex(&context.finish().as_ref()[..8])
});

/// The file of this name.
pub(crate) fn find(name: &str) -> Option<&'static Embedded> {
    EMBEDDED.iter().find(|file| file.name == name)
}

impl Embedded {
    /// Its media type.
    pub(crate) fn media_type(&self) -> &'static str {
        if self.name.to_ascii_lowercase().ends_with(".css") {
            "text/css; charset=utf-8"
        } else {
            "text/javascript; charset=utf-8"
        }
    }

    /// Whether every page needs it. What is left out is loaded when its page is opened.
    pub(crate) fn is_first(&self) -> bool {
        self.media_type().starts_with("text/javascript")
            && !self.name.contains("uplot")
            && !self.name.ends_with("health.js")
    }
}
