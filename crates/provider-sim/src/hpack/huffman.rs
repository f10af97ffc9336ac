//! The Huffman code of HPACK (RFC 7541, appendix B). It is canonical: the code lengths alone define it.

use std::sync::LazyLock;

use super::Corrupt;

/// Code length in bits of each byte, then of the end-of-string symbol.
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
const END_OF_STRING: u16 = 256;
const LENGTH_MAX: usize = 30;
/// Codes up to this length are found by one look-up: all of printable ASCII that tokens are made of.
const FAST_BITS: u32 = 10;

struct Code {
    /// By the next [`FAST_BITS`] bits: symbol and length, or length 0 when the code is longer.
    fast: Vec<(u8, u8)>,
    /// Symbols in the order of their codes.
    symbols: Vec<u16>,
    /// By length: the first code, left-aligned to 32 bits, one past the last, and the first's place in `symbols`.
    ranges: [(u64, u64, usize); LENGTH_MAX + 1],
}

static CODE: LazyLock<Code> = LazyLock::new(Code::build);

impl Code {
    fn build() -> Self {
        let mut symbols: Vec<u16> = (0..=END_OF_STRING).collect();
        symbols.sort_by_key(|symbol| (LENGTHS[usize::from(*symbol)], *symbol));
        let mut code =
            Code { fast: vec![(0, 0); 1 << FAST_BITS], symbols, ranges: [(0, 0, 0); LENGTH_MAX + 1] };
        let (mut next, mut place) = (0u64, 0usize);
        for length in 1..=LENGTH_MAX {
            let (first, first_place) = (next, place);
            while place < code.symbols.len()
                && usize::from(LENGTHS[usize::from(code.symbols[place])]) == length
            {
                code.note_fast(next, length as u32, code.symbols[place]);
                next += 1u64 << (32 - length);
                place += 1;
            }
            code.ranges[length] = (first, next, first_place);
        }
        code
    }

    fn note_fast(&mut self, aligned: u64, length: u32, symbol: u16) {
        if length <= FAST_BITS {
            let first = (aligned >> (32 - FAST_BITS)) as usize;
            self.fast[first..first + (1 << (FAST_BITS - length))].fill((symbol as u8, length as u8));
        }
    }

    /// The symbol at the front of `window` (32 bits, left-aligned) and its length.
    fn slow(&self, window: u64) -> Option<(u16, u32)> {
        (FAST_BITS as usize + 1..=LENGTH_MAX).find_map(|length| {
            let (first, end, place) = self.ranges[length];
            let is_in = first <= window && window < end;
            is_in.then(|| (self.symbols[place + ((window - first) >> (32 - length)) as usize], length as u32))
        })
    }
}

/// Appends the text of `coded` to `out`.
pub(crate) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let code = &*CODE;
    let (mut bits, mut bit_count) = (0u64, 0u32);
    let mut bytes = coded.iter();
    loop {
        while bit_count <= 56 {
            let Some(byte) = bytes.next() else { break };
            bits |= u64::from(*byte) << (56 - bit_count);
            bit_count += 8;
        }
        let (symbol, length) = match code.fast[(bits >> (64 - FAST_BITS)) as usize] {
            (_, 0) => match code.slow(bits >> 32) {
                Some(found) => found,
                None => return is_padding(bits, bit_count),
            },
            (symbol, length) => (u16::from(symbol), u32::from(length)),
        };
        if length > bit_count {
            return is_padding(bits, bit_count);
        }
        if symbol == END_OF_STRING {
            return Err(Corrupt);
        }
        out.push(symbol as u8);
        bits <<= length;
        bit_count -= length;
    }
}

/// What is left must be less than a byte of ones (RFC 7541, 5.2).
fn is_padding(bits: u64, bit_count: u32) -> Result<(), Corrupt> {
    let is_ones = bit_count == 0 || (bits >> (64 - bit_count)) == (1 << bit_count) - 1;
    if bit_count < 8 && is_ones { Ok(()) } else { Err(Corrupt) }
}
