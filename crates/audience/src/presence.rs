//! What a resolver leaves on this machine while it lives, so that another sees at once when it was killed: a file that it holds
//! locked, with the message that it is at. The system unlocks it however the process ends. Whoever finds one that nobody
//! holds makes the message visible again; on other machines the message's time does that.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use backend::Queue;

use crate::desk::Desk;
use crate::error::{Error, Result};

const PREFIX: &str = "resolver-";
/// The name while the file is not locked yet.
const NEW_PREFIX: &str = "new-resolver-";

/// The file of a living resolver; removed when dropped.
pub(crate) struct Presence {
    path: PathBuf,
    file: File,
}

impl Presence {
    pub(crate) fn new(desk: &Desk) -> Result<Self> {
        let name = format!("{:032x}", desk.runtime.randomness.u128());
        Self::make(desk.backend.blobs.staging(), &name).map_err(Error::io("say that a resolver is here"))
    }

    fn make(staging: &Path, name: &str) -> io::Result<Self> {
        let (new, path) =
            (staging.join(format!("{NEW_PREFIX}{name}")), staging.join(format!("{PREFIX}{name}")));
        let file = File::options().read(true).write(true).create_new(true).open(&new)?;
        // Locked before anybody looks for it.
        file.lock()?;
        std::fs::rename(&new, &path)?;
        Ok(Self { path, file })
    }

    /// Says which message it is at, if any. The file is on no network, and what is lost with it costs time only.
    pub(crate) fn is_at(&mut self, receipt: Option<&str>) {
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(receipt.unwrap_or_default().as_bytes())
        };
        if let Err(error) = write(&mut self.file) {
            tracing::warn!(error = &error as &dyn std::error::Error, "a resolver cannot note what it is at");
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // One that stays is found by the next look.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Takes up what killed resolvers on this machine had: how many these were.
pub(crate) async fn relieve_dead(desk: &Desk) -> Result<usize> {
    let staging = desk.backend.blobs.staging();
    let mut relieved = 0;
    for (name, mut file) in dead(staging).map_err(Error::io("look for killed resolvers"))? {
        let mut receipt = String::new();
        // What cannot be read comes by itself, when its time is over.
        let is_read = file.read_to_string(&mut receipt).is_ok();
        if is_read && !receipt.is_empty() {
            // Not given back: being begun counts, for it may be the work that kills whoever takes it.
            desk.backend.queues.extend(Queue::Resolve, vec![receipt], Duration::ZERO).await?;
        }
        match std::fs::remove_file(staging.join(format!("{PREFIX}{name}"))) {
            // Another was faster after all.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(Error::io("remove what a killed resolver left"))?,
        }
        relieved += 1;
    }
    Ok(relieved)
}

/// The files that nobody holds, locked by us now.
fn dead(staging: &Path) -> io::Result<Vec<(String, File)>> {
    let mut dead = Vec::new();
    for entry in std::fs::read_dir(staging)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        // Another may have been faster.
        let Ok(file) = File::open(staging.join(format!("{PREFIX}{name}"))) else { continue };
        match file.try_lock() {
            Ok(()) => dead.push((name.to_owned(), file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_resolver_that_lives_is_not_dead_and_one_that_ended_left_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let living = Presence::make(folder.path(), "1").unwrap();
        assert!(dead(folder.path()).unwrap().is_empty());
        drop(living);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_nobody_holds_is_found_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("resolver-1"), "receipt").unwrap();
        let found = dead(folder.path()).unwrap();
        assert_eq!(found.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["1"]);
        assert!(dead(folder.path()).unwrap().is_empty(), "whoever found it holds it");
    }
}
