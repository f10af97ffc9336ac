//! The engine against simulators over real TLS and HTTP/2: what it says and what they received, compared.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod accepting;
mod faults;
mod holding;
mod outside;
mod pools;
mod rig;
