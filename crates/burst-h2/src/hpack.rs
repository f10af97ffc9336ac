//! Header compression, RFC 7541. The encoder is made for requests that are nearly equal; the decoder reads everything.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod table;

pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;
