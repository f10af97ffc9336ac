//! The duties of an endpoint in RFC 7541 (HPACK), each as a test named by its section: our decoder by the answers that a
//! connection reads, our encoder by the requests that it writes, against an independent codec and the RFC's examples.
#![allow(clippy::unwrap_used, reason = "all of it is test code")]

#[path = "../transcript/mod.rs"]
mod transcript;

mod decoding;
mod encoding;
mod examples;

use burst_h2::ConnectionConfig;
use transcript::Wire;
use transcript::frames::answer;

/// A connection whose answers may use a table of this size, with requests open on the streams 1 to 39.
fn with_table(bytes: u32) -> Wire {
    let config = ConnectionConfig { header_table_bytes: bytes, ..ConnectionConfig::default() };
    let mut wire = Wire::configured(config, &[]);
    wire.client_starts_many(20);
    wire
}

/// Bytes from hexadecimal digits and white space.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The fields of an answer with `:status 404` and this block behind it, on a stream.
fn read(wire: &mut Wire, stream: u32, block: &[u8]) -> String {
    wire.peer_sends(answer(stream, &[&[0x8d][..], block].concat()));
    let told = wire.told();
    let (_, fields) = told[0].split_once(" answered 404").unwrap_or_else(|| panic!("{told:?}"));
    fields.trim().to_owned()
}
