//! The validating mode: the same simulator on an HTTP/2 implementation that shares nothing with the sender's (`h2` over
//! `tokio-rustls`), which checks every request as Apple or Google would and tells what it found. Slower than the fast
//! mode by far, and meant to be: it is for correctness.
//!
//! `apns`, `aps`, `fcm`, `fcm_schema`, `provider_token` and `json` are pure; `wire` is what frames need; the rest does I/O.

mod answer;
mod apns;
mod aps;
mod arrived;
mod checker;
mod connection;
mod fcm;
mod fcm_schema;
mod finding;
mod io;
mod json;
mod provider_token;
mod request;
mod thread;
mod wire;

pub(crate) use checker::Checker;
pub(crate) use thread::{Thread, Wake};

/// The time of a request, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Microseconds since the simulator's start.
    pub(crate) since_start_us: u64,
    /// The wall clock, in seconds since 1970.
    pub(crate) unix_s: u64,
}
