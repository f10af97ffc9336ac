//! The file behind the directory: a head and frames that are only ever appended, each complete or not there. A killed process leaves
//! at most one incomplete frame at the end, which the next writer cuts off.
//!
//! The head: 32 bytes that name format and version, then up to where the file was last synced. A frame: `FRM\n`, bytes of
//! its content, eight bytes of BLAKE3, the totals after it, content. Little end first.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use backend::ErrorKind;

use crate::error::{Error, Failure};
use crate::files;

const NAME: &[u8; 24] = b"fanfare directory log 1\n";
const SYNCED_AT: u64 = 32;
/// Where the first frame begins.
pub(super) const HEAD_BYTES: u64 = 64;
const FRAME: &[u8; 4] = b"FRM\n";
/// Bytes of a frame before its content.
pub(super) const FRAME_HEAD_BYTES: usize = 40;
/// The largest content of a frame; writers stay far below.
const CONTENT_BYTES_MAX: usize = 1 << 28;

/// What the directory holds after a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) users: u64,
    pub(super) devices: u64,
    /// Bytes of entries that later ones replaced.
    pub(super) waste: u64,
}

/// What stands at a place of the log.
pub(super) enum Frame {
    /// A whole frame; its content is in the buffer.
    Whole(Totals),
    /// Nothing, not even a beginning.
    End,
    /// Something that is no whole frame: still being written, or cut off.
    Torn,
}

/// See the module.
pub(super) struct Log {
    path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Memory(RwLock<Vec<u8>>),
    File(File),
}

impl Log {
    /// A log in memory.
    pub(super) fn memory() -> Self {
        let mut head = vec![0; HEAD_BYTES as usize];
        head[..NAME.len()].copy_from_slice(NAME);
        Self { path: ":memory:".into(), bytes: Bytes::Memory(RwLock::new(head)) }
    }

    /// Makes an empty log at `path`, whatever was there.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        let file = files::private().create(true).truncate(true).open(path)?;
        let mut head = [0; HEAD_BYTES as usize];
        head[..NAME.len()].copy_from_slice(NAME);
        file.write_all_at(&head, 0)?;
        Ok(Self { path: path.to_path_buf(), bytes: Bytes::File(file) })
    }

    /// Opens the log at `path`, making it when it is missing or empty. Nobody else may do the same meanwhile.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = || Error::file(path);
        let file = match files::private().open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::make(path).map_err(failed());
            }
            Err(error) => return Err(failed()(error)),
        };
        let mut name = [0; NAME.len()];
        let log_bytes = file.metadata().map_err(failed())?.len();
        match log_bytes {
            0 => return Self::make(path).map_err(failed()),
            bytes if bytes < HEAD_BYTES => return Err(Error::Foreign { path: path.to_path_buf() }),
            _ => file.read_exact_at(&mut name, 0).map_err(failed())?,
        }
        if name == [0; NAME.len()] && log_bytes == HEAD_BYTES {
            // Power failed while it was made.
            return Self::make(path).map_err(failed());
        }
        if name == *NAME {
            return Ok(Self { path: path.to_path_buf(), bytes: Bytes::File(file) });
        }
        let version = name.strip_prefix(b"fanfare directory log ");
        let version = version.and_then(|rest| std::str::from_utf8(rest).ok()?.trim_ascii().parse().ok());
        let path = path.to_path_buf();
        Err(match version {
            Some(found) => Error::Version { path, found, wanted: 1 },
            None => Error::Foreign { path },
        })
    }

    /// An error of the file system, as the seam says it.
    pub(super) fn failed(&self) -> impl Fn(io::Error) -> Failure + '_ {
        |error| Failure::new(ErrorKind::Storage, format!("{}: {error}", self.path.display()))
    }

    /// Another log took its place and cannot be opened.
    pub(super) fn replaced(&self, error: &Error) -> Failure {
        Failure::new(ErrorKind::Storage, error.to_string())
    }

    /// The log says what it cannot say.
    pub(super) fn damaged(&self, at: u64) -> Failure {
        let message =
            format!("{}: damaged at byte {at}; put a copy in its place or remove it", self.path.display());
        Failure::new(ErrorKind::Storage, message)
    }

    /// Its bytes so far, and whether another log has taken its place.
    pub(super) fn stands(&self) -> io::Result<(u64, bool)> {
        match &self.bytes {
            Bytes::Memory(bytes) => Ok((read(bytes).len() as u64, false)),
            Bytes::File(file) => file.metadata().map(|metadata| (metadata.len(), metadata.nlink() == 0)),
        }
    }

    /// Up to where it was synced: what is damaged before that was damaged later.
    pub(super) fn synced(&self) -> io::Result<u64> {
        let mut synced = [0; 8];
        self.read_at(SYNCED_AT, &mut synced)?;
        Ok(u64::from_le_bytes(synced))
    }

    /// Makes everything up to `end` survive the loss of power. Whoever has read less of the log than another synced takes
    /// nothing back.
    pub(super) fn sync(&self, end: u64) -> io::Result<()> {
        let Bytes::File(file) = &self.bytes else { return Ok(()) };
        if end <= self.synced()? {
            return Ok(());
        }
        file.sync_data()?;
        file.write_all_at(&end.to_le_bytes(), SYNCED_AT)
    }

    /// Reads up to `buffer`'s length from `at`; how many bytes there were.
    pub(super) fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let bytes = read(bytes);
                let from = bytes.get(at as usize..).unwrap_or_default();
                let count = from.len().min(buffer.len());
                buffer[..count].copy_from_slice(&from[..count]);
                Ok(count)
            }
            Bytes::File(file) => {
                let mut count = 0;
                while count < buffer.len() {
                    match file.read_at(&mut buffer[count..], at + count as u64)? {
                        0 => break,
                        more => count += more,
                    }
                }
                Ok(count)
            }
        }
    }

    /// Reads the frame at `at`, its content into `content`.
    pub(super) fn frame(&self, at: u64, content: &mut Vec<u8>) -> io::Result<Frame> {
        let mut head = [0; FRAME_HEAD_BYTES];
        match self.read_at(at, &mut head)? {
            0 => return Ok(Frame::End),
            FRAME_HEAD_BYTES => {}
            _ => return Ok(Frame::Torn),
        }
        let number = |from: usize| {
            u64::from_le_bytes(*head[from..].first_chunk().expect("a head of 40 bytes has eight from 32 on"))
        };
        let bytes = (number(0) >> 32) as usize;
        if head[..4] != *FRAME || bytes > CONTENT_BYTES_MAX {
            return Ok(Frame::Torn);
        }
        content.resize(bytes, 0);
        if self.read_at(at + FRAME_HEAD_BYTES as u64, content)? < bytes {
            return Ok(Frame::Torn);
        }
        let totals = Totals { users: number(16), devices: number(24), waste: number(32) };
        let is_whole = number(8) == check(at, totals, content);
        Ok(if is_whole { Frame::Whole(totals) } else { Frame::Torn })
    }

    /// Appends a frame at `at`, the log's end. `frame` begins with [`FRAME_HEAD_BYTES`] bytes of room. Returns the new end. When it
    /// fails, the log is as it was or has a torn end.
    pub(super) fn append(&self, at: u64, totals: Totals, frame: &mut [u8]) -> io::Result<u64> {
        let (head, content) = frame.split_at_mut(FRAME_HEAD_BYTES);
        head[..4].copy_from_slice(FRAME);
        head[4..8].copy_from_slice(&(content.len() as u32).to_le_bytes());
        head[8..16].copy_from_slice(&check(at, totals, content).to_le_bytes());
        for (place, number) in
            head[16..].as_chunks_mut::<8>().0.iter_mut().zip([totals.users, totals.devices, totals.waste])
        {
            *place = number.to_le_bytes();
        }
        match &self.bytes {
            Bytes::Memory(bytes) => write(bytes).extend_from_slice(frame),
            Bytes::File(file) => {
                if let Err(error) = file.write_all_at(frame, at) {
                    // Room for whoever shares the full disk; a torn end would do no harm.
                    let _ = file.set_len(at);
                    return Err(error);
                }
            }
        }
        Ok(at + frame.len() as u64)
    }

    /// Cuts off what stands behind `end`.
    pub(super) fn cut(&self, end: u64) -> io::Result<()> {
        match &self.bytes {
            Bytes::Memory(bytes) => write(bytes).truncate(end as usize),
            Bytes::File(file) => file.set_len(end)?,
        }
        Ok(())
    }

    /// Takes the place of the log at `path`, durably.
    pub(super) fn replace(mut self, path: &Path, end: u64) -> io::Result<Self> {
        self.sync(end)?;
        if let Bytes::File(file) = &self.bytes {
            file.sync_data()?;
            fs::rename(&self.path, path)?;
            File::open(path.parent().expect("a log lies in a folder"))?.sync_all()?;
            self.path = path.to_path_buf();
        }
        Ok(self)
    }
}

fn check(at: u64, totals: Totals, content: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for number in [at, totals.users, totals.devices, totals.waste] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(content);
    let digest = hasher.finalize();
    u64::from_le_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

fn read(bytes: &RwLock<Vec<u8>>) -> RwLockReadGuard<'_, Vec<u8>> {
    bytes.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(bytes: &RwLock<Vec<u8>>) -> RwLockWriteGuard<'_, Vec<u8>> {
    bytes.write().unwrap_or_else(PoisonError::into_inner)
}
