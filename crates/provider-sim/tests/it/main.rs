//! The simulators from outside: an independent HTTP/2 client, and the control channel.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // All of this is test code, which drives its own client.

mod client;
mod control;
mod harness;
mod raw;
mod storm;
mod validating;
