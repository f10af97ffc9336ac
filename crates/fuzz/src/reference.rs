//! A decoder of RFC 7541 as plain as can be, to compare with: it walks Huffman code bit by bit and counts its table anew
//! each time. The static table and the code it takes from an independent codec, which is right on sound input but must
//! not be given any other.

use std::collections::HashMap;
use std::sync::LazyLock;

use httlib_hpack::{Decoder, Encoder};

pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Limits of ours that the RFC leaves to an implementation.
const INTEGER_MAX: u64 = 1 << 28;
const INTEGER_BYTES_MAX: usize = 5;
const LIST_BYTES_MAX: usize = 16_384;

static STATIC: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let mut fields = Vec::new();
    Decoder::default()
        .decode(&mut (0x81..=0x80 + 61).collect(), &mut fields)
        .expect("the static table is there");
    fields.into_iter().map(|(name, value, _)| (name, value)).collect()
});

/// By length and bits, the byte. Eight times the same byte is its code eight times and no padding.
static CODES: LazyLock<HashMap<(usize, u32), u8>> = LazyLock::new(|| {
    let code_of = |byte: u8| {
        let mut block = Vec::new();
        let field = (b"x".to_vec(), vec![byte; 8], Encoder::HUFFMAN_VALUE);
        Encoder::with_dynamic_size(0).encode(field, &mut block).expect("any value can be written");
        let coded = &block[4..];
        let first = u32::from_be_bytes([0, 1, 2, 3].map(|at| coded.get(at).copied().unwrap_or(0)));
        ((coded.len(), first >> (32 - coded.len())), byte)
    };
    (0..=255).map(code_of).collect()
});

pub(crate) struct Reference {
    /// Newest first.
    entries: Vec<Pair>,
    bytes_max: usize,
    announced: usize,
}

impl Reference {
    pub(crate) fn new(announced: usize) -> Self {
        Self { entries: Vec::new(), bytes_max: announced.min(4096), announced }
    }

    /// The fields of a block; `None` when there is anything wrong with it.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Option<Vec<Pair>> {
        let mut fields: Vec<Pair> = Vec::new();
        while let Some(&first) = block.first() {
            let bits = first.leading_zeros();
            let field = match bits {
                0 => self.field(integer(&mut block, 7)?)?,
                1 => {
                    let field = self.literal(&mut block, 6)?;
                    self.entries.insert(0, field.clone());
                    self.evict();
                    field
                }
                2 => {
                    self.bytes_max = integer(&mut block, 5)?;
                    if self.bytes_max > self.announced || !fields.is_empty() {
                        return None;
                    }
                    self.evict();
                    continue;
                }
                _ => self.literal(&mut block, 4)?,
            };
            fields.push(field);
            if size(&fields) > LIST_BYTES_MAX {
                return None;
            }
        }
        Some(fields)
    }

    fn evict(&mut self) {
        while size(&self.entries) > self.bytes_max {
            self.entries.pop();
        }
    }

    fn field(&self, index: usize) -> Option<Pair> {
        STATIC.iter().chain(&self.entries).nth(index.checked_sub(1)?).cloned()
    }

    fn literal(&self, block: &mut &[u8], bits: u32) -> Option<Pair> {
        let name = match integer(block, bits)? {
            0 => string(block)?,
            index => self.field(index)?.0,
        };
        Some((name, string(block)?))
    }
}

fn size(fields: &[Pair]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
}

fn integer(block: &mut &[u8], bits: u32) -> Option<usize> {
    let max = (1u64 << bits) - 1;
    let mut value = u64::from(*block.split_off_first()?) & max;
    if value == max {
        for position in 0.. {
            let byte = *block.split_off_first()?;
            if position == INTEGER_BYTES_MAX {
                return None;
            }
            value += u64::from(byte % 128) << (7 * position);
            if byte < 128 {
                break;
            }
        }
    }
    (value <= INTEGER_MAX).then_some(value as usize)
}

fn string(block: &mut &[u8]) -> Option<Vec<u8>> {
    let is_huffman = *block.first()? >= 128;
    let length = integer(block, 7)?;
    let text = block.split_off(..length)?;
    if is_huffman { huffman(text) } else { Some(text.to_vec()) }
}

fn huffman(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let (mut length, mut bits) = (0, 0u32);
    for byte in coded {
        for place in (0..8).rev() {
            bits = bits << 1 | u32::from(byte >> place & 1);
            length += 1;
            if let Some(&symbol) = CODES.get(&(length, bits)) {
                text.push(symbol);
                (length, bits) = (0, 0);
            } else if length == 30 {
                // The only code of this length that stands for no byte is the end of the string.
                return None;
            }
        }
    }
    (length < 8 && bits == (1 << length) - 1).then_some(text)
}
