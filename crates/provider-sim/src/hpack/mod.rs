//! HPACK (RFC 7541), written for this simulator alone: it shares no code with the sender it is to judge.
//! `decoder` reads request headers without allocating for repeated ones, `encoder` writes answer headers.

pub(crate) mod decoder;
pub(crate) mod encoder;
pub(crate) mod huffman;
mod integer;
mod name;
mod shape;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;
pub(crate) use name::Name;
pub(crate) use shape::Shape;

/// A header block that cannot be decoded: COMPRESSION_ERROR, fatal for the connection (RFC 9113, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// What an entry costs beyond its bytes (RFC 7541, 4.1).
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 32;
