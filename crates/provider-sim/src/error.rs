//! What can go wrong with the simulator itself. What happens to a request is an answer, never an error.

use std::io;

/// Why a simulator could not start, or be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the configuration, or of the control channel, makes no sense.
    #[error("{what} is {value:?}, expected {expected}")]
    Invalid {
        /// Which field.
        what: &'static str,
        /// What it held, shortened.
        value: String,
        /// What it should have held.
        expected: String,
    },
    /// An operation of the operating system failed.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted, for example `listen on 127.0.0.1:2197`.
        doing: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The certificate authority or the server's certificate could not be made.
    #[error("cannot make the certificates")]
    Certificate(#[from] rcgen::Error),
    /// TLS could not be configured.
    #[error("cannot configure TLS")]
    Tls(#[from] rustls::Error),
    /// A message of the control channel was not understood.
    #[error("control channel: {0}")]
    Control(String),
    /// A thread of the simulator ended before it was told to.
    #[error("a thread of the simulator has ended")]
    Gone,
}

impl Error {
    pub(crate) fn invalid(what: &'static str, value: &str, expected: impl Into<String>) -> Self {
        Self::Invalid { what, value: value.chars().take(80).collect(), expected: expected.into() }
    }

    /// For `map_err`: names what was attempted.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
