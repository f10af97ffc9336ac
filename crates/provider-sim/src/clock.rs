//! The simulator's time: it talks to real sockets in a process of its own, so it is the real one. The protocol and
//! the ledger receive it as numbers.

use std::time::{Duration, Instant, SystemTime};

use model::time::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A monotonic clock that started with the simulator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_unix: Timestamp,
}

impl Clock {
    /// Starts now.
    #[allow(clippy::disallowed_methods)] // The driver's clock is where time enters the simulator.
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_unix: Timestamp(unix.as_micros() as u64) }
    }

    /// Microseconds since the start.
    #[inline]
    pub(crate) fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Waits, on the runtime of whoever calls.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(crate) async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// The wall clock at the start.
    pub(crate) fn start_unix(&self) -> Timestamp {
        self.start_unix
    }

    /// User and system time that this process has used.
    pub(crate) fn process_cpu(&self) -> Duration {
        duration(clock_gettime(ClockId::ProcessCPUTime))
    }

    /// User and system time that this thread has used.
    pub(crate) fn thread_cpu(&self) -> Duration {
        duration(clock_gettime(ClockId::ThreadCPUTime))
    }
}

fn duration(time: Timespec) -> Duration {
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}
