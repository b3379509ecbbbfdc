//! Counts of how things went.

use valetkey_core::{ConnectorTypeId, SpaceId, Timestamp};

/// What a [`TallyRow`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Ends of authorization code flows.
    Flow,
    /// Ends of refreshes.
    Refresh,
    /// Uses of a connection.
    Use,
}

impl Subject {
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Refresh => "refresh",
            Self::Use => "use",
        }
    }

    /// Reads the stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Flow, Self::Refresh, Self::Use]
            .into_iter()
            .find(|subject| subject.word() == word)
    }
}

/// What came of what a [`TallyRow`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It went well.
    Ok,
    /// It did not.
    Failed,
}

impl Outcome {
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }

    /// Reads the stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Failed]
            .into_iter()
            .find(|outcome| outcome.word() == word)
    }
}

/// How often something happened in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyRow {
    /// The tenant.
    pub space: SpaceId,
    /// When the span begins.
    pub at: Timestamp,
    /// What.
    pub subject: Subject,
    /// What came of it.
    pub outcome: Outcome,
    /// The type of the connector.
    pub connector_type: ConnectorTypeId,
    /// How often.
    pub count: i64,
}
