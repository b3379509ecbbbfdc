//! What can go wrong in a store.

/// An operation that did not happen. Conditions that callers decide on (not found, lost a race) are not errors: they are
/// values of the operations.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or written now; the same operation may succeed later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored breaks the rules of this version: a corrupt row, a newer schema, a changed migration.
    #[error("the store is not usable: {0}")]
    Corrupt(String),
}

/// The same error once more, for the next of those whom it concerns.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(text) => StoreError::Unavailable(text.clone()),
        StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
    }
}
