//! The one error of the seam.

/// What a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The same call may succeed later: throttled, timed out, unreachable, busy.
    Transient,
    /// The answer was lost: the call may have taken effect. Read before doing it again.
    AnswerLost,
    /// No space, no permission, a damaged or foreign store: somebody has to act.
    Storage,
    /// The call itself is wrong.
    Invalid,
}

/// A call on a backend that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct Error {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    /// The call, for example `store.write`.
    pub operation: &'static str,
    /// What went wrong, with the place.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of a call on a backend.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error without a cause of its own.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self { kind, operation, message: message.into(), source: None }
    }

    /// The same with its cause kept.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether trying again later is worth it.
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Transient | ErrorKind::AnswerLost)
    }
}
