//! TLS: an authority made at the start, and sessions that read and write in the driver's own buffers.

mod authority;
mod records;
mod session;

pub(crate) use authority::Authority;
pub(crate) use session::{Failure, Opened, Session};
