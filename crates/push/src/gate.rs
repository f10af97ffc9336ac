//! What holds a launch back in this process: asked before every write, moved by whoever reads the launch's rows.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use model::Monotonic;

use crate::installation::Side;
use crate::work::WhyOpen;

/// A write stops this long before the end of a lease.
pub const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// The gate of one launch. All of its shards in the process share it; clones are the same gate.
pub struct LaunchGate<S>(Arc<Gate>, PhantomData<fn(S)>);

/// Without its side.
#[derive(Debug)]
pub(crate) struct Gate {
    permitted_until: AtomicU64,
    not_after: AtomicU64,
    state: AtomicU8,
}

const OPEN: u8 = 0;
const RETURNING: u8 = 1;
const STOPPED: u8 = 2;
const ABORTED: u8 = 3;

/// What a gate says at a moment, the lease of a shard included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Write.
    Open,
    /// Do not write now; it may pass.
    Shut,
    /// Write no more, and hand back what was not written: the gate's owner wants it, or the lease ends.
    Return(WhyOpen),
    /// The launch was stopped by a fault that all devices share.
    Stopped,
    /// The launch was aborted.
    Aborted,
    /// The launch's not-after has passed.
    Over,
}

impl<S: Side> LaunchGate<S> {
    /// A gate without permission yet.
    pub fn new(not_after: Monotonic) -> Self {
        let gate = Gate {
            permitted_until: AtomicU64::new(0),
            not_after: AtomicU64::new(not_after.0),
            state: AtomicU8::new(OPEN),
        };
        Self(Arc::new(gate), PhantomData)
    }

    /// Permits writing until then. A permission never shrinks but by [`LaunchGate::withdraw`].
    pub fn permit(&self, until: Monotonic) {
        self.0.permitted_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Takes the permission back: nothing is written until there is a new one. What has not been written stays with the
    /// engine for a while and is then handed back.
    pub fn withdraw(&self) {
        self.0.permitted_until.store(0, Ordering::Relaxed);
    }

    /// For a pause: nothing more is written, and every shard comes back with its unwritten devices open.
    pub fn hand_back(&self) {
        self.0.raise(RETURNING);
    }

    /// Undoes [`LaunchGate::hand_back`], for shards that are submitted from now on.
    pub fn reopen(&self) {
        // Failing means that it was not returning: then there is nothing to undo.
        let _ = self.0.state.compare_exchange(RETURNING, OPEN, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// For ever: nothing more is written, unwritten devices end as not sent.
    pub fn abort(&self) {
        self.0.raise(ABORTED);
    }

    /// A fault that all devices share: nothing more is written, unwritten devices end as not sent.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Whether it was aborted.
    pub fn is_aborted(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == ABORTED
    }

    /// Whether a fault has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }

    pub(crate) fn inner(&self) -> &Arc<Gate> {
        &self.0
    }
}

impl<S> Clone for LaunchGate<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<S: Side> std::fmt::Debug for LaunchGate<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple(S::NAME).field(&self.0).finish()
    }
}

impl Gate {
    /// The state before.
    fn raise(&self, state: u8) -> u8 {
        self.state.fetch_max(state, Ordering::Relaxed)
    }

    /// Whether it was this call that stopped the launch.
    pub(crate) fn stop(&self) -> bool {
        self.raise(STOPPED) < STOPPED
    }

    pub(crate) fn not_after(&self) -> u64 {
        self.not_after.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.load(Ordering::Relaxed) == STOPPED
    }

    /// What may be done at `now` for a shard whose lease ends at `lease_until`.
    pub(crate) fn passage(&self, lease_until: &AtomicU64, now: u64) -> Passage {
        match self.state.load(Ordering::Relaxed) {
            ABORTED => return Passage::Aborted,
            STOPPED => return Passage::Stopped,
            _ if now >= self.not_after.load(Ordering::Relaxed) => return Passage::Over,
            RETURNING => return Passage::Return(WhyOpen::Held),
            _ => {}
        }
        let lease_end = lease_until.load(Ordering::Relaxed).saturating_sub(LEASE_MARGIN.as_nanos() as u64);
        if now >= lease_end {
            Passage::Return(WhyOpen::Lease)
        } else if now >= self.permitted_until.load(Ordering::Relaxed) {
            Passage::Shut
        } else {
            Passage::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installation::Live;

    const SECOND: u64 = 1_000_000_000;

    fn passage(gate: &LaunchGate<Live>, lease_until: u64, now: u64) -> Passage {
        gate.inner().passage(&AtomicU64::new(lease_until), now)
    }

    #[test]
    fn without_permission_nothing_is_written() {
        let gate = LaunchGate::<Live>::new(Monotonic(100 * SECOND));
        assert_eq!(passage(&gate, 50 * SECOND, 1), Passage::Shut);
        gate.permit(Monotonic(5));
        gate.permit(Monotonic(3));
        assert_eq!(passage(&gate, 50 * SECOND, 4), Passage::Open);
        assert_eq!(passage(&gate, 50 * SECOND, 5), Passage::Shut);
        gate.permit(Monotonic(9));
        gate.withdraw();
        assert_eq!(passage(&gate, 50 * SECOND, 6), Passage::Shut);
    }

    #[test]
    fn writing_ends_a_second_before_the_lease() {
        let gate = LaunchGate::<Live>::new(Monotonic(100 * SECOND));
        gate.permit(Monotonic(100 * SECOND));
        assert_eq!(passage(&gate, 10 * SECOND, 9 * SECOND - 1), Passage::Open);
        assert_eq!(passage(&gate, 10 * SECOND, 9 * SECOND), Passage::Return(WhyOpen::Lease));
    }

    #[test]
    fn an_abort_outranks_a_stop_and_a_stop_a_pause() {
        let gate = LaunchGate::<Live>::new(Monotonic(100 * SECOND));
        gate.permit(Monotonic(100 * SECOND));
        gate.hand_back();
        assert_eq!(passage(&gate, 50 * SECOND, 1), Passage::Return(WhyOpen::Held));
        gate.reopen();
        assert_eq!(passage(&gate, 50 * SECOND, 1), Passage::Open);
        gate.stop();
        gate.reopen();
        assert_eq!(passage(&gate, 50 * SECOND, 1), Passage::Stopped);
        gate.abort();
        gate.hand_back();
        assert_eq!(passage(&gate, 50 * SECOND, 200 * SECOND), Passage::Aborted);
    }

    #[test]
    fn past_the_not_after_nothing_is_written_whatever_the_lease() {
        let gate = LaunchGate::<Live>::new(Monotonic(10 * SECOND));
        gate.permit(Monotonic(100 * SECOND));
        assert_eq!(passage(&gate, 5 * SECOND, 10 * SECOND), Passage::Over);
    }
}
