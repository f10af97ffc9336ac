//! Keys as they are shown: files with hashes can be compared with each other, and nothing can be sent to them.

/// The first bytes of BLAKE3 of a key's text, as hex: tells keys apart and cannot be sent to.
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Bytes of a key's BLAKE3 hash that are shown: enough that no two keys of an audience look alike.
    pub const BYTES: usize = 16;

    /// Of a key's text.
    pub fn of(key: &[u8]) -> Self {
        Self::of_hash(Self::bytes(key))
    }

    /// The bytes of which the text is made.
    pub fn bytes(key: &[u8]) -> [u8; Self::BYTES] {
        *blake3::hash(key).as_bytes().first_chunk().expect("a hash has 32 bytes")
    }

    /// Of those bytes.
    pub fn of_hash(hash: [u8; Self::BYTES]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 2 * Self::BYTES];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(hash) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self(hex)
    }

    /// The hex digits.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }
}
