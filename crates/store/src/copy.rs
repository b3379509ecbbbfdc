//! Moves an installation to another store, record by record, as it is stored: nothing is unsealed, nobody connects again.

use crate::rows::{Record, Table};
use crate::{Store, StoreError};

/// How many records one step moves.
const PAGE: u32 = 500;

/// Why a copy stopped. Nothing of the source was changed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the two stores failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The destination has records that the source does not have at this place.
    #[error("the destination has other records in its table {0:?} already; copy into an empty store")]
    Occupied(Table),
}

/// What was copied of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Which.
    pub table: Table,
    /// Records that the source has.
    pub records: u64,
    /// Of these, the ones that this run wrote; the others were there already and are equal.
    pub written: u64,
}

/// Copies everything but counted attempts from one store into another that is empty or holds the beginning of an earlier
/// copy of the same source: each step compares what is there and writes what is missing, so that a copy which was cut off
/// is taken up again, and one more run is a check of all records. Nothing may write to either of the two meanwhile.
///
/// `told` is called after each step.
pub async fn copy(from: &dyn Store, to: &dyn Store, mut told: impl FnMut(Copied)) -> Result<Vec<Copied>, CopyError> {
    let mut all = Vec::new();
    for table in Table::ALL {
        let mut copied = Copied {
            table,
            records: 0,
            written: 0,
        };
        let mut after: Option<Record> = None;
        loop {
            let mut page = from.export(table, after.as_ref(), PAGE).await?;
            let there = to.export(table, after.as_ref(), PAGE).await?;
            let Some(last) = page.last().cloned() else {
                if there.is_empty() {
                    break;
                }
                return Err(CopyError::Occupied(table));
            };
            if !page.starts_with(&there) {
                return Err(CopyError::Occupied(table));
            }
            let missing = page.split_off(there.len());
            copied.records += (page.len() + missing.len()) as u64;
            copied.written += missing.len() as u64;
            if !missing.is_empty() {
                to.import(missing).await?;
            }
            told(copied);
            after = Some(last);
        }
        all.push(copied);
    }
    Ok(all)
}
