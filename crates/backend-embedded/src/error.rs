//! What can be wrong with a place, and how SQLite's and the file system's errors read at the seam.

use std::io;
use std::path::{Path, PathBuf};

use backend::ErrorKind;
use rusqlite::ErrorCode;

/// Why a backend cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be made, read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite cannot use a database.
    #[error("cannot use database {path}: {source}", path = path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A file is there, but not one of ours.
    #[error("{path} is not a Fanfare database; it was left alone", path = path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// A database of another version of this program.
    #[error("{path} has schema version {found}, this program uses {wanted}; it was left alone", path = path.display())]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        wanted: i64,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_path_buf(), source }
    }

    pub(crate) fn database(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path: path.to_path_buf() },
            _ => Self::Database { path: path.to_path_buf(), source },
        }
    }
}

/// What failed a group of calls; each call makes its own error of it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// SQLite's error on the database at `place`.
    pub(crate) fn of_sqlite(place: &str, error: &rusqlite::Error) -> Self {
        let (kind, hint) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (ErrorKind::Transient, "another process holds the database")
            }
            Some(ErrorCode::DiskFull) => (ErrorKind::Storage, "no space left on the disk"),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                (ErrorKind::Storage, "no permission")
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                (ErrorKind::Storage, "the database is damaged")
            }
            _ => (ErrorKind::Storage, "the database failed"),
        };
        Self::new(kind, format!("{place}: {hint}: {error}"))
    }

    /// The same of a commit: whether it took effect is unknown, unless SQLite says that it rolled back.
    pub(crate) fn of_commit(place: &str, error: &rusqlite::Error) -> Self {
        let mut failure = Self::of_sqlite(place, error);
        let is_known = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
        );
        if !is_known {
            failure.kind = ErrorKind::AnswerLost;
        }
        failure
    }

    pub(crate) fn error(&self, operation: &'static str) -> backend::Error {
        backend::Error::new(self.kind, operation, self.message.clone())
    }
}

/// The file system's error at `path`, as the seam says it.
pub(crate) fn of_file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> backend::Error {
    move |error| {
        let message = format!("{}: {error}", path.display());
        backend::Error::new(ErrorKind::Storage, operation, message).with_source(error)
    }
}

/// A call that breaks the seam's rules.
pub(crate) fn invalid(operation: &'static str, message: impl Into<String>) -> backend::Error {
    backend::Error::new(ErrorKind::Invalid, operation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }

    #[test]
    fn each_error_of_sqlite_says_what_a_caller_can_do() {
        for (code, kind, hint) in [
            (rusqlite::ffi::SQLITE_BUSY, ErrorKind::Transient, "another process holds the database"),
            (rusqlite::ffi::SQLITE_FULL, ErrorKind::Storage, "no space left on the disk"),
            (rusqlite::ffi::SQLITE_READONLY, ErrorKind::Storage, "no permission"),
            (rusqlite::ffi::SQLITE_CORRUPT, ErrorKind::Storage, "the database is damaged"),
            (rusqlite::ffi::SQLITE_IOERR, ErrorKind::Storage, "the database failed"),
        ] {
            let error = Failure::of_sqlite("/a/b.db", &sqlite(code)).error("store.get");
            assert_eq!((error.kind, error.operation), (kind, "store.get"));
            assert!(error.message.starts_with(&format!("/a/b.db: {hint}: ")), "{error}");
        }
    }

    #[test]
    fn a_failed_commit_is_a_lost_answer_unless_it_was_surely_rolled_back() {
        let kind = |code| Failure::of_commit("", &sqlite(code)).error("").kind;
        assert_eq!(kind(rusqlite::ffi::SQLITE_IOERR), ErrorKind::AnswerLost);
        assert_eq!(kind(rusqlite::ffi::SQLITE_FULL), ErrorKind::Storage);
        assert_eq!(kind(rusqlite::ffi::SQLITE_BUSY), ErrorKind::Transient);
    }
}
