//! Writing: user entries gather in frames, which are appended and then known.

use backend::directory::Label;

use super::entry::{FORGOTTEN, write_label, write_user};
use super::log::{FRAME_HEAD_BYTES, Totals};
use super::shared::Shared;
use crate::error::Failure;

/// A frame is appended when it has grown to this.
const FRAME_BYTES: usize = 8 << 20;

/// Entries on their way into the log. The caller has the turn.
pub(super) struct Batch<'a> {
    shared: &'a Shared,
    frame: Vec<u8>,
    /// Where the frame will begin.
    start: u64,
    totals: Totals,
    moves: Vec<Move>,
}

/// A user's entry changes its place.
struct Move {
    hash: u64,
    old: Option<u64>,
    new: u64,
}

/// An entry that is there: where, how long, and how many devices it has.
#[derive(Clone, Copy)]
pub(super) struct Before {
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) devices: u64,
    pub(super) is_forgotten: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let state = shared.state();
        let frame = vec![0; FRAME_HEAD_BYTES];
        Self { shared, frame, start: state.end, totals: state.totals, moves: Vec::new() }
    }

    /// Adds a label; the state has it already, under the next number.
    pub(super) fn label(&mut self, label: &Label) {
        write_label(label, &mut self.frame);
    }

    /// Puts `devices` in the place of what was there; `kind` is the entry's.
    pub(super) fn user(
        &mut self,
        kind: u8,
        hash: u64,
        user: &str,
        before: Option<Before>,
        devices: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let at = self.frame.len();
        write_user(kind, user, &mut self.frame, write);
        let had = before.map_or(0, |before| before.devices);
        let totals = &mut self.totals;
        totals.users = totals.users + u64::from(devices > 0) - u64::from(had > 0);
        totals.devices = totals.devices + devices - had;
        // An entry of somebody forgotten was waste from the beginning.
        totals.waste += before.filter(|before| !before.is_forgotten).map_or(0, |before| before.bytes as u64);
        if kind == FORGOTTEN {
            totals.waste += (self.frame.len() - at) as u64;
        }
        self.moves.push(Move { hash, old: before.map(|before| before.offset), new: self.start + at as u64 });
    }

    pub(super) const fn is_full(&self) -> bool {
        self.frame.len() >= FRAME_BYTES
    }

    /// Appends what has gathered, if anything has. When it fails, the caller makes the state forget.
    pub(super) fn append(&mut self) -> Result<(), Failure> {
        if self.frame.len() == FRAME_HEAD_BYTES {
            return Ok(());
        }
        let log = std::sync::Arc::clone(&self.shared.state().log);
        let end = log.append(self.start, self.totals, &mut self.frame).map_err(log.failed())?;
        let mut state = self.shared.state_mut();
        for Move { hash, old, new } in self.moves.drain(..) {
            state.index.set(hash, old, new);
        }
        state.end = end;
        state.totals = self.totals;
        self.start = end;
        self.frame.truncate(FRAME_HEAD_BYTES);
        Ok(())
    }
}
