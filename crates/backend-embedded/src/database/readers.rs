//! Read-only use of the database on connections of their own, so that reads wait for no write.

use std::path::PathBuf;
use std::sync::Mutex;

use rusqlite::{Connection, TransactionBehavior};

use super::{connect, lock};

/// Connections kept open; more readers at once open and close one of their own.
const KEPT_MAX: usize = 8;

/// Connections that nobody uses at the moment.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Runs `run` on one snapshot.
    pub(super) fn read<T>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = lock(&self.idle).pop();
        let mut connection = idle.map_or_else(|| connect(&self.path), Ok)?;
        let value = {
            let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let value = run(&snapshot)?;
            snapshot.commit()?;
            value
        };
        let mut idle = lock(&self.idle);
        if idle.len() < KEPT_MAX {
            idle.push(connection);
        }
        Ok(value)
    }

    pub(super) fn close(&self) {
        lock(&self.idle).clear();
    }
}
