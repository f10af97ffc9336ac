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
    /// `None` once closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Some(Vec::new())) }
    }

    /// Runs `run` on one snapshot; `None` when this is closed.
    pub(super) fn read<T>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Option<rusqlite::Result<T>> {
        let idle = lock(&self.idle).as_mut()?.pop();
        Some(self.read_on(idle, run))
    }

    fn read_on<T>(
        &self,
        idle: Option<Connection>,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let mut connection = idle.map_or_else(|| connect(&self.path), Ok)?;
        let value = {
            let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let value = run(&snapshot)?;
            snapshot.commit()?;
            value
        };
        if let Some(idle) = lock(&self.idle).as_mut().filter(|idle| idle.len() < KEPT_MAX) {
            idle.push(connection);
        }
        Ok(value)
    }

    pub(super) fn close(&self) {
        lock(&self.idle).take();
    }
}
