//! A SQLite database: one writer thread with group commit and readers on connections of their own; or, in memory, one
//! connection on which every call runs at once, in the order of the calls.

mod checkpoint;
mod pace;
mod readers;
mod watch;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend::ErrorKind;
use model::runtime::Clock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use self::checkpoint::Checkpoints;
use self::readers::Readers;
pub(crate) use self::watch::Watcher;
use self::writer::Writer;
use crate::error::{Error, Failure};
use crate::files;
use crate::jobs::{Call, Inbox, Job, Survives};
use crate::schema::{FILE, check_or_make};

/// See the module.
pub(crate) struct Database {
    name: String,
    kind: Kind,
}

enum Kind {
    Memory(Mutex<Connection>),
    Disk(Disk),
}

struct Disk {
    inbox: Arc<Inbox>,
    readers: Readers,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Database {
    /// Opens the database in `folder`, or makes one in memory. `watcher` learns of what other processes do.
    pub(crate) fn open(
        folder: Option<&Path>,
        clock: Arc<dyn Clock>,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Self, Error> {
        let Some(folder) = folder else { return Self::open_memory() };
        let path = folder.join(FILE);
        files::private().create(true).open(&path).map_err(Error::file(&path))?;
        let connection = connect(&path).map_err(Error::database(&path))?;
        check_or_make(&connection, &path)?;
        let name = path.display().to_string();
        let inbox = Arc::new(Inbox::new());
        let (checkpoints, checkpointer) = Checkpoints::start(&path)?;
        let writer = Writer::new(name.clone(), connection, Arc::clone(&inbox), clock, watcher, checkpoints);
        let threads = Mutex::new(vec![writer.start()?, checkpointer]);
        let readers = Readers::new(path);
        Ok(Self { name, kind: Kind::Disk(Disk { inbox, readers, threads }) })
    }

    fn open_memory() -> Result<Self, Error> {
        let path = PathBuf::from(":memory:");
        let mut connection = Connection::open_in_memory().map_err(Error::database(&path))?;
        prepare(&mut connection).map_err(Error::database(&path))?;
        check_or_make(&connection, &path)?;
        Ok(Self { name: path.display().to_string(), kind: Kind::Memory(Mutex::new(connection)) })
    }

    /// Runs `run` in a transaction and answers once it is committed; `after` makes the answer right after the commit, even when
    /// the caller has gone. `run` may be rolled back and run again.
    pub(crate) async fn write<T, Answer, Run, After>(
        &self,
        operation: &'static str,
        survives: Survives,
        run: Run,
        after: After,
    ) -> backend::Result<Answer>
    where
        T: Send + 'static,
        Answer: Send + 'static,
        Run: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        After: FnOnce(T) -> Answer + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Call { operation, survives, run, after, value: None, reply });
        match &self.kind {
            Kind::Memory(connection) => {
                // Nothing below waits, so give other tasks their turn now and then.
                tokio::task::coop::consume_budget().await;
                writer::commit(&self.name, &lock(connection), vec![job]);
            }
            Kind::Disk(disk) => {
                if let Err(job) = disk.inbox.put(job).await {
                    job.answer(Err(self.closed()));
                }
            }
        }
        let lost = || Failure::new(ErrorKind::AnswerLost, format!("the writer of {} has ended", self.name));
        answer.await.unwrap_or_else(|_| Err(lost().error(operation)))
    }

    /// The same for a job that nobody waits for.
    pub(crate) fn submit(&self, job: Box<dyn Job>) {
        match &self.kind {
            Kind::Memory(connection) => writer::commit(&self.name, &lock(connection), vec![job]),
            Kind::Disk(disk) => disk.inbox.put_now(job),
        }
    }

    /// Runs `run` on one snapshot that shows every write acknowledged before the call.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> backend::Result<T> {
        let result = match &self.kind {
            Kind::Memory(connection) => run(&lock(connection)),
            Kind::Disk(disk) => disk.readers.read(run).ok_or_else(|| self.closed().error(operation))?,
        };
        result.map_err(|error| Failure::of_sqlite(&self.name, &error).error(operation).with_source(error))
    }

    fn closed(&self) -> Failure {
        Failure::new(ErrorKind::Transient, format!("{} is closed", self.name))
    }

    /// Does what waits, then ends the threads and closes the files.
    pub(crate) async fn close(&self) {
        let Kind::Disk(disk) = &self.kind else { return };
        disk.inbox.close();
        disk.readers.close();
        let threads = std::mem::take(&mut *lock(&disk.threads));
        for thread in threads {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(database = self.name, "a thread of the database panicked");
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Kind::Disk(disk) = &self.kind {
            disk.inbox.close();
        }
    }
}

/// Opens one more connection to the database at `path`, which must be there.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    prepare(&mut connection)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_handler(Some(wait_for_lock))?;
    // Without this, SQLite plans a statement anew for each value that it compares an index with.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // The log is cut back to 64 MiB when it starts anew.
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY;",
    )
}

/// How often [`wait_for_lock`] tries: for about ten seconds.
const LOCK_TRIES: i32 = 20_000;

/// Other processes hold the write lock for about a millisecond at a time: wait in small steps. SQLite's own handler soon
/// waits for 100 ms at once.
#[allow(clippy::disallowed_methods, reason = "only the database's threads wait here, for another process")]
fn wait_for_lock(tries: i32) -> bool {
    std::thread::sleep(std::time::Duration::from_micros(500));
    tries < LOCK_TRIES
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
