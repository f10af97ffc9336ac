//! Integers and raw string literals of RFC 7541, section 5.

/// Values beyond this are refused: nothing that a header block counts is larger.
const VALUE_MAX: u64 = 1 << 28;

/// Writes `value` with an N-bit prefix; `first` holds the pattern in the bits above the prefix.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, first: u8, prefix_bits: u32, value: usize) {
    let prefix_max = (1usize << prefix_bits) - 1;
    if value < prefix_max {
        out.push(first | value as u8);
        return;
    }
    out.push(first | prefix_max as u8);
    let mut rest = value - prefix_max;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes a string literal without Huffman coding: it would save a few bytes and cost both sides CPU on every request.
#[inline]
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Reads an integer with an N-bit prefix from the front of `block`.
#[inline]
pub(crate) fn take(block: &mut &[u8], prefix_bits: u32) -> Option<usize> {
    let (&first, mut rest) = block.split_first()?;
    let prefix_max = (1u64 << prefix_bits) - 1;
    let mut value = u64::from(first) & prefix_max;
    if value == prefix_max {
        let mut shift = 0;
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            if shift > 28 {
                return None;
            }
            value += u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    (value <= VALUE_MAX).then_some(value as usize)
}

/// Reads a string literal: its bytes as they stand, and whether they are Huffman coded.
#[inline]
pub(crate) fn take_string<'a>(block: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
    let is_huffman = block.first()? & 0x80 != 0;
    let length = take(block, 7)?;
    if length > block.len() {
        return None;
    }
    let (text, rest) = block.split_at(length);
    *block = rest;
    Some((text, is_huffman))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_7541_c_1() {
        let mut out = Vec::new();
        put(&mut out, 0, 5, 10);
        put(&mut out, 0, 5, 1337);
        put(&mut out, 0, 8, 42);
        assert_eq!(out, [0x0a, 0x1f, 0x9a, 0x0a, 0x2a]);
        let mut block = &out[..];
        assert_eq!(take(&mut block, 5), Some(10));
        assert_eq!(take(&mut block, 5), Some(1337));
        assert_eq!(take(&mut block, 8), Some(42));
        assert!(block.is_empty());
    }

    #[test]
    fn endless_and_cut_integers_are_refused() {
        assert_eq!(take(&mut &[0xff; 20][..], 7), None);
        assert_eq!(take(&mut &[0xff][..], 7), None);
        assert_eq!(take(&mut &[][..], 7), None);
        assert_eq!(take(&mut &[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f][..], 7), None);
    }

    #[test]
    fn a_string_longer_than_its_block_is_refused() {
        assert_eq!(take_string(&mut &[0x05, b'a'][..]), None);
    }
}
