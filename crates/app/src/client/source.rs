//! What is uploaded: a file, from any place in it, or standard input, of which the part that is under way is kept.

use std::io::{Read as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use futures::StreamExt as _;
use reqwest::Body;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes of standard input in one part. What the service has not got of a part is sent again from memory.
const PART_BYTES: usize = 8 << 20;

/// What is uploaded.
pub(super) enum Source {
    File {
        path: PathBuf,
        bytes: u64,
        digest: String,
    },
    Input {
        /// Where in the whole the part begins.
        begins_at: u64,
        part: bytes::Bytes,
        is_last: bool,
        hasher: Sha256,
    },
}

/// A part that is ready to be sent.
pub(super) struct Part {
    pub(super) body: Body,
    pub(super) bytes: u64,
    pub(super) is_last: bool,
    /// `Repr-Digest`, where the whole is known.
    pub(super) digest: Option<String>,
}

impl Source {
    /// Whether it can be read.
    pub(super) fn check(path: &Path) -> Result<()> {
        if path != Path::new("-") {
            let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
            if !file.metadata()?.is_file() {
                bail!("{} is no file", path.display());
            }
        }
        Ok(())
    }

    /// Opens it. A file is read once here for its digest, so that one that changes while it is sent is refused.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            let (part, hasher) = (bytes::Bytes::new(), Sha256::new());
            return Ok(Self::Input { begins_at: 0, part, is_last: false, hasher });
        }
        Self::check(path)?;
        let path = path.to_path_buf();
        tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(&path)?;
            let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; READ_BYTES]);
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => {
                        hasher.update(&buffer[..read]);
                        bytes += read as u64;
                    }
                }
            }
            if bytes == 0 {
                bail!("the file is empty");
            }
            Ok(Self::File { path, bytes, digest: repr_digest(hasher) })
        })
        .await?
    }

    /// Bytes of the whole, where they are known.
    pub(super) const fn bytes(&self) -> Option<u64> {
        match self {
            Self::File { bytes, .. } => Some(*bytes),
            Self::Input { .. } => None,
        }
    }

    /// What is to be sent from `offset` on; `sent` counts it on its way.
    pub(super) async fn part(&mut self, offset: u64, sent: &Arc<AtomicU64>) -> Result<Part> {
        sent.store(offset, Ordering::Relaxed);
        match self {
            Self::File { path, bytes, digest } => {
                let left =
                    bytes.checked_sub(offset).context("the service has more than there is in the file")?;
                let mut file = tokio::fs::File::open(&path).await?;
                file.seek(SeekFrom::Start(offset)).await?;
                let counter = Arc::clone(sent);
                let parts = ReaderStream::with_capacity(file.take(left), READ_BYTES).inspect(move |part| {
                    let read = part.as_ref().map_or(0, bytes::Bytes::len);
                    counter.fetch_add(read as u64, Ordering::Relaxed);
                });
                let digest = Some(digest.clone());
                Ok(Part { body: Body::wrap_stream(parts), bytes: left, is_last: true, digest })
            }
            Self::Input { begins_at, part, is_last, hasher } => {
                if offset == *begins_at + part.len() as u64 && !*is_last {
                    let next = tokio::task::spawn_blocking(read_part).await??;
                    hasher.update(&next);
                    *is_last = next.len() < PART_BYTES;
                    (*begins_at, *part) = (offset, next.into());
                }
                let skipped = offset.checked_sub(*begins_at).filter(|skipped| *skipped <= part.len() as u64);
                let skipped =
                    skipped.context("standard input cannot be read again from where the service is")?;
                let rest = part.slice(skipped as usize..);
                let digest = is_last.then(|| repr_digest(hasher.clone()));
                Ok(Part { bytes: rest.len() as u64, body: rest.into(), is_last: *is_last, digest })
            }
        }
    }
}

fn read_part() -> std::io::Result<Vec<u8>> {
    let mut part = Vec::new();
    std::io::stdin().lock().take(PART_BYTES as u64).read_to_end(&mut part)?;
    Ok(part)
}

/// RFC 9530.
fn repr_digest(hasher: Sha256) -> String {
    let digest = base64::engine::general_purpose::STANDARD.encode(hasher.finalize());
    format!("sha-256=:{digest}:")
}
