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
    Byteses(Vec<&'a [u8]>),
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
        }
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
            Self::Text(value) => value.to_sql(kind, out),
            Self::Int(value) => value.to_sql(kind, out),
            Self::Bytes(value) => value.as_deref().to_sql(kind, out),
            Self::Bool(value) => value.to_sql(kind, out),
            Self::Texts(value) => value.to_sql(kind, out),
            Self::Ints(value) => value.to_sql(kind, out),
            Self::Byteses(value) => value.to_sql(kind, out),
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
