//! Learning of what other processes commit: a look every few milliseconds, only while somebody waits for it.

use std::time::Duration;

use model::Timestamp;
use rusqlite::Connection;

/// Who wants to know.
pub(crate) trait Watcher: Send + Sync {
    /// Whether anybody waits.
    fn is_waiting(&self) -> bool;

    /// Looks at what is there now, after another process committed something.
    fn look(&self, database: &Connection) -> rusqlite::Result<()>;
}

/// How long after something that survives power (a campaign edited, armed, launched, stopped) the looks are close together.
const LIVELY: Duration = Duration::from_secs(600);
/// Between looks while lively.
const STEP_LIVELY: Duration = Duration::from_millis(3);
/// Between looks otherwise: the first press after a quiet time is seen this much later by other processes.
const STEP_QUIET: Duration = Duration::from_millis(20);
/// `activity` is written again when it is this old.
const NOTE_AGE: Duration = Duration::from_secs(60);

/// When to look, and whether there is something new.
#[derive(Default)]
pub(super) struct Watch {
    version: i64,
    active_at: Timestamp,
}

impl Watch {
    /// How long the writer may wait for jobs.
    pub(super) fn step(&self, now: Timestamp) -> Duration {
        if self.is_lively(now) { STEP_LIVELY } else { STEP_QUIET }
    }

    /// Whether something was armed, launched or edited lately, by any process.
    pub(super) fn is_lively(&self, now: Timestamp) -> bool {
        now.since(self.active_at) < LIVELY
    }

    /// Whether another connection committed since the last look.
    pub(super) fn has_changed(&mut self, database: &Connection) -> rusqlite::Result<bool> {
        let version = database.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if version == self.version {
            return Ok(false);
        }
        self.version = version;
        let mut activity = database.prepare_cached("SELECT at FROM activity")?;
        let at: i64 = activity.query_row([], |row| row.get(0))?;
        self.active_at = self.active_at.max(Timestamp(at.cast_unsigned()));
        Ok(true)
    }

    /// Notes, within a transaction that survives power, that something happens.
    pub(super) fn note(&mut self, database: &Connection, now: Timestamp) -> rusqlite::Result<()> {
        if now.since(self.active_at) >= NOTE_AGE {
            let at = now.as_micros().cast_signed();
            database.prepare_cached("UPDATE activity SET at = ?1")?.execute([at])?;
            self.active_at = now;
        }
        Ok(())
    }
}
