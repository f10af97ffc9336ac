//! The directory as the threads of a process share it, and the lock that makes one writer of all processes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::log::Log;
use super::state::State;
use crate::error::{Error, Failure};
use crate::files;

/// See the module.
pub(super) struct Shared {
    /// The log's file and the lock's, unless all is in memory.
    files: Option<(PathBuf, File)>,
    writer: Mutex<()>,
    state: RwLock<State>,
}

impl Shared {
    /// Opens the log in `folder`, or one in memory. It is read when it is first used.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, Error> {
        let Some(folder) = folder else { return Ok(Self::new(None, Log::memory())) };
        let (path, lock) = (folder.join("directory.log"), folder.join("directory.lock"));
        let lock = files::private().create(true).open(&lock).map_err(Error::file(&lock))?;
        let log = Log::open(&path)?;
        Ok(Self::new(Some((path, lock)), log))
    }

    fn new(files: Option<(PathBuf, File)>, log: Log) -> Self {
        Self { files, writer: Mutex::default(), state: RwLock::new(State::new(Arc::new(log))) }
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a log that is to take the place of this one is written, and where this one lies.
    pub(super) fn paths(&self) -> Option<(PathBuf, &Path)> {
        self.files.as_ref().map(|(path, _)| (path.with_extension("log.new"), path.as_path()))
    }

    /// What is known, everything that any process has acknowledged included.
    pub(super) fn current(&self) -> Result<RwLockReadGuard<'_, State>, Failure> {
        {
            let state = self.state();
            let (bytes, is_replaced) = state.log.stands().map_err(state.log.failed())?;
            if bytes == state.end && !is_replaced {
                return Ok(state);
            }
        }
        self.refresh()?;
        Ok(self.state())
    }

    /// Reads what is new; whether the log has a torn end.
    fn refresh(&self) -> Result<bool, Failure> {
        let mut state = self.state_mut();
        let (_, is_replaced) = state.log.stands().map_err(state.log.failed())?;
        if let (true, Some((path, _))) = (is_replaced, &self.files) {
            let log = Log::open(path).map_err(|error| state.log.replaced(&error))?;
            *state = State::new(Arc::new(log));
        }
        state.catch_up()
    }

    /// Forgets everything, so that it is read anew: after a write of which nobody knows how far it came.
    pub(super) fn forget(&self) {
        let mut state = self.state_mut();
        *state = State::new(Arc::clone(&state.log));
    }

    /// Waits until no other thread or process writes, and brings log and state to the same end.
    pub(super) fn begin(&self) -> Result<Turn<'_>, Failure> {
        let guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = self.files.as_ref().map(|(_, lock)| lock);
        if let Some(lock) = lock {
            let log = Arc::clone(&self.state().log);
            lock.lock().map_err(log.failed())?;
        }
        let turn = Turn { lock, _guard: guard };
        if self.refresh()? {
            let state = self.state();
            tracing::warn!(end = state.end, "the directory's log had a torn end: a writer was killed");
            state.log.cut(state.end).map_err(state.log.failed())?;
        }
        Ok(turn)
    }
}

/// The right to write.
pub(super) struct Turn<'a> {
    lock: Option<&'a File>,
    _guard: MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.lock.map(File::unlock) {
            tracing::error!(%error, "the directory's lock cannot be released");
        }
    }
}
