//! The server's side of HTTP/2 (RFC 9113) as pure state: bytes in, bytes out, no socket and no clock.

pub(crate) mod connection;
mod control;
mod flow;
pub(crate) mod frame;
mod headers;
pub(crate) mod limit;
mod request;
mod serve;
mod storm;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use connection::{Connection, Farewell, Stop};
