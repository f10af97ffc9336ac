//! The users file: which user id each ordinal stands for. The sender never loads it.

use std::fmt;
use std::path::Path;

use model::Digest;

use crate::error::Error;
use crate::file::read_verified;
use crate::layout::{FileKind, Header, u32_at};

/// The user ids of a snapshot, sorted by their bytes; a user's place is its ordinal.
pub struct Users {
    header: Header,
    content: Vec<u8>,
}

impl Users {
    /// Reads and verifies the file; `expected` is [`crate::Snapshot::users_digest`].
    ///
    /// # Errors
    /// A precise one for a file that is missing, foreign, newer, cut short, damaged, or another snapshot's.
    pub fn open(path: &Path, expected: Digest) -> Result<Self, Error> {
        let (header, content) = read_verified(path, FileKind::Users, expected)?;
        let users = Self { header, content };
        users.check().map_err(|fault| Error::inconsistent(path, fault))?;
        Ok(users)
    }

    fn check(&self) -> Result<(), &'static str> {
        let (offsets, ids) = (self.offsets(), self.ids());
        let wanted = self.header.users.checked_add(1).and_then(|offsets| offsets.checked_mul(4));
        if wanted != Some(offsets.len() as u64) {
            return Err("offsets and users do not add up");
        }
        let (offsets, _) = offsets.as_chunks::<4>();
        let mut offsets = offsets.iter().map(|offset| u32::from_le_bytes(*offset) as usize);
        let mut start = offsets.next().filter(|first| *first == 0).ok_or("the first offset is not zero")?;
        let mut last: &[u8] = &[];
        for end in offsets {
            let id = ids.get(start..end).ok_or("an offset is out of place")?;
            if id <= last || std::str::from_utf8(id).is_err() {
                return Err("user ids are not sorted or not UTF-8");
            }
            (start, last) = (end, id);
        }
        (start == ids.len()).then_some(()).ok_or("the last offset is not the end")
    }

    /// Number of users.
    pub const fn len(&self) -> u32 {
        self.header.users as u32
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.header.users == 0
    }

    /// The id of a user; `None` for an ordinal that the snapshot does not have.
    pub fn id(&self, ordinal: u32) -> Option<&str> {
        std::str::from_utf8(self.id_bytes(ordinal)?).ok()
    }

    /// The ordinal of a user; `None` if none of its devices is in the snapshot.
    pub fn find(&self, id: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id_bytes(middle)?.cmp(id.as_bytes()) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn id_bytes(&self, ordinal: u32) -> Option<&[u8]> {
        let index = ordinal as usize;
        let (start, end) = (u32_at(self.offsets(), index)?, u32_at(self.offsets(), index.checked_add(1)?)?);
        self.ids().get(start as usize..end as usize)
    }

    fn offsets(&self) -> &[u8] {
        &self.content[self.header.section(OFFSETS)]
    }

    fn ids(&self) -> &[u8] {
        &self.content[self.header.section(IDS)]
    }
}

impl fmt::Debug for Users {
    /// Never shows an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The sections of a users file, by number.
pub(crate) const OFFSETS: usize = 0;
pub(crate) const IDS: usize = 1;
