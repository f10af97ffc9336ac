//! The spill file: sorted segments of what did not fit in memory.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use super::source::Sorted;
use crate::error::Error;
use crate::file::Unfinished;
use crate::window::ByteReader;

/// The file has no name any more, so nothing is left of it when the process dies.
pub(super) struct Spill {
    file: File,
    path: PathBuf,
    pub(super) segments: Vec<Segment>,
}

/// Users between two places that are known: finding one reads half as many on average.
const USERS_APART: u64 = 32;

/// A list of users of which every [`USERS_APART`]th is known by its place in the file.
pub(super) struct Indexed {
    pub(super) list: Stretch,
    offsets: Vec<u64>,
}

/// What was in memory when it was full.
pub(super) struct Segment {
    /// User ids, each after its length in two bytes. Rows name users by their place in this list.
    pub(super) users: Stretch,
    /// Rows and the duplicates among them that were remembered, by bucket and sorted by its number.
    buckets: Vec<(u32, [Stretch; 2])>,
}

impl Segment {
    /// The rows of a bucket and its duplicates, if the segment has any.
    pub(super) fn stretches_of(&self, bucket: u32) -> Option<[Stretch; 2]> {
        let index = self.buckets.binary_search_by_key(&bucket, |(number, _)| *number).ok()?;
        Some(self.buckets[index].1)
    }
}

/// A part of the file that holds sorted items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    at: u64,
    end: u64,
    pub(super) items: u64,
}

impl Spill {
    pub(super) fn new(folder: &Path) -> Result<Self, Error> {
        let unfinished = Unfinished::new(folder)?;
        let file = unfinished.file.try_clone().map_err(Error::io("open", &unfinished.path))?;
        Ok(Self { file, path: unfinished.path.clone(), segments: Vec::new() })
    }

    /// Appends a segment.
    pub(super) fn write(&mut self, held: &Sorted) -> Result<(), Error> {
        let users = self.append(|out| held.users.ids().try_for_each(|id| out.write_id(id)))?;
        let mut buckets = Vec::new();
        for (number, bucket) in held.buckets() {
            let rows = self.append(|out| bucket.rows().try_for_each(|row| out.write(row.0, &[])))?;
            let lost = self.append(|out| bucket.lost().try_for_each(|(row, _)| out.write(row.0, &[])))?;
            buckets.push((number, [rows, lost]));
        }
        self.segments.push(Segment { users, buckets });
        Ok(())
    }

    /// Appends the items that `fill` writes.
    pub(super) fn append(
        &self,
        fill: impl FnOnce(&mut StretchWriter<'_>) -> Result<(), Error>,
    ) -> Result<Stretch, Error> {
        let at = self.position()?;
        let out = BufWriter::with_capacity(WRITE_BYTES, &self.file);
        let mut writer = StretchWriter { out, path: &self.path, items: 0, bytes: 0 };
        fill(&mut writer)?;
        writer.out.flush().map_err(Error::io("write", &self.path))?;
        let items = writer.items;
        Ok(Stretch { at, end: self.position()?, items })
    }

    /// Appends the users that `fill` writes.
    pub(super) fn append_users(
        &self,
        fill: impl FnOnce(&mut UsersWriter<'_, '_>) -> Result<(), Error>,
    ) -> Result<Indexed, Error> {
        let mut offsets = Vec::new();
        let list = self.append(|out| fill(&mut UsersWriter { out, offsets: &mut offsets }))?;
        Ok(Indexed { list, offsets })
    }

    /// Puts the id of the user at a place of `users` into `id`; false if there is none.
    pub(super) fn read_user(&self, users: &Indexed, place: u32, id: &mut Vec<u8>) -> Result<bool, Error> {
        let place = u64::from(place);
        let (known, behind) = (place / USERS_APART, place % USERS_APART);
        let Some(offset) = users.offsets.get(known as usize) else { return Ok(false) };
        let Stretch { at, end, items } = users.list;
        let from = Stretch { at: at + offset, end, items: items - known * USERS_APART };
        let mut cursor = self.read(from, USERS_READ_BYTES);
        for _ in 0..=behind {
            if !cursor.read_id(id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn position(&self) -> Result<u64, Error> {
        (&self.file).stream_position().map_err(Error::io("write", &self.path))
    }

    /// Reads a stretch from its start, `buffer_bytes` at a time.
    pub(super) fn read(&self, stretch: Stretch, buffer_bytes: usize) -> Cursor<'_> {
        let Stretch { at, end, items } = stretch;
        Cursor { bytes: ByteReader::new(&self.file, &self.path, at..end, buffer_bytes), items }
    }
}

const WRITE_BYTES: usize = 256 << 10;
/// Read for one user: [`USERS_APART`] ids of usual length.
const USERS_READ_BYTES: usize = 2 << 10;

/// Writes users one after the other.
pub(super) struct UsersWriter<'a, 'b> {
    out: &'a mut StretchWriter<'b>,
    offsets: &'a mut Vec<u64>,
}

impl UsersWriter<'_, '_> {
    pub(super) fn write(&mut self, id: &[u8]) -> Result<(), Error> {
        if self.out.items.is_multiple_of(USERS_APART) {
            self.offsets.push(self.out.bytes);
        }
        self.out.write_id(id)
    }
}

/// Writes items one after the other.
pub(super) struct StretchWriter<'a> {
    out: BufWriter<&'a File>,
    path: &'a Path,
    items: u64,
    bytes: u64,
}

impl StretchWriter<'_> {
    fn write(&mut self, head: &[u8], body: &[u8]) -> Result<(), Error> {
        self.items += 1;
        self.bytes += (head.len() + body.len()) as u64;
        let written = self.out.write_all(head).and_then(|()| self.out.write_all(body));
        written.map_err(Error::io("write", self.path))
    }

    pub(super) fn write_id(&mut self, id: &[u8]) -> Result<(), Error> {
        self.write(&(id.len() as u16).to_le_bytes(), id)
    }
}

/// Reads items one after the other.
pub(super) struct Cursor<'a> {
    bytes: ByteReader<'a>,
    items: u64,
}

impl Cursor<'_> {
    /// Puts the next row, of known size, into `row`; false at the end.
    pub(super) fn read_row(&mut self, row_bytes: usize, row: &mut Vec<u8>) -> Result<bool, Error> {
        let Some(left) = self.items.checked_sub(1) else { return Ok(false) };
        self.items = left;
        row.clear();
        row.extend_from_slice(self.bytes.take(row_bytes)?);
        Ok(true)
    }

    /// Puts the next user id into `id`; false at the end.
    pub(super) fn read_id(&mut self, id: &mut Vec<u8>) -> Result<bool, Error> {
        let Some(left) = self.items.checked_sub(1) else { return Ok(false) };
        self.items = left;
        let bytes = self.bytes.take(2)?;
        let bytes = usize::from(bytes[0]) | usize::from(bytes[1]) << 8;
        id.clear();
        id.extend_from_slice(self.bytes.take(bytes)?);
        Ok(true)
    }
}
