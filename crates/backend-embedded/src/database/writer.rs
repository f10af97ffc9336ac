//! The writer thread: takes the calls that wait, does them in one transaction, commits, answers.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::pace::Pace;
use crate::error::{Error, Failure};
use crate::jobs::{Found, Inbox, Job, Survives};

/// Starts the thread. It ends when the inbox is closed.
pub(super) fn start(
    name: String,
    connection: Connection,
    inbox: Arc<Inbox>,
) -> Result<JoinHandle<()>, Error> {
    let run = move || write_all(&name, &connection, &inbox);
    std::thread::Builder::new()
        .name("fanfare-sqlite".into())
        .spawn(run)
        .map_err(|source| Error::Thread { source })
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long jobs gather is real time, whatever the stages' clock says"
)]
fn write_all(name: &str, connection: &Connection, inbox: &Inbox) {
    let start = Instant::now();
    let mut pace = Pace::new();
    loop {
        match inbox.take(Duration::from_secs(1)) {
            Found::Jobs(jobs) => {
                commit(name, connection, jobs);
                let pause = pace.committed(start.elapsed());
                if !pause.is_zero() {
                    inbox.pace(pause);
                }
            }
            Found::Nothing => {}
            Found::Closed => return,
        }
    }
}

/// Does `jobs` in one transaction and answers them. When one fails, each is tried by itself.
pub(super) fn commit(name: &str, connection: &Connection, jobs: Vec<Box<dyn Job>>) {
    let is_alone = jobs.len() == 1;
    let (jobs, result) = attempt(name, connection, jobs);
    match result {
        Ok(()) => jobs.into_iter().for_each(|job| job.answer(Ok(()))),
        Err(Failed::Job(_)) if !is_alone => {
            jobs.into_iter().for_each(|job| commit(name, connection, vec![job]))
        }
        Err(Failed::Job(failure) | Failed::Transaction(failure)) => {
            jobs.into_iter().for_each(|job| job.answer(Err(failure.clone())));
        }
    }
}

enum Failed {
    /// One of the jobs; nothing was done.
    Job(Failure),
    /// Begin or commit.
    Transaction(Failure),
}

type Jobs = Vec<Box<dyn Job>>;

fn attempt(name: &str, connection: &Connection, mut jobs: Jobs) -> (Jobs, Result<(), Failed>) {
    let survives_power = jobs.iter().any(|job| job.survives() == Survives::Power);
    let result = transaction(name, connection, &mut jobs, survives_power);
    if result.is_err() && !connection.is_autocommit() {
        // When it fails too the next begin does, and says why.
        let _ = connection.execute_batch("ROLLBACK");
    }
    (jobs, result)
}

fn transaction(
    name: &str,
    connection: &Connection,
    jobs: &mut [Box<dyn Job>],
    survives_power: bool,
) -> Result<(), Failed> {
    let sqlite = |error| Failed::Transaction(Failure::of_sqlite(name, &error));
    if survives_power {
        connection.execute_batch("PRAGMA synchronous = FULL").map_err(sqlite)?;
    }
    connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])).map_err(sqlite)?;
    for job in jobs {
        job.run(connection).map_err(|error| Failed::Job(Failure::of_sqlite(name, &error)))?;
    }
    let commit = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    commit.map_err(|error| Failed::Transaction(Failure::of_commit(name, &error)))?;
    if survives_power {
        connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(sqlite)?;
    }
    Ok(())
}
