//! What `SQLite`'s errors mean. The texts name kinds and codes; never a value, a parameter or a path.

use rusqlite::{Error, ErrorCode, ffi};

use crate::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::SqliteFailure(cause, _) | Error::SqlInputError { error: cause, .. } => from_code(cause),
            Error::FromSqlConversionFailure(column, ..)
            | Error::IntegralValueOutOfRange(column, _)
            | Error::Utf8Error(column, _)
            | Error::InvalidColumnType(column, ..) => {
                Self::Corrupt(format!("column {column} of a row has another form"))
            }
            Error::InvalidPath(_) | Error::NulError(_) => Self::Unavailable("its path cannot be used".to_owned()),
            _ => Self::Corrupt("SQLite was asked for something impossible".to_owned()),
        }
    }
}

fn from_code(cause: ffi::Error) -> StoreError {
    let text = match cause.code {
        ErrorCode::DiskFull => "the disk is full",
        ErrorCode::ReadOnly => "the database is read-only",
        ErrorCode::SystemIoFailure => "an I/O error",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            "another program keeps the database locked"
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => "a file cannot be opened",
        ErrorCode::OutOfMemory => "out of memory",
        ErrorCode::DatabaseCorrupt => return corrupt("the file is damaged", cause),
        ErrorCode::NotADatabase => return corrupt("the file is not a database", cause),
        ErrorCode::ConstraintViolation => return corrupt("a constraint does not hold", cause),
        _ => return corrupt("an unexpected error", cause),
    };
    StoreError::Unavailable(format!("{text} (SQLite code {})", cause.extended_code))
}

fn corrupt(text: &str, cause: ffi::Error) -> StoreError {
    StoreError::Corrupt(format!("{text} (SQLite code {})", cause.extended_code))
}

/// Whether a sync failed. The kernel may have dropped the pages by then and report the next sync as a success, so that
/// nothing written since the last good one can be trusted.
pub(super) fn is_failed_sync(error: &Error) -> bool {
    matches!(
        error.sqlite_extended_error_code(),
        Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
    )
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> Error {
        Error::SqliteFailure(
            ffi::Error::new(code),
            Some("UNIQUE constraint failed: flow.state_hash".to_owned()),
        )
    }

    #[test]
    fn what_may_pass_is_unavailable() {
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_NOMEM,
        ] {
            assert!(matches!(failure(code).into(), StoreError::Unavailable(_)), "{code}");
        }
    }

    #[test]
    fn what_stays_is_corrupt() {
        for code in [
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_CONSTRAINT_UNIQUE,
            ffi::SQLITE_MISUSE,
        ] {
            assert!(matches!(failure(code).into(), StoreError::Corrupt(_)), "{code}");
        }
    }

    #[test]
    fn only_a_failed_sync_is_one() {
        assert!(is_failed_sync(&failure(ffi::SQLITE_IOERR_FSYNC)));
        assert!(!is_failed_sync(&failure(ffi::SQLITE_IOERR_WRITE)));
        assert!(!is_failed_sync(&Error::QueryReturnedNoRows));
    }
}
