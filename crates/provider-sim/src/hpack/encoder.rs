//! Writes answer headers, with a dynamic table when the client allows one. Texts are never Huffman-coded:
//! constant fields are sent once, and what changes with every answer is cheaper to copy than to compress.

use super::table::{Entry, STATIC, Table};
use super::{ENTRY_OVERHEAD_BYTES, integer};

/// A table smaller than this would only churn: everything is then sent as literals.
const USEFUL_TABLE_BYTES: usize = 1_024;

/// One connection's encoding state.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table,
    /// What we would use if the client allows it.
    wanted_bytes: usize,
    /// Sizes to announce before the next field: the smallest since the last block, then the last.
    updates: Option<(usize, usize)>,
}

impl Encoder {
    /// Uses at most `wanted_bytes`, and the protocol's 4,096 until the client says otherwise.
    pub(crate) fn new(wanted_bytes: usize) -> Self {
        let bytes = wanted_bytes.min(4_096);
        let updates = (bytes != 4_096).then_some((bytes, bytes));
        Self { table: Table::new(bytes), wanted_bytes, updates }
    }

    /// The client's SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn allow(&mut self, bytes: usize) {
        let bytes = bytes.min(self.wanted_bytes);
        if bytes != self.table.bytes_max() {
            let smallest = self.updates.map_or(bytes, |(smallest, _)| smallest.min(bytes));
            self.updates = Some((smallest, bytes));
            self.table.resize(bytes);
        }
    }

    /// Changes whenever an earlier block, sent again, could mean something else.
    pub(crate) fn generation(&self) -> u64 {
        self.table.generation()
    }

    /// Whether the next block has to announce table sizes.
    pub(crate) fn has_updates(&self) -> bool {
        self.updates.is_some()
    }

    /// Opens a block: announces table sizes that changed.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some((smallest, last)) = self.updates.take() else { return };
        integer::write(smallest, 5, 0x20, out);
        if last != smallest {
            integer::write(last, 5, 0x20, out);
        }
    }

    /// A field that will come again: indexed, or else kept in the table when that is worth while.
    pub(crate) fn constant(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if let Some(index) = self.find(name, value) {
            return integer::write(index, 7, 0x80, out);
        }
        if self.fits(name, value) {
            self.insert(name, value, out);
        } else {
            self.literal(name, value, out);
        }
    }

    /// A field whose name will come again, with other values: kept once for its name, a literal after that.
    pub(crate) fn named(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if self.find_name(name).is_none() && self.fits(name, value) {
            self.insert(name, value, out);
        } else {
            self.literal(name, value, out);
        }
    }

    fn fits(&self, name: &[u8], value: &[u8]) -> bool {
        let table_bytes = self.table.bytes_max();
        table_bytes >= USEFUL_TABLE_BYTES
            && name.len() + value.len() + ENTRY_OVERHEAD_BYTES <= table_bytes / 2
    }

    fn insert(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.write_name(name, 6, 0x40, out);
        write_text(value, out);
        self.table.insert(Entry::new(name, value));
    }

    fn literal(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.write_name(name, 4, 0, out);
        write_text(value, out);
    }

    fn write_name(&self, name: &[u8], prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
        match self.find_name(name) {
            Some(index) => integer::write(index, prefix_bits, pattern, out),
            None => {
                out.push(pattern);
                write_text(name, out);
            }
        }
    }

    fn find(&self, name: &[u8], value: &[u8]) -> Option<usize> {
        let in_static = STATIC.iter().position(|(n, v)| n.as_bytes() == name && v.as_bytes() == value);
        let in_table = || self.table.iter().position(|entry| *entry.name == *name && *entry.value == *value);
        in_static.map(|place| place + 1).or_else(|| in_table().map(|place| place + 62))
    }

    fn find_name(&self, name: &[u8]) -> Option<usize> {
        let in_static = STATIC.iter().position(|(n, _)| n.as_bytes() == name);
        let in_table = || self.table.iter().position(|entry| *entry.name == *name);
        in_static.map(|place| place + 1).or_else(|| in_table().map(|place| place + 62))
    }
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    integer::write(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}
