//! Objects that grow, as files of a folder of their own. Who holds one has its file locked, so that the kernel gives it back
//! when a process is killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use backend::Result;
use backend::blobs::{Growing, Stored};

use super::{Folders, adopt, check_name, present, run};
use crate::error::of_file;
use crate::files::private;

/// A file that is held.
pub(super) struct Held {
    open: Arc<Open>,
    bytes: u64,
    is_inline: bool,
}

/// Shared with the calls under way, which outlive a caller that does not wait for them: until they end, the file is held.
struct Open {
    place: Arc<Folders>,
    path: PathBuf,
    file: File,
}

/// Takes hold of the file at `path`, if nobody else holds it.
pub(super) fn hold(place: Arc<Folders>, path: PathBuf, is_inline: bool) -> io::Result<Option<Held>> {
    loop {
        let file = private().create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let metadata = file.metadata()?;
        // Whoever held it may have removed it since it was opened here; then the name is another file's by now, or nobody's.
        let named = present(fs::metadata(&path))?.map(|named| (named.dev(), named.ino()));
        if named == Some((metadata.dev(), metadata.ino())) {
            let bytes = metadata.len();
            return Ok(Some(Held { open: Arc::new(Open { place, path, file }), bytes, is_inline }));
        }
    }
}

impl Held {
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Open) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let open = Arc::clone(&self.open);
        run(self.is_inline, operation, move || work(&open).map_err(of_file(operation, &open.path))).await
    }
}

#[async_trait]
impl Growing for Held {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn append(&mut self, bytes: Vec<u8>) -> Result<()> {
        let (end, more) = (self.bytes, bytes.len() as u64);
        let append = move |open: &Open| {
            let written = open.file.write_all_at(&bytes, end);
            if written.is_err() {
                // What of it fitted on a full disk is no part of the object. If this fails too, the error says enough.
                let _ = open.file.set_len(end);
            }
            written
        };
        self.run("growing.append", append).await?;
        self.bytes += more;
        Ok(())
    }

    async fn cut(&mut self, bytes: u64) -> Result<()> {
        self.run("growing.cut", move |open| open.file.set_len(bytes)).await?;
        self.bytes = bytes;
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        let sync = |open: &Open| {
            open.file.sync_all()?;
            // The name too, which may be new.
            File::open(&open.place.growing)?.sync_all()
        };
        self.run("growing.sync", sync).await
    }

    async fn file(&mut self) -> Result<PathBuf> {
        Ok(self.open.path.clone())
    }

    async fn keep(self: Box<Self>, name: &str) -> Result<Stored> {
        const KEEP: &str = "growing.keep";
        check_name(KEEP, name)?;
        let name = name.to_owned();
        self.run(KEEP, move |open| adopt(&open.path, &open.place.path(&name))).await
    }

    async fn discard(self: Box<Self>) -> Result<()> {
        self.run("growing.discard", |open| fs::remove_file(&open.path)).await
    }
}
