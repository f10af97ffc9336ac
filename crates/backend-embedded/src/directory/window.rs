//! Reading entries from the log: one read for one entry, or for many that lie close together.

use super::entry::{USER_HEAD_BYTES, User, read_user, user_bytes};
use super::log::Log;
use crate::error::Failure;

/// Enough for nearly every entry.
const READ_BYTES_MIN: usize = 512;

/// The part of the log that was read last.
pub(super) struct Window<'a> {
    log: &'a Log,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) const fn new(log: &'a Log) -> Self {
        Self { log, start: 0, bytes: Vec::new() }
    }

    /// Whether the place is read already.
    pub(super) fn covers(&self, offset: u64) -> bool {
        (self.start..self.start + self.bytes.len() as u64).contains(&offset)
    }

    /// The user entry at `offset`, and how many bytes it has. A read that is needed reads `ahead` bytes.
    pub(super) fn user(&mut self, offset: u64, ahead: usize) -> Result<(User<'_>, usize), Failure> {
        let damaged = || self.log.damaged(offset);
        self.cover(offset, USER_HEAD_BYTES, ahead)?;
        let bytes = user_bytes(self.behind(offset)).ok_or_else(damaged)?;
        self.cover(offset, bytes, ahead)?;
        let user = read_user(&self.behind(offset)[..bytes]).ok_or_else(damaged)?;
        Ok((user, bytes))
    }

    fn behind(&self, offset: u64) -> &[u8] {
        &self.bytes[(offset - self.start) as usize..]
    }

    fn cover(&mut self, offset: u64, bytes: usize, ahead: usize) -> Result<(), Failure> {
        if self.covers(offset) && self.behind(offset).len() >= bytes {
            return Ok(());
        }
        self.bytes.resize(bytes.max(ahead).max(READ_BYTES_MIN), 0);
        let count = self.log.read_at(offset, &mut self.bytes).map_err(self.log.failed())?;
        self.bytes.truncate(count);
        self.start = offset;
        if count < bytes { Err(self.log.damaged(offset)) } else { Ok(()) }
    }
}
