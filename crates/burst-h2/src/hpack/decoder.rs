//! Reads header blocks. `skim` answers the usual block without touching the table; `decode` reads everything.

use super::table::{DynamicTable, ENTRY_OVERHEAD};
use super::{huffman, integer};
use crate::field;

/// Size of the dynamic table until somebody says otherwise.
const TABLE_BYTES_DEFAULT: usize = 4096;

/// The block cannot be read; with it the compression state of the connection is lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HpackError(pub(crate) &'static str);

pub(crate) struct Decoder {
    table: DynamicTable,
    /// The SETTINGS_HEADER_TABLE_SIZE that we announced.
    table_bytes_max: usize,
    /// What the fields of a block may come to, counted as SETTINGS_MAX_HEADER_LIST_SIZE counts: an index of one byte may
    /// stand for a field of thousands.
    list_bytes_max: usize,
    name: Vec<u8>,
    value: Vec<u8>,
    skimmed: Skimmed,
}

/// What the last block was like that [`Decoder::skim`] could tell the status of. Answers of one server are alike: they
/// differ, if at all, in the value at their end, which is not looked at.
#[derive(Default)]
struct Skimmed {
    /// All of the block but the value that ends it; empty when nothing is known.
    begin: Vec<u8>,
    /// Length of the whole block.
    bytes: usize,
    status: u16,
}

impl Decoder {
    pub(crate) fn new(table_bytes_max: usize, list_bytes_max: usize) -> Decoder {
        Decoder {
            table: DynamicTable::new(table_bytes_max.min(TABLE_BYTES_DEFAULT)),
            table_bytes_max,
            list_bytes_max,
            name: Vec::new(),
            value: Vec::new(),
            skimmed: Skimmed::default(),
        }
    }

    /// The status of a block whose first field is an indexed `:status` of the static table, whose other names are sound
    /// and which changes no state; `None` when only [`Decoder::decode`] can tell. Values are not looked at.
    #[inline]
    pub(crate) fn skim(&mut self, block: &[u8]) -> Option<u16> {
        let Skimmed { begin, bytes, status } = &self.skimmed;
        if block.len() == *bytes && !begin.is_empty() && block.starts_with(begin) {
            return Some(*status);
        }
        self.skim_anew(block)
    }

    fn skim_anew(&mut self, whole: &[u8]) -> Option<u16> {
        const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        const KEPT_BYTES_MAX: usize = 128;
        let (&first, mut block) = whole.split_first()?;
        let status = *STATUSES.get(usize::from(first).wrapping_sub(0x88))?;
        let mut last_value_bytes = 0;
        while let Some(&byte) = block.first() {
            let prefix_bits = match byte {
                0x80.. => 7,
                0x00..=0x1f => 4,
                // Into a table of size 0 goes nothing: such a literal changes no state either.
                0x40..=0x7f if self.table.is_off() => 6,
                _ => return None,
            };
            let index = integer::take(&mut block, prefix_bits)?;
            if index == 0 {
                // With all seven bits it is no index at all; else the name follows.
                let (name, is_huffman) = (prefix_bits != 7).then(|| integer::take_string(&mut block))??;
                if !is_ordinary_name(name, is_huffman) {
                    return None;
                }
            } else if !self.table.is_ordinary(index) {
                return None;
            }
            last_value_bytes = if prefix_bits == 7 { 0 } else { integer::take_string(&mut block)?.0.len() };
        }
        let begin = &whole[..whole.len() - last_value_bytes];
        if begin.len() <= KEPT_BYTES_MAX {
            self.skimmed.begin.clear();
            self.skimmed.begin.extend_from_slice(begin);
            (self.skimmed.bytes, self.skimmed.status) = (whole.len(), status);
        }
        Some(status)
    }

    /// Reads a whole block and hands each field to `sink`.
    pub(crate) fn decode(
        &mut self,
        mut block: &[u8],
        mut sink: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        // It may change the table, and with it what other blocks mean.
        self.skimmed.begin.clear();
        let mut is_update_allowed = true;
        let mut list_bytes = 0;
        let list_bytes_max = self.list_bytes_max;
        let mut sink = |name: &[u8], value: &[u8]| {
            list_bytes += name.len() + value.len() + ENTRY_OVERHEAD;
            if list_bytes > list_bytes_max {
                return Err(HpackError("header list too long"));
            }
            sink(name, value);
            Ok(())
        };
        while let Some(&byte) = block.first() {
            match byte {
                0x80.. => self.indexed(&mut block, &mut sink)?,
                0x40..=0x7f => self.literal(&mut block, 6, true, &mut sink)?,
                0x20..=0x3f if is_update_allowed => {
                    self.update(&mut block)?;
                    continue;
                }
                0x20..=0x3f => return Err(HpackError("table size update after a field")),
                _ => self.literal(&mut block, 4, false, &mut sink)?,
            }
            is_update_allowed = false;
        }
        Ok(())
    }

    fn indexed(
        &mut self,
        block: &mut &[u8],
        sink: &mut impl FnMut(&[u8], &[u8]) -> Result<(), HpackError>,
    ) -> Result<(), HpackError> {
        let index = integer::take(block, 7).ok_or(HpackError("integer cut or too large"))?;
        let (name, value) = self.table.get(index).ok_or(HpackError("index beyond the table"))?;
        sink(name, value)
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix_bits: u32,
        is_indexing: bool,
        sink: &mut impl FnMut(&[u8], &[u8]) -> Result<(), HpackError>,
    ) -> Result<(), HpackError> {
        let index = integer::take(block, prefix_bits).ok_or(HpackError("integer cut or too large"))?;
        self.name.clear();
        if index == 0 {
            string(block, &mut self.name)?;
        } else {
            let (name, _) = self.table.get(index).ok_or(HpackError("index beyond the table"))?;
            self.name.extend_from_slice(name);
        }
        self.value.clear();
        string(block, &mut self.value)?;
        if is_indexing {
            self.table.insert(&self.name, &self.value);
        }
        sink(&self.name, &self.value)
    }

    fn update(&mut self, block: &mut &[u8]) -> Result<(), HpackError> {
        let bytes = integer::take(block, 5).ok_or(HpackError("integer cut or too large"))?;
        if bytes > self.table_bytes_max {
            return Err(HpackError("table size update beyond our limit"));
        }
        self.table.resize(bytes);
        Ok(())
    }
}

/// Neither a pseudo header nor a name that would make the answer malformed.
#[inline]
fn is_ordinary_name(name: &[u8], is_huffman: bool) -> bool {
    if !is_huffman {
        return field::is_name(name);
    }
    let mut text = [0; field::NAME_OF_HTTP_1_BYTES_MAX];
    let mut length = 0;
    let are_all = huffman::all(name, |byte| {
        if let Some(place) = text.get_mut(length) {
            *place = byte;
        }
        length += 1;
        field::is_name_byte(byte)
    });
    are_all && length > 0 && !text.get(..length).is_some_and(field::is_of_http_1)
}

fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let (text, is_huffman) =
        integer::take_string(block).ok_or(HpackError("string cut or longer than its block"))?;
    if is_huffman {
        huffman::decode(text, out).ok_or(HpackError("broken huffman code"))
    } else {
        out.extend_from_slice(text);
        Ok(())
    }
}

#[cfg(test)]
#[path = "decoder/tests.rs"]
mod tests;
