//! Dispatchers without workers, in simulated time on the embedded backend in memory: what they enqueue, close and declare.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod closing;
mod late;
mod pacing;
mod planning;
mod stage;
