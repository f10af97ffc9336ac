//! What can go wrong with a resolver's work, besides what is wrong with an upload: that is told in its report.

use std::io;

/// Why work stopped. It is taken up again from the queue, except where somebody else has done it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call on the backend failed.
    #[error(transparent)]
    Backend(#[from] backend::Error),
    /// A file of ours could not be read or written.
    #[error("cannot {action}")]
    Io {
        /// For example `read the upload`.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A snapshot could not be built or read.
    #[error(transparent)]
    Snapshot(#[from] device_map::Error),
    /// A step on a thread of its own ended without a result.
    #[error("a step did not finish")]
    Step(#[from] tokio::task::JoinError),
    /// A blob that a row names is not there.
    #[error("blob {0} is missing")]
    Missing(String),
    /// What is stored is wrong.
    #[error("{0}")]
    Wrong(String),
    /// The row has changed: somebody else is at this work, or has done it.
    #[error("somebody else took it over")]
    Overtaken,
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: what was being done.
    pub(crate) fn io(action: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::Io { action, source }
    }

    /// What a person is told who can do something about it: the error with its causes.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            // Some errors repeat their cause.
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }

    /// Whether the same work may succeed later.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Error::Backend(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// Why work ended without what it was for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was uploaded or asked for is wrong: told to whoever did it, not tried again.
    Refused(String),
    /// Something broke: tried again.
    Broken(Error),
}

impl Failure {
    /// The same where nobody is there to be told: what is wrong with stored data is an error as any other.
    pub(crate) fn broken(self) -> Error {
        match self {
            Failure::Broken(error) => error,
            Failure::Refused(why) => Error::Wrong(why),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            // A column of many values taken for a market or locale: no second try makes it better.
            Error::Snapshot(error @ (device_map::Error::TooMany { .. } | device_map::Error::Device(_))) => {
                Failure::Refused(error.to_string())
            }
            Error::Backend(error) if error.kind == backend::ErrorKind::Invalid => {
                Failure::Refused(error.message)
            }
            error => Failure::Broken(error),
        }
    }
}
