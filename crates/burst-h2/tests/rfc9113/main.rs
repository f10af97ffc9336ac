//! The duties of a client in RFC 9113, each as a test named by its section, on the connection machine as its users see it.
//! `docs/conformance.md` lists them and says where we differ on purpose.
#![allow(clippy::unwrap_used, reason = "all of it is test code")]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../transcript/mod.rs"]
mod transcript;

mod ch03_starting;
mod ch04_frames;
mod ch05_states;
mod ch05_streams;
mod ch06_data_and_headers;
mod ch06_flow_control;
mod ch06_goaway_and_ping;
mod ch06_settings;
mod ch07_error_codes;
mod ch08_fields;
mod ch08_messages;
mod ch09_connections;
mod ch10_security;
mod documented;
mod properties;
