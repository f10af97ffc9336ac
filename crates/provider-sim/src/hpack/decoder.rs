//! Reads header blocks. A repeated field is one byte and one look-up; only a new table entry allocates.

use super::table::{Entry, STATIC, Table};
use super::{Corrupt, Name, huffman, integer};

/// One connection's decoding state.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// What the peer may raise its table to: the larger of 4,096 and our setting until that is acknowledged.
    bytes_limit: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Where a string of a literal field lies.
pub(super) enum Text<'a> {
    Plain(&'a [u8]),
    /// It was Huffman-coded and now lies in the scratch buffer.
    Decoded,
}

impl Decoder {
    /// Starts with the protocol's 4,096 bytes; the peer may go up to `bytes_limit`.
    pub(crate) fn new(bytes_limit: usize) -> Self {
        let bytes_limit = bytes_limit.max(4_096);
        Self { table: Table::new(4_096), bytes_limit, name: Vec::new(), value: Vec::new() }
    }

    /// The peer acknowledged our table size.
    pub(crate) fn limit(&mut self, bytes_limit: usize) {
        self.bytes_limit = bytes_limit;
        if self.table.bytes_max() > bytes_limit {
            self.table.resize(bytes_limit);
        }
    }

    /// Changes whenever an earlier block, sent again, could mean something else.
    pub(crate) fn generation(&self) -> u64 {
        self.table.generation()
    }

    /// Shows every field of `block`, in order, to `visit`, and whether it was an indexed field.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut visit: impl FnMut(Name, &[u8], bool),
    ) -> Result<(), Corrupt> {
        let mut at = self.resize(block)?;
        while let Some(&first) = block.get(at) {
            match first {
                0x80.. => {
                    let index = integer::read(block, &mut at, 7)?;
                    let (name, value) = self.field(index)?;
                    visit(name, value, true);
                }
                0x40..0x80 => self.literal(block, &mut at, 6, true, &mut visit)?,
                0x20..0x40 => return Err(Corrupt),
                0..0x20 => self.literal(block, &mut at, 4, false, &mut visit)?,
            }
        }
        Ok(())
    }

    /// Takes the size updates, which may only open a block (RFC 7541, 4.2), and says where they end.
    fn resize(&mut self, block: &[u8]) -> Result<usize, Corrupt> {
        let mut at = 0;
        while block.get(at).is_some_and(|first| (0x20..0x40).contains(first)) {
            let bytes_max = integer::read(block, &mut at, 5)?;
            if bytes_max > self.bytes_limit {
                return Err(Corrupt);
            }
            self.table.resize(bytes_max);
        }
        Ok(at)
    }

    #[inline]
    pub(super) fn field(&self, index: usize) -> Result<(Name, &[u8]), Corrupt> {
        if let Some(entry) = index.checked_sub(62).and_then(|place| self.table.get(place)) {
            return Ok((entry.known, &entry.value));
        }
        let (name, value) = index.checked_sub(1).and_then(|place| STATIC.get(place)).ok_or(Corrupt)?;
        Ok((static_name(index, name), value.as_bytes()))
    }

    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        prefix_bits: u32,
        is_kept: bool,
        visit: &mut impl FnMut(Name, &[u8], bool),
    ) -> Result<(), Corrupt> {
        let index = integer::read(block, at, prefix_bits)?;
        let new_name = if index == 0 { Some(read_text(block, at, &mut self.name)?) } else { None };
        let value = read_text(block, at, &mut self.value)?;
        let value = match &value {
            Text::Plain(text) => text,
            Text::Decoded => self.value.as_slice(),
        };
        let new_name = new_name.as_ref().map(|name| match name {
            Text::Plain(text) => text,
            Text::Decoded => self.name.as_slice(),
        });
        let known = match new_name {
            Some(name) => Name::of(name),
            None => self.field(index)?.0,
        };
        visit(known, value, false);
        if is_kept {
            let entry = match new_name {
                Some(name) => Entry::new(name, value),
                None => Entry::new(self.name_at(index).ok_or(Corrupt)?, value),
            };
            self.table.insert(entry);
        }
        Ok(())
    }

    fn name_at(&self, index: usize) -> Option<&[u8]> {
        match index.checked_sub(62) {
            Some(place) => self.table.get(place).map(|entry| &*entry.name),
            None => STATIC.get(index.checked_sub(1)?).map(|(name, _)| name.as_bytes()),
        }
    }
}

/// The names of the static table that requests use all the time, without comparing texts.
fn static_name(index: usize, name: &str) -> Name {
    match index {
        1 => Name::Authority,
        2 | 3 => Name::Method,
        4 | 5 => Name::Path,
        6 | 7 => Name::Scheme,
        23 => Name::Authorization,
        _ => Name::of(name.as_bytes()),
    }
}

#[inline]
pub(super) fn read_text<'a>(
    block: &'a [u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<Text<'a>, Corrupt> {
    let is_huffman = block.get(*at).ok_or(Corrupt)? & 0x80 != 0;
    let length = integer::read(block, at, 7)?;
    let coded = block.get(*at..*at + length).ok_or(Corrupt)?;
    *at += length;
    if !is_huffman {
        return Ok(Text::Plain(coded));
    }
    scratch.clear();
    huffman::decode(coded, scratch)?;
    Ok(Text::Decoded)
}
