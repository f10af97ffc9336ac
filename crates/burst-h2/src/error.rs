//! Why a connection ended, and the codes both sides use to say so.

use std::io;

/// An HTTP/2 error code as it stands in RST_STREAM and GOAWAY (RFC 9113, section 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The condition is not an error.
    pub const NO_ERROR: ErrorCode = ErrorCode(0x0);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: ErrorCode = ErrorCode(0x1);
    /// A failure inside the endpoint.
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(0x2);
    /// A flow-control window was overrun or overflowed.
    pub const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: ErrorCode = ErrorCode(0x4);
    /// A frame for a stream that is over.
    pub const STREAM_CLOSED: ErrorCode = ErrorCode(0x5);
    /// A frame of a forbidden size.
    pub const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(0x6);
    /// The stream was refused before any processing.
    pub const REFUSED_STREAM: ErrorCode = ErrorCode(0x7);
    /// The stream is no longer needed.
    pub const CANCEL: ErrorCode = ErrorCode(0x8);
    /// Header compression state can no longer be kept.
    pub const COMPRESSION_ERROR: ErrorCode = ErrorCode(0x9);
    /// The peer makes too much useless work.
    pub const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(0xb);
}

impl std::fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            0x0 => "NO_ERROR",
            0x1 => "PROTOCOL_ERROR",
            0x2 => "INTERNAL_ERROR",
            0x3 => "FLOW_CONTROL_ERROR",
            0x4 => "SETTINGS_TIMEOUT",
            0x5 => "STREAM_CLOSED",
            0x6 => "FRAME_SIZE_ERROR",
            0x7 => "REFUSED_STREAM",
            0x8 => "CANCEL",
            0x9 => "COMPRESSION_ERROR",
            0xa => "CONNECT_ERROR",
            0xb => "ENHANCE_YOUR_CALM",
            0xc => "INADEQUATE_SECURITY",
            0xd => "HTTP_1_1_REQUIRED",
            other => return write!(f, "code {other:#x}"),
        };
        f.write_str(name)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Why a connection could not be opened or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke HTTP/2; `code` was sent to it in a GOAWAY.
    #[error("peer broke the protocol ({code}): {what}")]
    Protocol {
        /// The code of our GOAWAY.
        code: ErrorCode,
        /// What it did.
        what: &'static str,
    },
    /// The peer closed the connection.
    #[error("peer closed the connection")]
    PeerClosed,
    /// The socket failed.
    #[error("socket failed")]
    Io(#[source] io::Error),
    /// The TLS layer failed.
    #[error("tls failed")]
    Tls(#[source] rustls::Error),
    /// The peer did not choose `h2` by ALPN.
    #[error("peer did not choose h2 by alpn")]
    Alpn,
    /// The configuration cannot be used.
    #[error("configuration refused: {0}")]
    Config(&'static str),
    /// A limit in time of the connection itself passed.
    #[error("{0} did not come in time")]
    Deadline(&'static str),
    /// We drained it to its end or were told to close it.
    #[error("closed by us")]
    Local,
}

impl ConnectionError {
    pub(crate) fn protocol(what: &'static str) -> Self {
        ConnectionError::Protocol { code: ErrorCode::PROTOCOL_ERROR, what }
    }

    pub(crate) fn with(code: ErrorCode, what: &'static str) -> Self {
        ConnectionError::Protocol { code, what }
    }

    /// The cause that the open requests of such a connection end with.
    pub fn cause(&self) -> crate::Cause {
        use crate::Cause;
        match self {
            ConnectionError::Protocol { .. } => Cause::Protocol,
            ConnectionError::PeerClosed => Cause::PeerClosed,
            ConnectionError::Io(_) | ConnectionError::Tls(_) => Cause::Transport,
            ConnectionError::Deadline(_) => Cause::Timeout,
            ConnectionError::Alpn | ConnectionError::Config(_) | ConnectionError::Local => Cause::Local,
        }
    }
}
