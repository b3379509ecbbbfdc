//! What the server's errors mean. The texts name kinds and codes; never a value or a parameter, which the server's own
//! messages may quote.

use std::error::Error as _;
use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::StoreError;

/// A statement that did not do what it should.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: StoreError,
    pub(super) kind: Kind,
}

/// What may be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing but passing it on.
    Plain,
    /// Everything was rolled back for certain: it may be run again.
    Undone,
    /// The connection broke. Whether the statement did something is not known.
    Severed,
    /// The server did not answer in time: the connection is of no use any more, and the statement may still run.
    Silent,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            error,
            kind: Kind::Plain,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.as_db_error() {
            Some(cause) => from_server(cause),
            None => severed(&describe(&error)),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(TimeoutType::Wait) => severed("no connection was free in time"),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => silent(),
            PoolError::Closed => closed().into(),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => severed("the pool cannot work"),
        }
    }
}

pub(super) fn silent() -> Failure {
    Failure {
        error: StoreError::Unavailable("the server does not answer".to_owned()),
        kind: Kind::Silent,
    }
}

/// What the future comes to, if it does so in time.
pub(super) async fn in_time<T, E>(
    limit: Duration,
    future: impl Future<Output = std::result::Result<T, E>>,
) -> std::result::Result<T, Failure>
where
    Failure: From<E>,
{
    match timeout(limit, future).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(silent()),
    }
}

pub(super) fn severed(text: &str) -> Failure {
    Failure {
        error: StoreError::Unavailable(text.to_owned()),
        kind: Kind::Severed,
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// An error that the server did not send: of the network, of TLS, of the driver. None of them quotes a parameter.
fn describe(error: &Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn from_server(cause: &DbError) -> Failure {
    let code = cause.code().code();
    let (error, kind) = meaning(code);
    let with_code = |text: &str| format!("{text} (SQLSTATE {code})");
    let error = match error {
        Meaning::Passing(text) => StoreError::Unavailable(with_code(text)),
        Meaning::Lasting(text) => StoreError::Corrupt(with_code(text)),
    };
    Failure { error, kind }
}

enum Meaning {
    Passing(&'static str),
    Lasting(&'static str),
}

/// By code where one stands out, by class else: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn meaning(code: &str) -> (Meaning, Kind) {
    use Meaning::{Lasting, Passing};

    let text = match code {
        "40001" | "40P01" => return (Passing("transactions keep getting in each other's way"), Kind::Undone),
        "57P01" | "57P02" | "57P03" | "57P05" => {
            return (
                Passing("the server starts, stops or ended the connection"),
                Kind::Severed,
            );
        }
        "25006" => Passing("the server only reads: it is a standby, or set so"),
        "57014" | "55P03" => Passing("a statement took too long"),
        "26000" | "42P05" => {
            Passing("prepared statements get lost: behind a pooler, add pooler=transaction to the URL")
        }
        "3D000" => Passing("there is no such database"),
        "42501" => Passing("the user may not do this"),
        "3F000" | "42P01" | "42703" | "42883" => Lasting("the schema is not the one of this version"),
        _ => match code.get(..2) {
            Some("08") => return (Passing("the connection broke"), Kind::Severed),
            Some("25" | "40") => Passing("the transaction was cut off"),
            Some("28") => Passing("the server refuses the user or the password"),
            Some("53") => Passing("the server is out of disk, memory or connections"),
            Some("58") => Passing("the server has an I/O error"),
            Some("23") => Lasting("a constraint does not hold"),
            Some("XX") => Lasting("the server found damaged data, or a fault of its own"),
            _ => Lasting("an unexpected error"),
        },
    };
    (text, Kind::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_unavailable() {
        for code in [
            "40001", "57014", "57P01", "25006", "53100", "53300", "58030", "08006", "28P01",
        ] {
            assert!(matches!(meaning(code).0, Meaning::Passing(_)), "{code}");
        }
    }

    #[test]
    fn what_stays_is_corrupt() {
        for code in ["23505", "42P01", "XX001", "22021", "42601", ""] {
            assert!(matches!(meaning(code).0, Meaning::Lasting(_)), "{code}");
        }
    }

    #[test]
    fn only_what_was_rolled_back_for_certain_is_run_again() {
        for (code, again) in [
            ("40001", true),
            ("40P01", true),
            ("40003", false),
            ("57P01", false),
            ("57014", false),
        ] {
            assert_eq!(meaning(code).1 == Kind::Undone, again, "{code}");
        }
    }
}
