//! The engine against simulators over real TLS and HTTP/2: what it says and what they received, compared.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod accepting;
mod campaigns;
mod capture;
mod faults;
mod holding;
mod oracle;
mod outside;
mod pools;
mod rig;
mod storms;
mod stragglers;
mod validating;
