//! What several tests of this crate need.

use std::sync::Arc;

use backend::contract::{Harness, Time};
use backend_embedded::{Place, open};
use model::Timestamp;
use model::runtime::{BoxFuture, ManualClock, Runtime, SeededRandomness, Spawner};

/// This backend starts no tasks.
#[derive(Debug)]
pub(crate) struct NoTasks;

impl Spawner for NoTasks {
    fn spawn(&self, name: &'static str, _task: BoxFuture) {
        panic!("{name}: this backend starts no tasks");
    }
}

/// A run time whose clock moves when told to.
pub(crate) fn runtime() -> (Runtime, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
    let randomness = Arc::new(SeededRandomness::new(1));
    (Runtime { clock: clock.clone(), randomness, spawner: Arc::new(NoTasks) }, clock)
}

/// A fresh backend in memory.
pub(crate) async fn memory() -> Harness {
    let (runtime, clock) = runtime();
    let embedded = open(&Place::Memory, &runtime).unwrap();
    Harness {
        backend: embedded.backend.clone(),
        time: Time::Manual(clock),
        gaps: &[],
        keep: Box::new(embedded),
    }
}

/// A fresh backend in a folder.
pub(crate) async fn folder() -> Harness {
    let (runtime, clock) = runtime();
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(&Place::of(folder.path()), &runtime).unwrap();
    let backend = embedded.backend.clone();
    Harness { backend, time: Time::Manual(clock), gaps: &[], keep: Box::new((embedded, folder)) }
}

/// A fresh backend in memory under a fault decorator that makes none.
pub(crate) async fn without_faults() -> Harness {
    let (runtime, clock) = runtime();
    let embedded = open(&Place::Memory, &runtime).unwrap();
    let (backend, faults) = backend::fault::wrap(embedded.backend.clone(), runtime.clock, 1);
    Harness { backend, time: Time::Manual(clock), gaps: &[], keep: Box::new((embedded, faults)) }
}
