//! Values in and out of rows.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use valetkey_core::{ConnectionKey, Owner, Timestamp};

use super::Result;
use crate::StoreError;
use crate::rows::{Digest, Sealed};

/// Reads the columns of a row from left to right, so that no place is counted by hand.
pub(super) struct Fields<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of(row: &'a Row<'a>) -> Self {
        Self { row, next: 0 }
    }

    /// A value as `SQLite` has it.
    pub(super) fn value<T: FromSql>(&mut self) -> Result<T> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.get(column)?)
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
        let text: String = self.value()?;
        Owner::from_stored(&text).ok_or_else(|| self.corrupt())
    }

    pub(super) fn time(&mut self) -> Result<Timestamp> {
        self.value().map(Timestamp)
    }

    pub(super) fn time_if_any(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.value::<Option<i64>>()?.map(Timestamp))
    }

    pub(super) fn digest(&mut self) -> Result<Digest> {
        self.value().map(Digest)
    }

    pub(super) fn digest_if_any(&mut self) -> Result<Option<Digest>> {
        Ok(self.value::<Option<[u8; 32]>>()?.map(Digest))
    }

    pub(super) fn sealed(&mut self) -> Result<Sealed> {
        self.value().map(Sealed)
    }

    pub(super) fn sealed_if_any(&mut self) -> Result<Option<Sealed>> {
        Ok(self.value::<Option<Vec<u8>>>()?.map(Sealed))
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let text: String = self.value()?;
        serde_json::from_str(&text).map_err(|_| self.corrupt())
    }

    pub(super) fn json_if_any<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let text: Option<String> = self.value()?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|_| self.corrupt())
    }

    /// Says which column was read last; never what it holds.
    pub(super) fn corrupt(&self) -> StoreError {
        let column = self
            .row
            .as_ref()
            .column_name(self.next.saturating_sub(1))
            .unwrap_or("?");
        StoreError::Corrupt(format!("the column {column} of a row breaks its rules"))
    }
}

/// The stored form of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("a value has no JSON form".to_owned()))
}

/// The row that a statement finds, if it finds one.
pub(super) fn first<T>(
    conn: &Connection,
    statement: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    conn.prepare_cached(statement)?
        .query(params)?
        .next()?
        .map(read)
        .transpose()
}

/// All rows that a statement finds.
pub(super) fn all<T>(
    conn: &Connection,
    statement: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    conn.prepare_cached(statement)?.query_and_then(params, read)?.collect()
}
