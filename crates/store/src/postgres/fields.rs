//! Values out of rows.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use valetkey_core::{ConnectionKey, Owner, Timestamp};

use super::Result;
use crate::StoreError;
use crate::rows::{Digest, Sealed};

/// Reads the columns of a row from left to right, so that no place is counted by hand.
pub(super) struct Fields<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    /// A value as the server has it.
    pub(super) fn value<T: FromSql<'a>>(&mut self) -> Result<T> {
        let column = self.next;
        self.next += 1;
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    /// An identifier, checked again.
    pub(super) fn id<T: TryFrom<String>>(&mut self) -> Result<T> {
        let text = self.value()?;
        T::try_from(text).map_err(|_| self.corrupt())
    }

    /// An identifier that may be missing.
    pub(super) fn id_if_any<T: TryFrom<String>>(&mut self) -> Result<Option<T>> {
        let text: Option<String> = self.value()?;
        text.map(T::try_from).transpose().map_err(|_| self.corrupt())
    }

    /// The four columns space, connector, owner and name.
    pub(super) fn connection_key(&mut self) -> Result<ConnectionKey> {
        Ok(ConnectionKey {
            space: self.id()?,
            connector: self.id()?,
            owner: self.owner()?,
            name: self.id()?,
        })
    }

    fn owner(&mut self) -> Result<Owner> {
        let text: &str = self.value()?;
        Owner::from_stored(text).ok_or_else(|| self.corrupt())
    }

    pub(super) fn time(&mut self) -> Result<Timestamp> {
        self.value().map(Timestamp)
    }

    pub(super) fn time_if_any(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.value::<Option<i64>>()?.map(Timestamp))
    }

    pub(super) fn digest(&mut self) -> Result<Digest> {
        self.digest_if_any()?.ok_or_else(|| self.corrupt())
    }

    pub(super) fn digest_if_any(&mut self) -> Result<Option<Digest>> {
        let bytes: Option<&[u8]> = self.value()?;
        bytes
            .map(|bytes| bytes.try_into().map(Digest))
            .transpose()
            .map_err(|_| self.corrupt())
    }

    pub(super) fn sealed(&mut self) -> Result<Sealed> {
        self.value().map(Sealed)
    }

    pub(super) fn sealed_if_any(&mut self) -> Result<Option<Sealed>> {
        Ok(self.value::<Option<Vec<u8>>>()?.map(Sealed))
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let text: &str = self.value()?;
        serde_json::from_str(text).map_err(|_| self.corrupt())
    }

    pub(super) fn json_if_any<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let text: Option<&str> = self.value()?;
        text.map(serde_json::from_str).transpose().map_err(|_| self.corrupt())
    }

    /// Says which column was read last; never what it holds.
    pub(super) fn corrupt(&self) -> StoreError {
        let columns = self.row.columns();
        let column = columns
            .get(self.next.saturating_sub(1))
            .map_or("?", tokio_postgres::Column::name);
        StoreError::Corrupt(format!("the column {column} of a row breaks its rules"))
    }
}

/// The stored form of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("a value has no JSON form".to_owned()))
}

/// The row that a statement found, if it found one.
pub(super) fn first<T>(rows: &[Row], read: impl FnOnce(&Row) -> Result<T>) -> Result<Option<T>> {
    rows.first().map(read).transpose()
}

/// All rows that a statement found.
pub(super) fn all<T>(rows: &[Row], read: impl FnMut(&Row) -> Result<T>) -> Result<Vec<T>> {
    rows.iter().map(read).collect()
}

/// The number that a statement counted.
pub(super) fn count(rows: &[Row]) -> Result<u64> {
    let number: i64 = first(rows, |row| Fields::of(row).value())?.unwrap_or_default();
    Ok(u64::try_from(number).unwrap_or_default())
}
