//! The real run time, and how long something takes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::runtime::{BoxFuture, Clock, Runtime, SeededRandomness, Spawner};
use model::{Monotonic, Timestamp};
use rustix::time::{ClockId, clock_gettime};

#[derive(Debug)]
struct Real;

impl Clock for Real {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp(since.as_micros() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(nanos(ClockId::Boottime))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Spawner for Real {
    fn spawn(&self, _name: &'static str, task: BoxFuture) {
        tokio::spawn(task);
    }
}

pub(crate) fn runtime() -> Runtime {
    let randomness = Arc::new(SeededRandomness::new(1));
    Runtime { clock: Arc::new(Real), randomness, spawner: Arc::new(Real) }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Wall time and CPU time of the process since its start.
pub(crate) struct Meter {
    wall: Instant,
    cpu: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { wall: Instant::now(), cpu: nanos(ClockId::ProcessCPUTime) }
    }

    pub(crate) fn stop(self, what: &str, count: u64) {
        let wall = self.wall.elapsed().as_secs_f64();
        let cpu = (nanos(ClockId::ProcessCPUTime) - self.cpu) as f64 / 1_000.0;
        let rate = count as f64 / wall;
        println!("{what:<44} {rate:>12.0} {wall:>10.2} s {:>11.2} us", cpu / count as f64);
    }
}
