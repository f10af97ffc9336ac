//! Calls on their way to the writer thread: what to do in the transaction, and whom to tell after the commit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use crate::error::Failure;

/// How long an acknowledged write lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survives {
    /// The death of every process.
    Processes,
    /// The loss of power.
    Power,
}

/// A call on the database. `run` may happen more than once, in a transaction that is rolled back in between.
pub(crate) trait Job: Send {
    fn survives(&self) -> Survives;
    fn run(&mut self, database: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), Failure>);
}

/// A job made of closures.
pub(crate) struct Call<T, Answer, Run, After> {
    pub(crate) operation: &'static str,
    pub(crate) survives: Survives,
    pub(crate) run: Run,
    /// Makes the answer once it is committed, whether or not the caller still waits.
    pub(crate) after: After,
    pub(crate) value: Option<T>,
    pub(crate) reply: oneshot::Sender<backend::Result<Answer>>,
}

impl<T, Answer, Run, After> Job for Call<T, Answer, Run, After>
where
    T: Send,
    Answer: Send,
    Run: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    After: FnOnce(T) -> Answer + Send,
{
    fn survives(&self) -> Survives {
        self.survives
    }

    fn run(&mut self, database: &Connection) -> rusqlite::Result<()> {
        self.value = Some((self.run)(database)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Failure>) {
        let answer = match (committed, self.value) {
            (Ok(()), Some(value)) => Ok((self.after)(value)),
            (Ok(()), None) => unreachable!("a committed job has run"),
            (Err(failure), _) => Err(failure.error(self.operation)),
        };
        // A caller that went away has no use for the answer.
        let _ = self.reply.send(answer);
    }
}

/// Most calls that wait at once; more wait for a permit.
const WAITING_MAX: usize = 4_096;

/// The queue between callers and the writer thread.
pub(crate) struct Inbox {
    state: Mutex<State>,
    bell: Condvar,
    permits: Semaphore,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn Job>>,
    /// Jobs that came without a permit.
    unpermitted: usize,
    is_urgent: bool,
    is_closed: bool,
    is_pacing: bool,
}

/// What the writer thread found.
pub(crate) enum Found {
    /// Work, in order.
    Jobs(Vec<Box<dyn Job>>),
    /// Nothing for as long as it wanted to wait.
    Nothing,
    /// Closed, and everything is done.
    Closed,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), bell: Condvar::new(), permits: Semaphore::new(WAITING_MAX) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a job over; the job comes back when the inbox is closed.
    pub(crate) async fn put(&self, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        let Ok(permit) = self.permits.acquire().await else { return Err(job) };
        permit.forget();
        let state = self.lock();
        if state.is_closed {
            return Err(job);
        }
        self.push(state, job);
        Ok(())
    }

    /// Hands over a job that nobody waits for and that cannot wait for a permit; dropped when the inbox is closed.
    pub(crate) fn put_now(&self, job: Box<dyn Job>) {
        let mut state = self.lock();
        if !state.is_closed {
            state.unpermitted += 1;
            self.push(state, job);
        }
    }

    fn push(&self, mut state: MutexGuard<'_, State>, job: Box<dyn Job>) {
        let is_urgent = job.survives() == Survives::Power;
        state.jobs.push_back(job);
        state.is_urgent |= is_urgent;
        // A pacing writer looks by itself soon; waking it for each job would cost more than the job.
        let rings = is_urgent || (state.jobs.len() == 1 && !state.is_pacing);
        drop(state);
        if rings {
            self.bell.notify_one();
        }
    }

    /// Lets jobs gather for `pause`, unless one is urgent.
    pub(crate) fn pace(&self, pause: Duration) {
        let mut state = self.lock();
        state.is_pacing = true;
        let wait = self.bell.wait_timeout_while(state, pause, |state| !state.is_urgent && !state.is_closed);
        let (mut state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        state.is_pacing = false;
    }

    /// All jobs, as soon as there is one; waits at most `wait`.
    pub(crate) fn take(&self, wait: Duration) -> Found {
        let state = self.lock();
        let is_waiting = |state: &mut State| state.jobs.is_empty() && !state.is_closed;
        let wait = self.bell.wait_timeout_while(state, wait, is_waiting);
        let (mut state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        if state.jobs.is_empty() {
            return if state.is_closed { Found::Closed } else { Found::Nothing };
        }
        state.is_urgent = false;
        let jobs: Vec<_> = state.jobs.drain(..).collect();
        let permits = jobs.len() - std::mem::take(&mut state.unpermitted);
        drop(state);
        self.permits.add_permits(permits);
        Found::Jobs(jobs)
    }

    /// No more jobs are taken; those that wait are still done.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.permits.close();
        self.bell.notify_one();
    }
}
