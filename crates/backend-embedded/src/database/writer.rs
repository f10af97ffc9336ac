//! The writer thread: takes the calls that wait, does them in one transaction, commits, answers. In between it looks for what other
//! processes did, and has the log moved when there is little to do.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::runtime::Clock;
use rusqlite::Connection;

use super::checkpoint::{Checkpoints, Load};
use super::pace::Pace;
use super::watch::{Watch, Watcher};
use crate::error::{Error, Failure};
use crate::jobs::{Found, Inbox, Job, Survives};

/// How often the writer thinks about the log.
const TEND: Duration = Duration::from_secs(1);
/// Commits in that time that still count as few: heartbeats of some workers.
const QUIET_COMMITS: u32 = 25;

/// What the thread holds.
pub(super) struct Writer {
    name: String,
    connection: Connection,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    watcher: Arc<dyn Watcher>,
    watch: Watch,
    checkpoints: Checkpoints,
    commits: u32,
}

impl Writer {
    pub(super) fn new(
        name: String,
        connection: Connection,
        inbox: Arc<Inbox>,
        clock: Arc<dyn Clock>,
        watcher: Arc<dyn Watcher>,
        checkpoints: Checkpoints,
    ) -> Self {
        Self { name, connection, inbox, clock, watcher, watch: Watch::default(), checkpoints, commits: 0 }
    }

    /// Starts the thread. It ends when the inbox is closed.
    pub(super) fn start(self) -> Result<JoinHandle<()>, Error> {
        let thread = std::thread::Builder::new().name("fanfare-sqlite".into());
        thread.spawn(move || self.run()).map_err(|source| Error::Thread { source })
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "how long jobs gather is real time, whatever the stages' clock says"
    )]
    fn run(mut self) {
        let start = Instant::now();
        let (mut pace, mut looked, mut tended) = (Pace::new(), Duration::ZERO, Duration::ZERO);
        loop {
            let step = if self.watcher.is_waiting() { self.watch.step(self.clock.now()) } else { TEND };
            match self.inbox.take(step) {
                Found::Jobs(jobs) => {
                    self.commit(jobs);
                    let pause = pace.committed(start.elapsed());
                    if !pause.is_zero() {
                        self.inbox.pace(pause);
                    }
                }
                Found::Nothing => {}
                Found::Closed => return,
            }
            let now = start.elapsed();
            if now.saturating_sub(looked) >= step.min(TEND) {
                looked = now;
                self.look();
            }
            if now.saturating_sub(tended) >= TEND {
                tended = now;
                self.tend();
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Box<dyn Job>>) {
        self.commits += 1;
        let Self { name, connection, clock, watch, .. } = self;
        if jobs.iter().any(|job| job.survives() == Survives::Power) {
            let noted = |database: &Connection| watch.note(database, clock.now());
            commit_and(name, connection, jobs, noted);
        } else {
            commit(name, connection, jobs);
        }
    }

    fn look(&mut self) {
        let Self { name, connection, watcher, watch, .. } = self;
        let looked = watch.has_changed(connection).and_then(|has_changed| match has_changed {
            true => watcher.look(connection),
            false => Ok(()),
        });
        if let Err(error) = looked {
            tracing::warn!(database = name, %error, "cannot see what other processes did");
        }
    }

    fn tend(&mut self) {
        let load = match std::mem::take(&mut self.commits) {
            commits if commits > QUIET_COMMITS => Load::Busy,
            _ if self.watch.is_lively(self.clock.now()) => Load::Quiet,
            _ => Load::Idle,
        };
        self.checkpoints.ask(load);
    }
}

/// Does `jobs` in one transaction and answers them. When one fails, each is tried by itself.
pub(super) fn commit(name: &str, connection: &Connection, jobs: Jobs) {
    commit_and(name, connection, jobs, |_| Ok(()));
}

fn commit_and(
    name: &str,
    connection: &Connection,
    mut jobs: Jobs,
    mut also: impl FnMut(&Connection) -> rusqlite::Result<()>,
) {
    let is_alone = jobs.len() == 1;
    match attempt(name, connection, &mut jobs, &mut also) {
        Ok(()) => jobs.into_iter().for_each(|job| job.answer(Ok(()))),
        Err(Failed::Job(_)) if !is_alone => {
            jobs.into_iter().for_each(|job| commit(name, connection, vec![job]));
        }
        Err(Failed::Job(failure) | Failed::Transaction(failure)) => {
            jobs.into_iter().for_each(|job| job.answer(Err(failure.clone())));
        }
    }
}

type Jobs = Vec<Box<dyn Job>>;

enum Failed {
    /// One of the jobs; nothing was done.
    Job(Failure),
    /// Begin or commit.
    Transaction(Failure),
}

fn attempt(
    name: &str,
    connection: &Connection,
    jobs: &mut Jobs,
    also: &mut impl FnMut(&Connection) -> rusqlite::Result<()>,
) -> Result<(), Failed> {
    let sqlite = |error| Failed::Transaction(Failure::of_sqlite(name, &error));
    let survives_power = jobs.iter().any(|job| job.survives() == Survives::Power);
    if survives_power {
        connection.execute_batch("PRAGMA synchronous = FULL").map_err(sqlite)?;
    }
    let result = transaction(name, connection, jobs, also);
    if !connection.is_autocommit() {
        // When it fails too the next begin does, and says why.
        let _ = connection.execute_batch("ROLLBACK");
    }
    if survives_power {
        // Should this fail, later commits are synced more than they need.
        let _ = connection.execute_batch("PRAGMA synchronous = NORMAL");
    }
    result
}

fn transaction(
    name: &str,
    connection: &Connection,
    jobs: &mut Jobs,
    also: &mut impl FnMut(&Connection) -> rusqlite::Result<()>,
) -> Result<(), Failed> {
    let sqlite = |error| Failed::Transaction(Failure::of_sqlite(name, &error));
    let mut begin = connection.prepare_cached("BEGIN IMMEDIATE").map_err(sqlite)?;
    begin.execute([]).map_err(sqlite)?;
    for job in jobs {
        job.run(connection).map_err(|error| Failed::Job(Failure::of_sqlite(name, &error)))?;
    }
    also(connection).map_err(sqlite)?;
    let mut commit = connection.prepare_cached("COMMIT").map_err(sqlite)?;
    commit.execute([]).map_err(|error| Failed::Transaction(Failure::of_commit(name, &error)))?;
    Ok(())
}
