//! Files as wholes: where a snapshot's two files lie, reading one with its digest in a single pass, and writing
//! one under a temporary name until it is complete and on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Digest;

use crate::error::Error;
use crate::layout::{FileKind, HEADER_BYTES, Header, HeaderFault, VERSION};

/// Files whose names begin so are unfinished. One that a killed process left behind may be deleted once no build
/// runs in its folder.
pub const TEMPORARY_PREFIX: &str = ".unfinished-";

/// The snapshot file of `digest` in `folder`.
pub fn snapshot_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(format!("{digest}.snapshot"))
}

/// The users file of the snapshot `digest` in `folder`.
pub fn users_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(format!("{digest}.users"))
}

/// Bytes read and digested at a time: they stay in the second-level cache in between.
const READ_BYTES: usize = 128 * 1024;

/// Reads a whole file of `kind` into memory, and refuses it unless header, length and digest are as they should.
pub(crate) fn read_verified(
    path: &Path,
    kind: FileKind,
    expected: Digest,
) -> Result<(Header, Vec<u8>), Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let file_bytes = file.metadata().map_err(Error::io("inspect", path))?.len();
    let header_bytes = read_header(&mut file, path, kind, file_bytes)?;
    let header = Header::decode(&header_bytes, kind).map_err(|fault| refuse(path, kind, fault))?;
    if header.file_bytes() != Some(file_bytes) {
        let expected = header.file_bytes().unwrap_or(u64::MAX);
        return Err(Error::Length { path: path.to_owned(), expected, actual: file_bytes });
    }
    let (content, actual) = read_digested(&mut file, path, &header_bytes, file_bytes)?;
    if actual != expected {
        return Err(Error::WrongDigest { path: path.to_owned(), expected, actual });
    }
    Ok((header, content))
}

/// The header of a file of `kind`, which says itself whether it is damaged; nothing else of the file is looked at.
pub(crate) fn read_header_only(path: &Path, kind: FileKind) -> Result<Header, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let file_bytes = file.metadata().map_err(Error::io("inspect", path))?.len();
    let bytes = read_header(&mut file, path, kind, file_bytes)?;
    Header::decode(&bytes, kind).map_err(|fault| refuse(path, kind, fault))
}

fn read_header(
    file: &mut File,
    path: &Path,
    kind: FileKind,
    file_bytes: u64,
) -> Result<[u8; HEADER_BYTES], Error> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    file.take(HEADER_BYTES as u64).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    bytes.as_slice().try_into().map_err(|_| {
        let magic = kind.magic();
        let known = bytes.len().min(magic.len());
        if bytes[..known] == magic[..known] {
            Error::Length { path: path.to_owned(), expected: HEADER_BYTES as u64, actual: file_bytes }
        } else {
            refuse(path, kind, HeaderFault::Foreign)
        }
    })
}

fn refuse(path: &Path, kind: FileKind, fault: HeaderFault) -> Error {
    let path = path.to_owned();
    match fault {
        HeaderFault::Foreign => Error::Foreign { path, expected: kind.name() },
        HeaderFault::NewerVersion(found) => Error::NewerVersion { path, found, known: VERSION },
        HeaderFault::Damaged => Error::HeaderDamaged { path },
    }
}

/// Reads on after the header. The memory asked for is the file's own size, never a number out of the file.
fn read_digested(
    file: &mut File,
    path: &Path,
    header: &[u8],
    file_bytes: u64,
) -> Result<(Vec<u8>, Digest), Error> {
    let no_memory = || Error::Memory { path: path.to_owned(), bytes: file_bytes };
    let mut content = Vec::new();
    content
        .try_reserve_exact(usize::try_from(file_bytes).map_err(|_| no_memory())?)
        .map_err(|_| no_memory())?;
    content.extend_from_slice(header);
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    loop {
        let from = content.len();
        let left = (file_bytes as usize - from).min(READ_BYTES);
        if left == 0 {
            break;
        }
        let read = file.take(left as u64).read_to_end(&mut content).map_err(Error::io("read", path))?;
        if read == 0 {
            return Err(Error::Length {
                path: path.to_owned(),
                expected: file_bytes,
                actual: content.len() as u64,
            });
        }
        hasher.update(&content[from..]);
    }
    Ok((content, Digest(*hasher.finalize().as_bytes())))
}

/// The digest of a file as it stands.
pub(crate) fn digest_of(file: &File, path: &Path) -> Result<Digest, Error> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        let read = file.read_at(&mut buffer, at).map_err(Error::io("read back", path))?;
        if read == 0 {
            return Ok(Digest(*hasher.finalize().as_bytes()));
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
}

/// A file that is deleted when dropped, unless it was given its name.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    is_named: bool,
}

impl Unfinished {
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{TEMPORARY_PREFIX}{}-{number}", process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path, is_named: false }),
                // A process of the same number was killed here before.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", &path)(error)),
            }
        }
    }

    /// Makes content and name durable.
    pub(crate) fn name(mut self, path: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        fs::rename(&self.path, path).map_err(Error::io("rename to", path))?;
        self.is_named = true;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(Error::io("sync", folder))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_named {
            // Nothing to be done about a failure here; the prefix of its name marks the file as rubbish.
            let _ = fs::remove_file(&self.path);
        }
    }
}
