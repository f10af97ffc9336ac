//! Transcripts of the wire: what a client sends, and what the connection answers.

mod faults;
mod protocol;
mod requests;
mod storms;
mod wire;
