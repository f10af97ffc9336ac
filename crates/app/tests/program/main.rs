//! The program as people run it: its commands, what it says when something is wrong, and the whole flow.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod bench;
mod demo;
mod faults;
mod logs;
mod mistakes;
mod nginx;
mod people;
mod roles;
mod support;
mod suppression;
mod uploads;
mod validate;
