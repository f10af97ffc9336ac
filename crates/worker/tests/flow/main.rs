//! The flow of a launch from its triggers to its end: dispatchers, workers and the sending engine against simulators over
//! real TLS and HTTP/2, on the embedded backend in memory. What the simulators received is compared with the records.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod account;
mod burst;
mod clock;
mod crash;
mod holding;
mod late;
mod late_list;
mod stage;
