//! Files on disk, read from front to back through a window: a stretch of bytes, or the devices of a run. What a window takes of
//! memory says whoever opens it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::error::Error;

/// Read at once where a file is read on its own.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;
/// Bytes of an owner's ordinal.
pub(crate) const OWNER_BYTES: usize = 4;

/// A stretch of a file, read from its start a buffer at a time.
pub(crate) struct ByteReader<'a> {
    file: &'a File,
    path: &'a Path,
    /// What the buffer does not hold yet.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next byte is.
    from: usize,
    buffer_bytes: usize,
}

impl<'a> ByteReader<'a> {
    pub(crate) fn new(file: &'a File, path: &'a Path, stretch: Range<u64>, buffer_bytes: usize) -> Self {
        let Range { start: at, end } = stretch;
        Self { file, path, at, end, buffer: Vec::new(), from: 0, buffer_bytes }
    }

    /// A section of a file that is read on its own.
    pub(crate) fn of_section(file: &'a File, path: &'a Path, section: Range<usize>) -> Self {
        Self::new(file, path, section.start as u64..section.end as u64, BUFFER_BYTES)
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&[u8], Error> {
        if self.buffer.len() - self.from < count {
            self.refill(count).map_err(Error::io("read", self.path))?;
        }
        self.from += count;
        Ok(&self.buffer[self.from - count..self.from])
    }

    /// The next number of 32 bits.
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32_of(self.take(4)?))
    }

    /// Whether nothing is left.
    pub(crate) const fn is_over(&self) -> bool {
        self.at == self.end && self.from == self.buffer.len()
    }

    fn refill(&mut self, count: usize) -> io::Result<()> {
        self.buffer.drain(..self.from);
        self.from = 0;
        let held = self.buffer.len();
        let wanted = (self.buffer_bytes.max(count - held) as u64).min(self.end - self.at) as usize;
        self.buffer.resize(held + wanted, 0);
        self.file.read_exact_at(&mut self.buffer[held..], self.at)?;
        self.at += wanted as u64;
        if self.buffer.len() < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// The devices of a run, so many at a time: owners and keys, which lie apart in the file, side by side. Small, for there may be
/// as many as a snapshot has groups.
pub(crate) struct DeviceWindow {
    /// Where what was not read yet lies in the file.
    owners_at: u64,
    keys_at: u64,
    /// Devices that were not read yet.
    left: u32,
    /// Devices in the window, and the first of them that was not given.
    held: u32,
    next: u32,
    /// Their owners, then their keys.
    bytes: Box<[u8]>,
}

impl DeviceWindow {
    /// Of so many devices, none of them read yet.
    pub(crate) fn new(owners_at: u64, keys_at: u64, devices: u32) -> Self {
        Self { owners_at, keys_at, left: devices, held: 0, next: 0, bytes: Box::default() }
    }

    /// Makes sure that the next device is in the window, which holds at most `devices`; false when there is none.
    pub(crate) fn fill(&mut self, file: &File, key_bytes: usize, devices: u32) -> io::Result<bool> {
        if self.next < self.held {
            return Ok(true);
        }
        let count = self.left.min(devices);
        let (owners, keys) = (count as usize * OWNER_BYTES, count as usize * key_bytes);
        if self.bytes.len() < owners + keys {
            self.bytes = vec![0; owners + keys].into();
        }
        file.read_exact_at(&mut self.bytes[..owners], self.owners_at)?;
        file.read_exact_at(&mut self.bytes[owners..owners + keys], self.keys_at)?;
        self.owners_at += owners as u64;
        self.keys_at += keys as u64;
        (self.left, self.held, self.next) = (self.left - count, count, 0);
        Ok(count > 0)
    }

    /// Owner and key of the next device, which is in the window.
    pub(crate) fn peek(&self, key_bytes: usize) -> (u32, &[u8]) {
        let next = self.next as usize;
        let key = self.held as usize * OWNER_BYTES + next * key_bytes;
        (u32_of(&self.bytes[next * OWNER_BYTES..]), &self.bytes[key..key + key_bytes])
    }

    /// Goes on to the device behind it.
    pub(crate) const fn skip(&mut self) {
        self.next += 1;
    }
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("four bytes were asked for"))
}
