//! Values on their way into statements.

use std::borrow::Cow;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use valetkey_core::Timestamp;

use crate::rows::{Digest, Sealed};

type Fallible = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

/// A parameter, with its type: a statement can then be sent in one go, without asking the server what it takes.
#[derive(Clone)]
pub(super) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Int(Option<i64>),
    Bytes(Option<Cow<'a, [u8]>>),
    Bool(bool),
    Texts(Vec<Cow<'a, str>>),
    Ints(Vec<i64>),
    Byteses(Vec<Cow<'a, [u8]>>),
    /// The same parameter of several rows, as one array. It is never empty.
    Column(Vec<Self>),
}

impl Value<'_> {
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Text(_) => Type::TEXT,
            Self::Int(_) => Type::INT8,
            Self::Bytes(_) => Type::BYTEA,
            Self::Bool(_) => Type::BOOL,
            Self::Texts(_) => Type::TEXT_ARRAY,
            Self::Ints(_) => Type::INT8_ARRAY,
            Self::Byteses(_) => Type::BYTEA_ARRAY,
            Self::Column(values) => match values.first() {
                Some(Self::Int(_)) => Type::INT8_ARRAY,
                Some(Self::Bytes(_)) => Type::BYTEA_ARRAY,
                Some(Self::Bool(_)) => Type::BOOL_ARRAY,
                _ => Type::TEXT_ARRAY,
            },
        }
    }

    /// The same value, for whoever outlives what it was borrowed from.
    pub(super) fn into_owned(self) -> Value<'static> {
        fn text(value: Cow<'_, str>) -> Cow<'static, str> {
            value.into_owned().into()
        }
        fn bytes(value: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
            value.into_owned().into()
        }
        match self {
            Self::Text(value) => Value::Text(value.map(text)),
            Self::Int(value) => Value::Int(value),
            Self::Bytes(value) => Value::Bytes(value.map(bytes)),
            Self::Bool(value) => Value::Bool(value),
            Self::Texts(values) => Value::Texts(values.into_iter().map(text).collect()),
            Self::Ints(values) => Value::Ints(values),
            Self::Byteses(values) => Value::Byteses(values.into_iter().map(bytes).collect()),
            Self::Column(values) => Value::Column(values.into_iter().map(Value::into_owned).collect()),
        }
    }
}

impl Value<'_> {
    /// The parameters of several rows as one array for each parameter.
    pub(super) fn columns(rows: Vec<Vec<Self>>) -> Vec<Self> {
        let mut columns: Vec<Vec<Self>> = rows.first().into_iter().flatten().map(|_| Vec::new()).collect();
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        columns.into_iter().map(Self::Column).collect()
    }
}

/// The driver can be made to log parameters.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.kind())
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Fallible {
        match self {
            // The server has texts without U+0000 only. A name or a search that has one is for people to puzzle over, and
            // no reason to fail.
            Self::Text(Some(text)) if text.contains('\0') => text.replace('\0', "\u{fffd}").to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
            Self::Int(value) => value.to_sql(kind, out),
            Self::Bytes(value) => value.as_deref().to_sql(kind, out),
            Self::Bool(value) => value.to_sql(kind, out),
            Self::Texts(value) => value.to_sql(kind, out),
            Self::Ints(value) => value.to_sql(kind, out),
            Self::Byteses(value) => value.to_sql(kind, out),
            Self::Column(values) => values.to_sql(kind, out),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Lists parameters: each becomes a [`Value`].
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        [$($crate::postgres::values::Value::from($value)),*]
    };
}
pub(super) use params;

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Int(Some(at.0))
    }
}

impl From<Option<Timestamp>> for Value<'_> {
    fn from(at: Option<Timestamp>) -> Self {
        Self::Int(at.map(|at| at.0))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a Digest> for Value<'a> {
    fn from(digest: &'a Digest) -> Self {
        Self::Bytes(Some(Cow::Borrowed(&digest.0)))
    }
}

impl<'a> From<Option<&'a Digest>> for Value<'a> {
    fn from(digest: Option<&'a Digest>) -> Self {
        Self::Bytes(digest.map(|digest| Cow::Borrowed(&digest.0[..])))
    }
}

impl<'a> From<&'a Sealed> for Value<'a> {
    fn from(sealed: &'a Sealed) -> Self {
        Self::Bytes(Some(Cow::Borrowed(&sealed.0)))
    }
}

impl<'a> From<Option<&'a Sealed>> for Value<'a> {
    fn from(sealed: Option<&'a Sealed>) -> Self {
        Self::Bytes(sealed.map(|sealed| Cow::Borrowed(&sealed.0[..])))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c30_a_parameter_is_not_shown() {
        let [text, bytes] = params!["SECRET", &Digest([7; 32])];
        assert_eq!(format!("{text:?} {bytes:?}"), "[text] [bytea]");
    }
}
