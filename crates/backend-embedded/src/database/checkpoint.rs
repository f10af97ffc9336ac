//! Moving the write-ahead log into the database, on a thread and connection of its own, so that no commit waits for it; and rarely
//! while a launch may be on, because both would wait for the same disk.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connect;
use crate::error::Error;

/// How busy the database is, as the writer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Few commits, nothing armed or launched lately.
    Idle,
    /// Few commits.
    Quiet,
    /// Many commits.
    Busy,
}

impl Load {
    /// Pages of 4 KiB that may wait in the log.
    const fn pages_max(self) -> i64 {
        match self {
            Load::Idle => 2_000,
            Load::Quiet => 16_000,
            // 2 GiB: a launch of 6 M devices writes a tenth of it.
            Load::Busy => 500_000,
        }
    }
}

/// Asks for checkpoints.
pub(super) struct Checkpoints {
    requests: SyncSender<Load>,
}

impl Checkpoints {
    /// Starts the thread; it ends with the asker.
    pub(super) fn start(path: &Path) -> Result<(Self, JoinHandle<()>), Error> {
        let connection = connect(path).map_err(Error::database(path))?;
        let (requests, received) = sync_channel(1);
        let name = path.display().to_string();
        let thread = std::thread::Builder::new()
            .name("fanfare-checkpoint".into())
            .spawn(move || checkpoint_all(&name, &connection, &received))
            .map_err(|source| Error::Thread { source })?;
        Ok((Self { requests }, thread))
    }

    /// Has the log looked at, unless that is being done.
    pub(super) fn ask(&self, load: Load) {
        // Full: one is under way. Disconnected: the database closes.
        let _ = self.requests.try_send(load);
    }
}

fn checkpoint_all(name: &str, connection: &Connection, requests: &Receiver<Load>) {
    while let Ok(load) = requests.recv() {
        if let Err(error) = checkpoint(connection, load) {
            tracing::warn!(database = name, %error, "the log cannot be moved into the database");
        }
    }
}

pub(super) fn checkpoint(connection: &Connection, load: Load) -> rusqlite::Result<()> {
    if pages(connection, "NOOP")? >= load.pages_max() {
        pages(connection, "PASSIVE")?;
    }
    Ok(())
}

/// Runs a checkpoint; pages that wait in the log after it.
pub(super) fn pages(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    connection.prepare_cached(&pragma)?.query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
}
