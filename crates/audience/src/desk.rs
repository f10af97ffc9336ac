//! What all work of a resolver has in common: conditional writes that outlast a lost answer, the audit, local files.

use std::error::Error as StdError;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backend::rows::audit::{self, Event};
use backend::store::{Change, Transacted, Written};
use backend::{Backend, Expect, Key, Row, Write};
use model::runtime::Runtime;
use model::{Monotonic, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{Error, Result};

/// Who acts where no person does, as the audit writes it.
const RESOLVER: &str = "resolver";
/// Attempts for one write or read before the whole work is left to a later try.
const CALLS_MAX: u32 = 5;
/// Beats that may be missing before work counts as abandoned.
const SILENT_BEATS: u32 = 3;
const CALL_PAUSE: Duration = Duration::from_millis(200);

/// What a resolver was given.
pub(crate) struct Desk {
    pub(crate) backend: Backend,
    pub(crate) runtime: Runtime,
    pub(crate) config: Config,
}

impl Desk {
    pub(crate) fn now(&self) -> Timestamp {
        self.runtime.clock.now()
    }

    /// Does `work` again and again until `shutdown`, with a pause in between. That it fails is said once, until it does not.
    pub(crate) async fn keep<F>(
        &self,
        shutdown: &CancellationToken,
        every: Duration,
        meaning: &str,
        work: impl Fn() -> F,
    ) where
        F: Future<Output = Result<()>>,
    {
        let mut was_failing = false;
        loop {
            let done = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                done = work() => done,
            };
            // Whoever took the work over does it.
            let failed = done.err().filter(|error| !matches!(error, Error::Overtaken));
            if let Some(error) = failed.as_ref().filter(|_| !was_failing) {
                tracing::warn!(error = error as &dyn StdError, "{meaning}");
            }
            was_failing = failed.is_some();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.runtime.clock.sleep(every) => {}
            }
        }
    }

    /// Puts a row that should still have the version last read; returns its new version.
    pub(crate) async fn put(&self, write: Write) -> Result<u64> {
        let mut calls = 0;
        loop {
            let result = self.backend.store.write(vec![write.clone()]).await;
            let error = match result.map(|written| written.into_iter().next()) {
                Ok(Some(Written::Done(version))) => return Ok(version),
                // Before any answer was lost, a row that looks as ours is another resolver's.
                Ok(Some(Written::Conflict(row))) => {
                    let ours = ours(&write, row.as_ref()).filter(|_| calls > 0);
                    return ours.ok_or(Error::Overtaken);
                }
                Ok(None) => return Err(Error::Overtaken),
                Err(error) => error,
            };
            self.pause_or_give_up(error.into(), &mut calls).await?;
        }
    }

    /// The same together with `others`, all or nothing, and with an audit entry.
    pub(crate) async fn put_audited(
        &self,
        write: Write,
        others: Vec<Write>,
        action: &str,
        detail: serde_json::Value,
    ) -> Result<()> {
        let subject = write.key.sort.clone();
        let event = Event { at: self.now(), actor: RESOLVER.into(), action: action.into(), subject, detail };
        self.transact(write, others, Some(event)).await
    }

    /// The same, with an audit entry or without.
    pub(crate) async fn transact(
        &self,
        write: Write,
        others: Vec<Write>,
        event: Option<Event>,
    ) -> Result<()> {
        let mut calls = 0;
        loop {
            let error = match self.try_transact(&write, &others, event.as_ref()).await {
                Ok(Transacted::Done) => return Ok(()),
                Ok(Transacted::Conflict(places)) if places.contains(&0) => {
                    let rows = self.backend.store.get(std::slice::from_ref(&write.key)).await?;
                    let row = rows.into_iter().next().flatten();
                    let ours = ours(&write, row.as_ref()).filter(|_| calls > 0);
                    return ours.map(drop).ok_or(Error::Overtaken);
                }
                // What goes with it has changed: the whole work is done again.
                Ok(Transacted::Conflict(places)) if places.iter().any(|place| *place <= others.len()) => {
                    return Err(Error::Overtaken);
                }
                // Another audit entry came first.
                Ok(Transacted::Conflict(_)) => continue,
                Err(error) => error,
            };
            self.pause_or_give_up(error, &mut calls).await?;
        }
    }

    async fn try_transact(
        &self,
        write: &Write,
        others: &[Write],
        event: Option<&Event>,
    ) -> Result<Transacted> {
        let store = &*self.backend.store;
        let mut writes = vec![write.clone()];
        writes.extend_from_slice(others);
        if let Some(event) = event {
            writes.extend(audit::append(store, event.clone()).await?);
        }
        Ok(store.transact(writes).await?)
    }

    /// Whether nobody is at work that somebody began: its row, last read at `version`, does not change any more.
    pub(crate) async fn is_abandoned(&self, key: Key, version: u64) -> Result<bool> {
        self.runtime.clock.sleep(self.config.progress_every * SILENT_BEATS).await;
        let rows = self.backend.store.get(&[key]).await?;
        Ok(rows.into_iter().flatten().next().is_some_and(|row| row.version == version))
    }

    /// Why work that was begun `receives` times and broke again is given up, if it is: whoever asked for it learns the reason.
    pub(crate) fn gives_up(&self, error: &Error, receives: u32) -> Option<String> {
        let is_last = receives >= self.config.attempts_max && !matches!(error, Error::Overtaken);
        is_last.then(|| format!("it was begun {receives} times; at last: {}", error.text()))
    }

    /// Waits before another call, or returns `error` when that is no use.
    pub(crate) async fn pause_or_give_up(&self, error: Error, calls: &mut u32) -> Result<()> {
        *calls += 1;
        if !error.is_transient() || *calls >= CALLS_MAX {
            return Err(error);
        }
        self.runtime.clock.sleep(CALL_PAUSE * *calls).await;
        Ok(())
    }

    /// A local file with the bytes of a blob.
    pub(crate) async fn file(&self, blob: &str) -> Result<PathBuf> {
        let file = self.backend.blobs.file(blob).await?;
        file.ok_or_else(|| Error::Missing(blob.to_owned()))
    }

    /// A folder of its own for the files of one work.
    pub(crate) fn work_folder(&self) -> Result<WorkFolder> {
        let number = self.runtime.randomness.u128();
        let staging = self.backend.blobs.staging();
        let (new, path) =
            [NEW_PREFIX, WORK_PREFIX].map(|prefix| staging.join(format!("{prefix}{number:032x}"))).into();
        let made = || {
            std::fs::create_dir(&new)?;
            let lock = File::create_new(new.join(LOCK))?;
            lock.lock()?;
            // Under the name by which others find it, it is held.
            std::fs::rename(&new, &path)?;
            Ok(lock)
        };
        let lock = made().map_err(Error::io("make a folder for work"))?;
        Ok(WorkFolder { path, _lock: lock })
    }

    /// Removes the work folders of resolvers that were killed: nobody holds them.
    pub(crate) fn sweep(&self) {
        let entries = std::fs::read_dir(self.backend.blobs.staging());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_left = if name.starts_with(WORK_PREFIX) {
                // Without a lock, somebody was killed while removing it.
                File::open(entry.path().join(LOCK)).map_or(true, |lock| lock.try_lock().is_ok())
            } else {
                name.starts_with(NEW_PREFIX) && self.is_old(&entry)
            };
            if is_left {
                // Whatever stays is found by the next sweep.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Whether something is as old as nothing that is still being made.
    fn is_old(&self, entry: &std::fs::DirEntry) -> bool {
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let age = since.map(|since| self.now().since(Timestamp(since.as_micros() as u64)));
        age.is_some_and(|age| age > self.config.leftover_age)
    }
}

const WORK_PREFIX: &str = "work-";
/// Of a folder that is not held yet.
const NEW_PREFIX: &str = "new-work-";
/// The file in a work folder that is locked as long as its work lives.
const LOCK: &str = "lock";

/// The version of `row` when it is what `write` would have made: an earlier call whose answer was lost.
fn ours(write: &Write, row: Option<&Row>) -> Option<u64> {
    let Change::Put(body) = &write.change else { return None };
    let row = row.filter(|row| row.body == *body)?;
    let is_next = match write.expect {
        Expect::Version(version) => row.version == version + 1,
        Expect::Absent => row.version == 1,
        Expect::Anything => true,
    };
    is_next.then_some(row.version)
}

/// Removed when dropped.
pub(crate) struct WorkFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // A folder that stays is found by a later sweep.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Work whose row says from time to time that somebody is at it.
pub(crate) trait AtWork {
    /// When it was said last.
    fn pulse(&mut self) -> (&mut Pulse, &Desk);

    /// Says it. Fails when somebody else took the work over.
    async fn say(&mut self) -> Result<()>;

    /// Runs a step, and says it meanwhile whenever it is time: others see that somebody is at it, and whoever was overtaken stops.
    async fn during<T>(&mut self, step: impl Future<Output = T>) -> Result<T> {
        let mut step = std::pin::pin!(step);
        loop {
            let (pulse, desk) = self.pulse();
            tokio::select! {
                biased;
                done = &mut step => return Ok(done),
                () = pulse.due(desk) => {}
            }
            self.say().await?;
        }
    }
}

/// When progress was last stored.
pub(crate) struct Pulse {
    last: Monotonic,
}

impl Pulse {
    pub(crate) fn new(desk: &Desk) -> Self {
        Self { last: desk.runtime.clock.monotonic() }
    }

    /// Waits until it is time again.
    pub(crate) async fn due(&mut self, desk: &Desk) {
        let clock = &desk.runtime.clock;
        let since = clock.monotonic().since(self.last);
        if let Some(left) = desk.config.progress_every.checked_sub(since).filter(|left| !left.is_zero()) {
            clock.sleep(left).await;
        }
        self.last = clock.monotonic();
    }
}
