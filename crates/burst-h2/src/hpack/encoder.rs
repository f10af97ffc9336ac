//! Writes the header blocks of requests that are nearly equal: after the first of a template, constants are a byte or
//! two each, and the block is the same from then on but for its values ([`Encoder::settled`]).

use std::collections::VecDeque;

use super::integer;
use super::table::{ENTRY_OVERHEAD, STATIC_COUNT, static_index, static_name_index};
use crate::image::Block;
use crate::request::Values;
use crate::template::{Field, Template, put_value};

/// The table we make use of, however large a one the peer offers: enough for the constants of several templates.
const TABLE_BYTES_MAX: usize = 4096;

/// What we put into the peer's dynamic table. The text stays in the template.
struct Entry {
    template: Template,
    /// Index of the field in the template.
    field: usize,
    bytes: usize,
}

impl Entry {
    fn name(&self) -> &[u8] {
        self.template.fields()[self.field].name().as_bytes()
    }

    /// `None` for a varying field, which was entered for its name only.
    fn value(&self) -> Option<&[u8]> {
        match &self.template.fields()[self.field] {
            Field::Constant { value, .. } => Some(value),
            Field::Varying { .. } => None,
        }
    }
}

/// How a field is written, given what the peer's table holds.
enum Form {
    Indexed(usize),
    /// With the name's index, 0 where the name is written in full.
    Literal(usize),
    Inserted(usize),
}

pub(crate) struct Encoder {
    /// Newest first, as indices count.
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// A change of table size to tell in the next block: the smallest since the last one.
    update: Option<usize>,
    /// Counts changes of the table: a settled block is good for one value only.
    generation: u64,
}

impl Encoder {
    pub(crate) fn new() -> Encoder {
        Encoder {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max: TABLE_BYTES_MAX,
            update: None,
            generation: 0,
        }
    }

    /// The peer announced SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn set_table_bytes(&mut self, announced: usize) {
        let bytes_max = announced.min(TABLE_BYTES_MAX);
        if bytes_max == self.bytes_max {
            return;
        }
        self.update = Some(self.update.map_or(bytes_max, |smallest| smallest.min(bytes_max)));
        self.bytes_max = bytes_max;
        self.evict_to(bytes_max);
        self.generation += 1;
    }

    /// Changes with the table.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Appends the block of one request, telling the peer what it does not know yet.
    ///
    /// # Panics
    /// When the number of values is not the template's.
    pub(crate) fn encode(&mut self, template: &Template, values: &(impl Values + ?Sized), out: &mut Vec<u8>) {
        assert_eq!(values.count(), template.varying_count(), "one value for each varying place");
        if let Some(smallest) = self.update.take() {
            if smallest < self.bytes_max {
                integer::put(out, 0x20, 5, smallest);
            }
            integer::put(out, 0x20, 5, self.bytes_max);
        }
        let mut place = 0;
        let mut room = self.bytes_max;
        for (position, field) in template.fields().iter().enumerate() {
            let value_bytes = match field {
                Field::Constant { value, .. } => value.len(),
                Field::Varying { .. } => values.bytes(place),
            };
            match self.form(field, value_bytes, &mut room) {
                Form::Indexed(index) => {
                    integer::put(out, 0x80, 7, index);
                    continue;
                }
                Form::Literal(name) => put_name(out, 0x00, 4, name, field.name()),
                Form::Inserted(name) => {
                    put_name(out, 0x40, 6, name, field.name());
                    self.insert(template, position, value_bytes);
                }
            }
            match field {
                Field::Constant { value, .. } => integer::put_string(out, value),
                Field::Varying { .. } => {
                    integer::put(out, 0, 7, value_bytes);
                    put_value(values, place, out);
                    place += 1;
                }
            }
        }
    }

    /// Chooses the form. `room` is what the fields of this template may still take of the table together: one that
    /// does not fit beside the others goes as a literal each time rather than pushing them out.
    fn form(&self, field: &Field, value_bytes: usize, room: &mut usize) -> Form {
        let name = field.name().as_bytes();
        let bytes = name.len() + value_bytes + ENTRY_OVERHEAD;
        let (known, name_known) = self.find(field);
        let mut fits = |bytes| {
            let left = room.checked_sub(bytes);
            *room = left.unwrap_or(*room);
            left.is_some()
        };
        match known {
            Some(index) if index <= STATIC_COUNT => Form::Indexed(index),
            Some(index) => {
                fits(bytes);
                Form::Indexed(index)
            }
            None => match field {
                Field::Varying { .. } if name_known > STATIC_COUNT => {
                    fits(self.entries[name_known - STATIC_COUNT - 1].bytes);
                    Form::Literal(name_known)
                }
                Field::Varying { .. } if name_known != 0 => Form::Literal(name_known),
                _ if fits(bytes) => Form::Inserted(name_known),
                _ => Form::Literal(name_known),
            },
        }
    }

    /// The index of the whole field and that of its name, 0 when there is none.
    fn find(&self, field: &Field) -> (Option<usize>, usize) {
        let name = field.name().as_bytes();
        let mut name_index = static_name_index(name).unwrap_or(0);
        let wanted = match field {
            Field::Constant { value, .. } => Some(&value[..]),
            Field::Varying { .. } => None,
        };
        if let Some(value) = wanted
            && let Some(index) = static_index(name, value)
        {
            return (Some(index), index);
        }
        for (position, entry) in self.entries.iter().enumerate() {
            if entry.name() != name {
                continue;
            }
            let index = STATIC_COUNT + 1 + position;
            if wanted.is_some() && entry.value() == wanted {
                return (Some(index), index);
            }
            if name_index == 0 {
                name_index = index;
            }
        }
        (None, name_index)
    }

    fn insert(&mut self, template: &Template, field: usize, value_bytes: usize) {
        let bytes = template.fields()[field].name().len() + value_bytes + ENTRY_OVERHEAD;
        self.evict_to(self.bytes_max - bytes);
        self.bytes += bytes;
        self.entries.push_front(Entry { template: template.clone(), field, bytes });
        self.generation += 1;
    }

    fn evict_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= entry.bytes;
        }
    }

    /// The block of the next request of this template with values of the same lengths; `None` if that would change the
    /// table or has a change of it to tell.
    pub(crate) fn settled(&self, template: &Template, values: &(impl Values + ?Sized)) -> Option<Block> {
        if self.update.is_some() {
            return None;
        }
        let mut block = Block::default();
        let mut place = 0;
        let mut room = self.bytes_max;
        for field in template.fields() {
            let value_bytes = if let Field::Constant { value, .. } = field { value.len() } else { 0 };
            match (self.form(field, value_bytes, &mut room), field) {
                (Form::Indexed(index), _) => integer::put(&mut block.bytes, 0x80, 7, index),
                (Form::Literal(name) | Form::Inserted(name), Field::Varying { .. }) => {
                    put_name(&mut block.bytes, 0x00, 4, name, field.name());
                    integer::put(&mut block.bytes, 0, 7, values.bytes(place));
                    block.leave(values.bytes(place));
                    place += 1;
                }
                (Form::Literal(name), Field::Constant { value, .. }) => {
                    put_name(&mut block.bytes, 0x00, 4, name, field.name());
                    integer::put_string(&mut block.bytes, value);
                }
                // Something newer pushed it out: it goes in again with the next request.
                (Form::Inserted(_), Field::Constant { .. }) => return None,
            }
        }
        Some(block)
    }
}

fn put_name(out: &mut Vec<u8>, pattern: u8, prefix_bits: u32, index: usize, name: &str) {
    integer::put(out, pattern, prefix_bits, index);
    if index == 0 {
        integer::put_string(out, name.as_bytes());
    }
}

#[cfg(test)]
#[path = "encoder/tests.rs"]
mod tests;
