//! Notices: what was said ahead of an end, so that it is said once.

use valetkey_core::Timestamp;

/// Notice that a grant ends, whatever is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expires {
    /// How many days ahead it was given.
    pub(crate) days: u32,
    /// The end.
    pub(crate) end: Timestamp,
}

/// The notices that a connection carries. Stored as `expires:14:1790000000000,unused:1790000000000`; what cannot be read
/// counts as not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    /// The grant ends, whatever is done.
    pub(crate) expires: Option<Expires>,
    /// Nobody uses the connection: it is disconnected then, if that does not change.
    pub(crate) unused: Option<Timestamp>,
}

impl Notices {
    /// Reads the stored form.
    pub(crate) fn read(stored: Option<&str>) -> Self {
        let mut notices = Self::default();
        for text in stored.unwrap_or_default().split(',') {
            match text.split(':').collect::<Vec<_>>()[..] {
                ["expires", days, end] => {
                    notices.expires = days
                        .parse()
                        .ok()
                        .zip(time(end))
                        .map(|(days, end)| Expires { days, end });
                }
                ["unused", end] => notices.unused = time(end),
                _ => {}
            }
        }
        notices
    }

    /// The stored form; `None` where there is nothing to say.
    pub(crate) fn stored(self) -> Option<String> {
        let expires = self
            .expires
            .map(|Expires { days, end }| format!("expires:{days}:{}", end.0));
        let unused = self.unused.map(|end| format!("unused:{}", end.0));
        let texts: Vec<_> = expires.into_iter().chain(unused).collect();
        (!texts.is_empty()).then(|| texts.join(","))
    }
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(Timestamp)
}
