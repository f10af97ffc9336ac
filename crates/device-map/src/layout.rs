//! The bytes of both files. A header of 256 bytes, then sections one after the other, all numbers little-endian:
//!
//! - snapshot: directory (groups and their runs), ordinals (u32 per device), keys (packed, no gaps);
//! - users: offsets (u32 per user, and one more), user ids (UTF-8, sorted, no gaps).
//!
//! Devices stand in the order of groups (platform, app, market, locale), within a group of runs (encoding, length),
//! within a run of the key's hash, then the key. So every key of a run has the same size and none needs an index.

use model::{Digest, Group, Platform};

use crate::key::Encoding;

pub(crate) const HEADER_BYTES: usize = 256;
pub(crate) const VERSION: u32 = 1;
/// Sections that the header has room for.
const SECTIONS: usize = 4;
const CHECKSUM_AT: usize = HEADER_BYTES - 32;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Snapshot,
    Users,
}

impl FileKind {
    pub(crate) const fn magic(self) -> &'static [u8; 8] {
        match self {
            FileKind::Snapshot => b"\x89FANMAP\n",
            FileKind::Users => b"\x89FANUSR\n",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            FileKind::Snapshot => "snapshot",
            FileKind::Users => "users",
        }
    }
}

/// What a file says of itself before its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) devices: u64,
    pub(crate) users: u64,
    pub(crate) duplicate_devices: u64,
    /// Of the users file; zero in the users file itself.
    pub(crate) users_digest: Digest,
    /// Bytes of each section; those not used are empty.
    pub(crate) section_bytes: [u64; SECTIONS],
}

/// Why a header cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Foreign,
    NewerVersion(u32),
    Damaged,
}

impl Header {
    /// Of the whole file; `None` when the numbers add up to nonsense.
    pub(crate) fn file_bytes(&self) -> Option<u64> {
        self.section_bytes.iter().try_fold(HEADER_BYTES as u64, |sum, bytes| sum.checked_add(*bytes))
    }

    /// Where a section lies in the file. Only for headers whose [`Header::file_bytes`] fit in memory.
    pub(crate) fn section(&self, index: usize) -> std::ops::Range<usize> {
        let start = HEADER_BYTES + self.section_bytes[..index].iter().sum::<u64>() as usize;
        start..start + self.section_bytes[index] as usize
    }

    pub(crate) fn encode(&self, kind: FileKind) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(kind.magic());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        for number in [self.devices, self.users, self.duplicate_devices].iter().chain(&self.section_bytes) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.users_digest.0);
        let mut header = [0; HEADER_BYTES];
        header[..bytes.len()].copy_from_slice(&bytes);
        let checksum = Digest::of(&header[..CHECKSUM_AT]);
        header[CHECKSUM_AT..].copy_from_slice(&checksum.0);
        header
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES], kind: FileKind) -> Result<Self, HeaderFault> {
        let mut reader = Reader(bytes);
        if reader.take(8) != Some(kind.magic()) {
            return Err(HeaderFault::Foreign);
        }
        let version = reader.u32().ok_or(HeaderFault::Damaged)?;
        if version > VERSION {
            return Err(HeaderFault::NewerVersion(version));
        }
        if Digest::of(&bytes[..CHECKSUM_AT]).0 != bytes[CHECKSUM_AT..] {
            return Err(HeaderFault::Damaged);
        }
        Self::decode_fields(&mut reader).ok_or(HeaderFault::Damaged)
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Option<Self> {
        let header_bytes = reader.u32()?;
        let (devices, users, duplicate_devices) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let mut section_bytes = [0; SECTIONS];
        for bytes in &mut section_bytes {
            *bytes = reader.u64()?;
        }
        let users_digest = Digest(reader.take(32)?.try_into().ok()?);
        let header = Self { devices, users, duplicate_devices, users_digest, section_bytes };
        (header_bytes as usize == HEADER_BYTES && header.file_bytes().is_some()).then_some(header)
    }
}

/// Devices of a group whose keys are packed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunEntry {
    pub(crate) encoding: Encoding,
    /// Characters of each key's text.
    pub(crate) chars: u16,
    pub(crate) devices: u32,
}

/// A group and its runs, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupEntry {
    pub(crate) group: Group,
    pub(crate) runs: Vec<RunEntry>,
}

pub(crate) fn encode_directory(groups: &[GroupEntry]) -> Vec<u8> {
    let mut bytes = (groups.len() as u32).to_le_bytes().to_vec();
    for GroupEntry { group, runs } in groups {
        bytes.push(group.platform.index() as u8);
        for label in [&group.app, &group.market, &group.locale] {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&group.devices.to_le_bytes());
        bytes.extend_from_slice(&(runs.len() as u32).to_le_bytes());
        for run in runs {
            bytes.push(run.encoding as u8);
            bytes.extend_from_slice(&run.chars.to_le_bytes());
            bytes.extend_from_slice(&run.devices.to_le_bytes());
        }
    }
    bytes
}

/// `None` when the bytes are no directory. Takes no more memory than a few times the bytes given.
pub(crate) fn decode_directory(bytes: &[u8]) -> Option<Vec<GroupEntry>> {
    let mut reader = Reader(bytes);
    let count = reader.u32()?;
    let groups = (0..count).map(|_| decode_group(&mut reader)).collect::<Option<Vec<_>>>()?;
    reader.0.is_empty().then_some(groups)
}

fn decode_group(reader: &mut Reader<'_>) -> Option<GroupEntry> {
    let platform = *Platform::ALL.get(usize::from(reader.u8()?))?;
    let (app, market, locale) = (reader.label()?, reader.label()?, reader.label()?);
    let devices = reader.u32()?;
    let runs = reader.u32()?;
    let runs = (0..runs).map(|_| decode_run(reader)).collect::<Option<Vec<_>>>()?;
    Some(GroupEntry { group: Group { market, platform, app, locale, devices }, runs })
}

fn decode_run(reader: &mut Reader<'_>) -> Option<RunEntry> {
    let encoding = Encoding::from_number(reader.u8()?)?;
    Some(RunEntry { encoding, chars: reader.u16()?, devices: reader.u32()? })
}

/// Takes numbers from the front of a slice; `None` at its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn label(&mut self) -> Option<String> {
        let bytes = self.u8()?;
        String::from_utf8(self.take(usize::from(bytes))?.to_vec()).ok()
    }
}

/// The number at `index` of a section of u32.
pub(crate) fn u32_at(section: &[u8], index: usize) -> Option<u32> {
    let at = index.checked_mul(4)?;
    section.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            devices: 3,
            users: 2,
            duplicate_devices: 1,
            users_digest: Digest([7; 32]),
            section_bytes: [10, 20, 30, 0],
        }
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let bytes = header().encode(FileKind::Snapshot);
        assert_eq!(Header::decode(&bytes, FileKind::Snapshot), Ok(header()));
        assert_eq!(Header::decode(&bytes, FileKind::Users), Err(HeaderFault::Foreign));
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged, FileKind::Snapshot).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = header().encode(FileKind::Snapshot);
        bytes[8] = 2;
        assert_eq!(Header::decode(&bytes, FileKind::Snapshot), Err(HeaderFault::NewerVersion(2)));
    }

    #[test]
    fn sections_that_overflow_are_no_header() {
        let lying = Header { section_bytes: [u64::MAX, 1, 0, 0], ..header() };
        let bytes = lying.encode(FileKind::Users);
        assert_eq!(Header::decode(&bytes, FileKind::Users), Err(HeaderFault::Damaged));
    }

    #[test]
    fn a_directory_with_lying_counts_is_refused() {
        assert_eq!(decode_directory(&u32::MAX.to_le_bytes()), None);
        assert_eq!(decode_directory(&0_u32.to_le_bytes()), Some(vec![]));
        assert_eq!(decode_directory(&[0, 0, 0, 0, 0]), None);
    }
}
