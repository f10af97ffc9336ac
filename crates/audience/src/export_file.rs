//! The file of an export being written, and the digest of what is in it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use model::Digest;

use crate::error::{Error, Failure};

/// A file that is written to.
pub(crate) struct ExportFile {
    path: PathBuf,
    file: BufWriter<Digested>,
}

impl ExportFile {
    /// A new file at `path` that begins with `header`.
    pub(crate) fn new(path: &Path, header: &str) -> std::result::Result<Self, Failure> {
        let file = File::create_new(path).map_err(Error::io("make the export"))?;
        let mut file = BufWriter::with_capacity(1 << 20, Digested::new(file));
        file.write_all(header.as_bytes()).map_err(cannot_write)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// What rows are written to.
    pub(crate) fn out(&mut self) -> &mut impl Write {
        &mut self.file
    }

    /// The whole file, its bytes and its digest.
    pub(crate) fn close(self) -> std::result::Result<(PathBuf, u64, Digest), Failure> {
        let written = self.file.into_inner().map_err(io::IntoInnerError::into_error);
        let written = written.map_err(cannot_write)?;
        Ok((self.path, written.bytes, Digest(*written.hasher.finalize().as_bytes())))
    }
}

pub(crate) fn cannot_write(source: io::Error) -> Error {
    Error::Io { action: "write the export", source }
}

/// A file, and the digest of what was written to it.
struct Digested {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Digested {
    fn new(file: File) -> Self {
        Self { file, hasher: blake3::Hasher::new(), bytes: 0 }
    }
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
