//! The Huffman code of RFC 7541, appendix B, read only. The code is canonical, so the lengths of its words say all.

/// Bits of the code word of each byte; the 257th is the end-of-string mark.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

const LENGTH_MAX: usize = 30;
const END_OF_STRING: u16 = 256;
/// Words of up to this many bits, which is nearly all text, are found with one look.
const SHORT_BITS: u32 = 9;

struct Code {
    /// Symbols in the order of their code words.
    symbols: [u16; 257],
    /// For each length: the first code word beyond those of this length, left-aligned in 32 bits.
    beyond: [u32; LENGTH_MAX + 1],
    /// For each length: index in `symbols` of its first word.
    first: [u16; LENGTH_MAX + 1],
    /// By the next nine bits: symbol and length, length 0 where the word is longer.
    short: [(u8, u8); 1 << SHORT_BITS],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut code = Code {
        symbols: [0; 257],
        beyond: [0; LENGTH_MAX + 1],
        first: [0; LENGTH_MAX + 1],
        short: [(0, 0); 1 << SHORT_BITS],
    };
    let mut next: u64 = 0;
    let mut count = 0;
    let mut length = 1;
    while length <= LENGTH_MAX {
        code.first[length] = count as u16;
        let step = 1u64 << (32 - length);
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                code.symbols[count] = symbol as u16;
                count += 1;
                if length <= SHORT_BITS as usize {
                    let mut look = next >> (32 - SHORT_BITS);
                    let until = (next + step) >> (32 - SHORT_BITS);
                    while look < until {
                        code.short[look as usize] = (symbol as u8, length as u8);
                        look += 1;
                    }
                }
                next += step;
            }
            symbol += 1;
        }
        code.beyond[length] = if next > u32::MAX as u64 { u32::MAX } else { next as u32 };
        length += 1;
    }
    code
}

/// Appends the decoded text; `None` when it holds the end-of-string mark or ends in anything but at most seven 1-bits.
pub(crate) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    each_symbol(coded, |symbol| {
        out.push(symbol);
        true
    })
}

/// Whether it is sound code for a text all of whose bytes are wanted; nothing is kept of it.
pub(crate) fn all(coded: &[u8], is_wanted: impl FnMut(u8) -> bool) -> bool {
    each_symbol(coded, is_wanted).is_some()
}

#[inline]
fn each_symbol(coded: &[u8], mut takes: impl FnMut(u8) -> bool) -> Option<()> {
    let mut bits: u64 = 0;
    let mut count: u32 = 0;
    let mut coded = coded.iter();
    loop {
        while count <= 32 {
            let Some(&byte) = coded.next() else { break };
            bits |= u64::from(byte) << (56 - count);
            count += 8;
        }
        if count == 0 {
            return Some(());
        }
        let look = (bits >> 32) as u32;
        let (symbol, length) = next_symbol(look);
        if length > count {
            // What is left is padding: fewer than eight bits, all ones.
            let padding = u64::MAX << (64 - count);
            return (count < 8 && bits == padding).then_some(());
        }
        if symbol == END_OF_STRING || !takes(symbol as u8) {
            return None;
        }
        bits <<= length;
        count -= length;
    }
}

#[inline]
fn next_symbol(look: u32) -> (u16, u32) {
    let (symbol, length) = CODE.short[(look >> (32 - SHORT_BITS)) as usize];
    if length != 0 {
        return (u16::from(symbol), u32::from(length));
    }
    let mut length = SHORT_BITS as usize + 1;
    while length < LENGTH_MAX && look >= CODE.beyond[length] {
        length += 1;
    }
    let base = CODE.beyond[length - 1];
    let index = CODE.first[length] as usize + ((look - base) >> (32 - length)) as usize;
    (CODE.symbols[index.min(256)], length as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hex: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        decode(hex, &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn examples_of_rfc_7541_c_4_and_c_6() {
        let host = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(text(&host).as_deref(), Some("www.example.com"));
        assert_eq!(text(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).as_deref(), Some("no-cache"));
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
            0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(text(&date).as_deref(), Some("Mon, 21 Oct 2013 20:13:21 GMT"));
    }

    #[test]
    fn wrong_padding_is_refused() {
        assert_eq!(text(&[0x1f]).as_deref(), Some("a"));
        assert_eq!(text(&[0x18]), None, "padding of zeros");
        assert_eq!(text(&[0x1f, 0xff]), None, "padding of a byte or more");
    }

    #[test]
    fn the_end_of_string_mark_is_refused() {
        assert_eq!(text(&[0xff, 0xff, 0xff, 0xff]), None);
    }
}
