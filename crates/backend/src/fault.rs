//! Faults made on purpose, over any backend: calls that fail before or after their effect, in part or late; messages that
//! come twice or out of order. What happens to the nth call of an operation follows from the seed alone.

mod blobs;
mod directory;
mod queues;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::runtime::{Clock, mix};

use crate::Backend;
use crate::error::{Error, ErrorKind, Result};

/// Wraps every part of `backend`. No fault is made before the handle says so.
pub fn wrap(backend: Backend, clock: Arc<dyn Clock>, seed: u64) -> (Backend, Faults) {
    let faults = Faults { shared: Arc::new(Shared { clock, seed, state: Mutex::default() }) };
    let wrapped = Backend {
        store: Arc::new(store::Faulty { inner: backend.store, faults: faults.clone() }),
        queues: Arc::new(queues::Faulty::new(backend.queues, faults.clone())),
        blobs: Arc::new(blobs::Faulty { inner: backend.blobs, faults: faults.clone() }),
        directory: Arc::new(directory::Faulty { inner: backend.directory, faults: faults.clone() }),
    };
    (wrapped, faults)
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A call of the seam.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// Every call.
            pub const ALL: &[Operation] = &[$(Operation::$name,)*];

            /// As errors name it, for example `store.get`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Operation::$name => $text,)*
                }
            }
        }
    };
}

impl Operation {
    /// Whether what is stored may be another afterwards.
    const fn is_change(self) -> bool {
        !matches!(
            self,
            Operation::Get
                | Operation::Query
                | Operation::Depth
                | Operation::GetBlob
                | Operation::File
                | Operation::List
                | Operation::Grown
                | Operation::Growing
                | Operation::GrowingFile
                | Operation::Holdings
                | Operation::Knows
                | Operation::Count
        )
    }
}

operations! {
    /// `Store::get`.
    Get = "store.get",
    /// `Store::query`.
    Query = "store.query",
    /// `Store::write`.
    Write = "store.write",
    /// `Store::transact`.
    Transact = "store.transact",
    /// `Queues::send`.
    Send = "queues.send",
    /// `Queues::receive`.
    Receive = "queues.receive",
    /// `Queues::delete`.
    Delete = "queues.delete",
    /// `Queues::extend`.
    Extend = "queues.extend",
    /// `Queues::give_back`.
    GiveBack = "queues.give_back",
    /// `Queues::depth`.
    Depth = "queues.depth",
    /// `Blobs::put_file`.
    PutFile = "blobs.put_file",
    /// `Blobs::put`.
    PutBlob = "blobs.put",
    /// `Blobs::get`.
    GetBlob = "blobs.get",
    /// `Blobs::file`.
    File = "blobs.file",
    /// `Blobs::list`.
    List = "blobs.list",
    /// `Blobs::delete`.
    DeleteBlob = "blobs.delete",
    /// `Blobs::grow`.
    Grow = "blobs.grow",
    /// `Blobs::grown`.
    Grown = "blobs.grown",
    /// `Blobs::growing`.
    Growing = "blobs.growing",
    /// `Growing::append`.
    Append = "growing.append",
    /// `Growing::cut`.
    Cut = "growing.cut",
    /// `Growing::sync`.
    Sync = "growing.sync",
    /// `Growing::file`.
    GrowingFile = "growing.file",
    /// `Growing::keep`.
    Keep = "growing.keep",
    /// `Growing::discard`.
    Discard = "growing.discard",
    /// `Directory::import`.
    Import = "directory.import",
    /// `Directory::devices`.
    Holdings = "directory.holdings",
    /// `Directory::knows`.
    Knows = "directory.knows",
    /// `Directory::delete_users`.
    DeleteUsers = "directory.delete_users",
    /// `Directory::erase_users`.
    EraseUsers = "directory.erase_users",
    /// `Directory::prune`.
    Prune = "directory.prune",
    /// `Directory::count`.
    Count = "directory.count",
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It is not made, and fails as [`ErrorKind::Transient`].
    Transient,
    /// It is not made, and fails as [`ErrorKind::Storage`].
    Broken,
    /// It is not made, and fails as [`ErrorKind::AnswerLost`].
    RequestLost,
    /// It is made, and fails as [`ErrorKind::AnswerLost`].
    AnswerLost,
    /// `Store::write` and `Queues::send` do a part from the front and fail as [`ErrorKind::AnswerLost`]; any other call is
    /// as with [`Fault::AnswerLost`].
    Partial,
    /// It takes longer: before its effect or after.
    Delay,
    /// `Queues::receive` of a standard queue: a message comes again later, deleted or not, with the same receipt.
    Duplicate,
    /// `Queues::receive` of a standard queue: the messages come in another order, and some of them later.
    Reorder,
}

/// How often each fault happens to an operation: shares of its calls, 0 to 1. The first five exclude each other, so together
/// they should not pass 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// See [`Fault::Transient`].
    pub transient: f64,
    /// See [`Fault::Broken`].
    pub broken: f64,
    /// See [`Fault::RequestLost`].
    pub request_lost: f64,
    /// See [`Fault::AnswerLost`].
    pub answer_lost: f64,
    /// See [`Fault::Partial`].
    pub partial: f64,
    /// See [`Fault::Delay`].
    pub delay: f64,
    /// The longest delay.
    pub delay_max: Duration,
    /// See [`Fault::Duplicate`]; a share of the messages.
    pub duplicate: f64,
    /// See [`Fault::Reorder`].
    pub reorder: f64,
}

/// The handle: says which faults are made, and tells which were.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shares: BTreeMap<Operation, Shares>,
    next: BTreeMap<Operation, VecDeque<Option<Fault>>>,
    calls: BTreeMap<Operation, u64>,
    made: BTreeMap<(Operation, Fault), u64>,
    /// Changes that are still made; `None`: all.
    changes_left: Option<u64>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("seed", &self.shared.seed).field("made", &self.made()).finish()
    }
}

impl Faults {
    /// Sets the shares of one operation.
    pub fn set(&self, operation: Operation, shares: Shares) {
        self.lock().shares.insert(operation, shares);
    }

    /// Sets the shares of every operation.
    pub fn set_all(&self, shares: Shares) {
        self.lock().shares = Operation::ALL.iter().map(|&operation| (operation, shares)).collect();
    }

    /// No more faults, scripted ones included. Messages held back still come.
    pub fn off(&self) {
        let mut state = self.lock();
        state.shares.clear();
        state.next.clear();
        state.changes_left = None;
    }

    /// After so many changes more every call fails, as it does to whoever is killed.
    pub fn stop_after(&self, changes: u64) {
        self.lock().changes_left = Some(changes);
    }

    /// Puts `fault` (or none) on the next call of `operation` that has none put on it yet.
    pub fn next(&self, operation: Operation, fault: Option<Fault>) {
        self.lock().next.entry(operation).or_default().push_back(fault);
    }

    /// How many of each were made.
    pub fn made(&self) -> BTreeMap<(Operation, Fault), u64> {
        self.lock().made.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the call of `operation` that begins now.
    fn decide(&self, operation: Operation) -> Decision {
        let mut state = self.lock();
        let calls = state.calls.entry(operation).or_default();
        let mut draw = Draw(mix(self.shared.seed ^ mix(operation as u64 + 1) ^ mix(*calls).rotate_left(17)));
        *calls += 1;
        match &mut state.changes_left {
            Some(0) => {
                return Decision { failure: Some(Fault::Broken), shares: Shares::default(), draw };
            }
            Some(left) if operation.is_change() => *left -= 1,
            _ => {}
        }
        let scripted = state.next.get_mut(&operation).and_then(VecDeque::pop_front);
        let shares = state.shares.get(&operation).copied().unwrap_or_default();
        let failure = match scripted {
            Some(Some(fault @ (Fault::Delay | Fault::Duplicate | Fault::Reorder))) => {
                let shares = only(fault, shares);
                drop(state);
                return Decision { failure: None, shares, draw };
            }
            Some(scripted) => scripted,
            None => shares.failure(draw.unit()),
        };
        if let Some(fault) = failure {
            *state.made.entry((operation, fault)).or_default() += 1;
        }
        let shares = if scripted.is_some() { Shares::default() } else { shares };
        Decision { failure, shares, draw }
    }

    fn count(&self, operation: Operation, fault: Fault) {
        *self.lock().made.entry((operation, fault)).or_default() += 1;
    }

    /// Makes `call`, or not, as decided. `part` is made in its place when it shall happen in part.
    async fn around<T>(
        &self,
        operation: Operation,
        mut decision: Decision,
        call: impl Future<Output = Result<T>> + Send,
        part: Option<impl Future<Output = Result<T>> + Send>,
    ) -> Result<T> {
        let name = operation.name();
        let fail = |kind, what: &str| Err(Error::new(kind, name, format!("made fault: {what}")));
        match (decision.failure, part) {
            (Some(Fault::Transient), _) => fail(ErrorKind::Transient, "not made"),
            (Some(Fault::Broken), _) => fail(ErrorKind::Storage, "not made"),
            (Some(Fault::RequestLost), _) => fail(ErrorKind::AnswerLost, "not made"),
            (Some(Fault::Partial), Some(part)) => {
                part.await?;
                fail(ErrorKind::AnswerLost, "made in part")
            }
            (Some(_), _) => {
                call.await?;
                fail(ErrorKind::AnswerLost, "made")
            }
            (None, _) => self.delayed(operation, &mut decision, call).await,
        }
    }

    async fn delayed<T>(
        &self,
        operation: Operation,
        decision: &mut Decision,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        if decision.draw.unit() >= decision.shares.delay {
            return call.await;
        }
        self.count(operation, Fault::Delay);
        let delay = self.shared.clock.sleep(decision.shares.delay_max.mul_f64(decision.draw.unit()));
        if decision.draw.unit() < 0.5 {
            delay.await;
            call.await
        } else {
            let answer = call.await;
            delay.await;
            answer
        }
    }

    /// The same for calls that cannot happen in part.
    async fn whole<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let decision = self.decide(operation);
        self.around(operation, decision, call, None::<std::future::Pending<Result<T>>>).await
    }
}

/// What was decided about one call.
struct Decision {
    failure: Option<Fault>,
    shares: Shares,
    draw: Draw,
}

/// Numbers that follow from a call's seed.
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// 0 to 1, 1 excluded.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// 0 to `bound`, `bound` excluded.
    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }
}

impl Shares {
    /// The fault that `draw` falls on.
    fn failure(&self, mut draw: f64) -> Option<Fault> {
        let shares = [
            (self.transient, Fault::Transient),
            (self.broken, Fault::Broken),
            (self.request_lost, Fault::RequestLost),
            (self.answer_lost, Fault::AnswerLost),
            (self.partial, Fault::Partial),
        ];
        for (share, fault) in shares {
            if draw < share {
                return Some(fault);
            }
            draw -= share;
        }
        None
    }
}

/// Shares under which `fault`, one of the last three, is sure.
fn only(fault: Fault, before: Shares) -> Shares {
    let sure = |one| if fault == one { 1.0 } else { 0.0 };
    Shares {
        delay: sure(Fault::Delay),
        delay_max: before.delay_max.max(Duration::from_secs(1)),
        duplicate: sure(Fault::Duplicate),
        reorder: sure(Fault::Reorder),
        ..Shares::default()
    }
}
