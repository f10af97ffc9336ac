//! What a process knows of the log: the index, the labels, the totals and how far it has read.

use std::sync::Arc;

use super::entry::{FORGOTTEN, LABEL, Labels, USER, read_label, read_user, user_bytes};
use super::index::{Index, hash};
use super::log::{FRAME_HEAD_BYTES, Frame, HEAD_BYTES, Log, Totals};
use super::window::Window;
use crate::error::Failure;

/// See the module.
pub(super) struct State {
    pub(super) log: Arc<Log>,
    pub(super) index: Index,
    pub(super) labels: Labels,
    pub(super) totals: Totals,
    /// Up to where the log is read: the end of a frame.
    pub(super) end: u64,
}

impl State {
    /// Nothing read yet.
    pub(super) fn new(log: Arc<Log>) -> Self {
        let totals = Totals::default();
        Self { log, index: Index::new(), labels: Labels::default(), totals, end: HEAD_BYTES }
    }

    /// Reads what was appended since; whether a torn frame stands behind it. When it fails, nothing is read any more.
    pub(super) fn catch_up(&mut self) -> Result<bool, Failure> {
        let caught_up = self.read_on();
        if caught_up.is_err() {
            *self = Self::new(Arc::clone(&self.log));
        }
        caught_up
    }

    fn read_on(&mut self) -> Result<bool, Failure> {
        let log = Arc::clone(&self.log);
        let mut content = Vec::new();
        loop {
            let is_torn = match log.frame(self.end, &mut content).map_err(log.failed())? {
                Frame::Whole(totals) => {
                    let start = self.end + FRAME_HEAD_BYTES as u64;
                    self.take(start, &content)?;
                    self.totals = totals;
                    self.end = start + content.len() as u64;
                    continue;
                }
                Frame::End => false,
                Frame::Torn => true,
            };
            if self.end < log.synced().map_err(log.failed())? {
                return Err(log.damaged(self.end));
            }
            return Ok(is_torn);
        }
    }

    /// Takes in a frame's content, which begins at `start` of the log.
    fn take(&mut self, start: u64, content: &[u8]) -> Result<(), Failure> {
        let log = Arc::clone(&self.log);
        let mut window = Window::new(&log);
        let mut at = 0;
        while let Some(&kind) = content.get(at) {
            let offset = start + at as u64;
            let damaged = || log.damaged(offset);
            match kind {
                LABEL => {
                    let (label, rest) = read_label(&content[at..]).ok_or_else(damaged)?;
                    self.labels.add(label);
                    at = content.len() - rest.len();
                }
                USER | FORGOTTEN => {
                    let bytes = user_bytes(&content[at..]).ok_or_else(damaged)?;
                    let entry = content.get(at..at + bytes).and_then(read_user).ok_or_else(damaged)?;
                    let hash = hash(entry.user);
                    let old = self.find(hash, entry.user, &mut window)?;
                    self.index.set(hash, old, offset);
                    at += bytes;
                }
                _ => return Err(damaged()),
            }
        }
        Ok(())
    }

    /// Where the last entry of `user` lies.
    pub(super) fn find(
        &self,
        hash: u64,
        user: &[u8],
        window: &mut Window<'_>,
    ) -> Result<Option<u64>, Failure> {
        for candidate in self.index.candidates(hash) {
            if window.user(candidate, 0)?.0.user == user {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }
}
