//! Answers other than the plain 2xx: their fields and bodies, kept within limits until they are complete.

use std::collections::HashMap;

use super::ConnectionConfig;
use crate::request::Fields;

/// Finished answers whose memory is kept for the next ones.
const SPARE_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Answer {
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
}

/// The unfinished answers by slot. Only streams with something worth keeping are here.
pub(super) struct Answers {
    unfinished: HashMap<u32, Answer>,
    spare: Vec<Answer>,
    bytes: usize,
    fields_bytes_max: usize,
    body_bytes_max: usize,
    bytes_max: usize,
}

impl Answers {
    pub(super) fn new(config: &ConnectionConfig) -> Answers {
        Answers {
            unfinished: HashMap::new(),
            spare: Vec::new(),
            bytes: 0,
            fields_bytes_max: config.answer_fields_bytes_max,
            body_bytes_max: config.answer_body_bytes_max,
            bytes_max: config.answers_bytes_max,
        }
    }

    pub(super) fn begin(&mut self, at: u32) {
        let answer = self.spare.pop().unwrap_or_default();
        self.unfinished.insert(at, answer);
    }

    pub(super) fn field(&mut self, at: u32, name: &[u8], value: &[u8]) {
        let Some(answer) = self.unfinished.get_mut(&at) else { return };
        let bytes = name.len() + value.len();
        let fits = answer.fields.bytes() + bytes <= self.fields_bytes_max;
        if fits && self.bytes + bytes <= self.bytes_max {
            answer.fields.push(name, value);
            self.bytes += bytes;
        }
    }

    pub(super) fn body(&mut self, at: u32, data: &[u8]) {
        let Some(answer) = self.unfinished.get_mut(&at) else { return };
        let room = self.body_bytes_max.saturating_sub(answer.body.len());
        let room = room.min(self.bytes_max.saturating_sub(self.bytes));
        let kept = &data[..data.len().min(room)];
        answer.body.extend_from_slice(kept);
        self.bytes += kept.len();
    }

    pub(super) fn take(&mut self, at: u32) -> Answer {
        let answer = self.unfinished.remove(&at).unwrap_or_default();
        self.bytes -= answer.fields.bytes() + answer.body.len();
        answer
    }

    pub(super) fn give_back(&mut self, mut answer: Answer) {
        if self.spare.len() < SPARE_MAX {
            answer.fields.clear();
            answer.body.clear();
            self.spare.push(answer);
        }
    }
}
