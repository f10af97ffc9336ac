//! A send-only HTTP/2 client for very many small, nearly equal requests.
//!
//! [`Connection`] is the protocol as pure state; [`driver`] is the thread that runs many of them over sockets and TLS.
//! It knows nothing of push: what is sent, and what an answer means, is its user's affair.

mod connection;
pub mod driver;
mod error;
mod field;
mod frame;
mod hpack;
mod image;
mod request;
mod template;

pub use connection::{Connection, ConnectionConfig};
pub use error::{ConnectionError, ErrorCode};
pub use request::{Cause, DrainReason, End, EndResult, Ends, Event, Fields, Full, Request, Values};
pub use template::{Field, Part, Template, TemplateError};

/// Nanoseconds on a clock of the caller's choice: monotonic, and counting the time a machine is suspended.
pub type Nanos = u64;
