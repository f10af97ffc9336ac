//! The API over a backend in memory, called as its users call it: through the router, without a socket.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails its test")]

mod bad_rows;
mod campaigns;
mod devices;
mod exports;
mod go;
mod launches;
mod parts;
mod people;
mod rubbish;
mod service;
mod suppression;
mod uploads;
