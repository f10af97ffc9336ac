//! The stream limit, as the client has come to know it.

use std::collections::VecDeque;

/// SETTINGS_MAX_CONCURRENT_STREAMS as the client has come to know it.
#[derive(Debug, Default)]
pub(crate) struct StreamLimit {
    pub(crate) announced: u32,
    acknowledged: Option<u32>,
    /// Limits of SETTINGS that the client has not acknowledged, oldest first.
    unacknowledged: VecDeque<u32>,
}

impl StreamLimit {
    pub(crate) fn announce(&mut self, streams: u32) {
        self.announced = streams;
        self.unacknowledged.push_back(streams);
    }

    pub(crate) fn acknowledge(&mut self) -> bool {
        let Some(streams) = self.unacknowledged.pop_front() else { return false };
        self.acknowledged = Some(streams);
        true
    }

    /// What the client may use: it need not obey a lower limit before it has acknowledged it.
    pub(crate) fn allowed(&self) -> u32 {
        self.unacknowledged.iter().copied().max().max(self.acknowledged).unwrap_or(u32::MAX)
    }

    /// Whether the client has acknowledged everything, so that exceeding the limit is its fault.
    pub(crate) fn is_settled(&self) -> bool {
        self.unacknowledged.is_empty()
    }
}
