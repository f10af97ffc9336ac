//! Large immutable objects: uploads, snapshots, manifests, exports; and those that still grow.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::error::Result;

/// What became of a conditional put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is there now.
    New,
    /// There was one of this name; it was left alone.
    AlreadyThere,
}

/// Most parts of a name.
pub const NAME_PARTS_MAX: usize = 8;
/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Objects by name: 1 to [`NAME_PARTS_MAX`] parts of letters, digits, `.`, `-` and `_` joined by `/`, at most
/// [`NAME_BYTES_MAX`] bytes; no part is `.` or `..`.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// A folder on a local disk for files on their way into [`Blobs::put_file`]; made when missing.
    fn staging(&self) -> &Path;

    /// Stores a file unless the name is taken. The file is moved or copied and may be gone afterwards. Durable once
    /// acknowledged.
    async fn put_file(&self, name: &str, file: &Path) -> Result<Stored>;

    /// Stores bytes unless the name is taken.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<Stored>;

    /// Its bytes; `None` when there is no such object.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// A local file with its bytes, fetched when needed; `None` when there is no such object.
    async fn file(&self, name: &str) -> Result<Option<PathBuf>>;

    /// Names that start with `prefix`, in order.
    async fn list(&self, prefix: &str) -> Result<Vec<String>>;

    /// Removes it, if it is there.
    async fn delete(&self, name: &str) -> Result<()>;

    /// Takes hold of the growing object `name`, which is made when missing. `None`: somebody else, of any process, holds
    /// it. Its names are apart from those of the blobs.
    async fn grow(&self, name: &str) -> Result<Option<Box<dyn Growing>>>;

    /// Bytes of the growing object `name` so far, whoever holds it; `None` when there is no such object.
    async fn grown(&self, name: &str) -> Result<Option<u64>>;

    /// Names of the growing objects, in order.
    async fn growing(&self) -> Result<Vec<String>>;
}

/// An object that grows until it becomes a blob: what arrives of an upload. It has one holder at a time; dropped, or left by
/// a process that is killed, it stays as it is for the next.
#[async_trait]
pub trait Growing: Send + Sync {
    /// Bytes in it.
    fn bytes(&self) -> u64;

    /// Appends; all of `bytes` or, after an error, nothing. Survives the death of every process.
    async fn append(&mut self, bytes: Vec<u8>) -> Result<()>;

    /// Cuts it back to its first `bytes`.
    async fn cut(&mut self, bytes: u64) -> Result<()>;

    /// What is in it survives the loss of power too.
    async fn sync(&mut self) -> Result<()>;

    /// A local file with its bytes, to be read while it is held.
    async fn file(&mut self) -> Result<PathBuf>;

    /// Makes it the blob `name` unless that is taken; either way the growing object is gone. Durable once acknowledged.
    async fn keep(self: Box<Self>, name: &str) -> Result<Stored>;

    /// Removes it.
    async fn discard(self: Box<Self>) -> Result<()>;
}
