//! The frames that concern the connection: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, and RST_STREAM.

use super::{Connection, STREAM_ID_MAX};
use crate::frame::{self, FRAME_BYTES_DEFAULT, FRAME_BYTES_MAX, Head, WINDOW_MAX, flag, kind, setting};
use crate::request::{Cause, DrainReason, EndResult, Ends, Event};
use crate::{ConnectionError, ErrorCode, Nanos};

/// Marks the acknowledgement of a PING as that of ours.
const PING_PAYLOAD: [u8; 8] = *b"fanfare!";

impl Connection {
    /// Queues a PING, unless one is unanswered. The answer is told as [`Event::Pong`].
    pub fn ping(&mut self, now: Nanos) {
        if self.ping.is_none() {
            self.ping = Some(now);
            frame::put(&mut self.out, kind::PING, 0, 0, &PING_PAYLOAD);
        }
    }

    pub(super) fn settings(
        &mut self,
        head: Head,
        payload: &[u8],
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        check_stream_0(head)?;
        if head.has(flag::ACK) {
            check_size(payload.is_empty())?;
            self.settings_unacknowledged = None;
            return self.count_noise();
        }
        let (settings, rest) = payload.as_chunks::<6>();
        check_size(rest.is_empty())?;
        let limit_before = self.stream_limit();
        for setting in settings {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            self.setting(name, frame::number(&setting[2..]))?;
        }
        frame::put(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
        let limit = self.stream_limit();
        self.slots.reserve(limit);
        if !self.has_peer_settings {
            self.has_peer_settings = true;
            ends.event(Event::Settings(limit));
        } else if limit != limit_before {
            ends.event(Event::StreamLimit(limit));
        }
        self.count_noise()
    }

    fn setting(&mut self, name: u16, value: u32) -> Result<(), ConnectionError> {
        match name {
            setting::HEADER_TABLE_SIZE => self.encoder.set_table_bytes(value as usize),
            setting::ENABLE_PUSH if value != 0 => {
                return Err(ConnectionError::protocol("a server may not enable push"));
            }
            setting::MAX_CONCURRENT_STREAMS => self.peer.streams_max = value,
            setting::INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                let code = ErrorCode::FLOW_CONTROL_ERROR;
                return Err(ConnectionError::with(code, "initial window beyond its maximum"));
            }
            setting::INITIAL_WINDOW_SIZE => self.shift_windows(i64::from(value))?,
            setting::MAX_FRAME_SIZE if !(FRAME_BYTES_DEFAULT as u32..=FRAME_BYTES_MAX).contains(&value) => {
                return Err(ConnectionError::protocol("frame size out of its range"));
            }
            setting::MAX_FRAME_SIZE => self.peer.frame_bytes_max = value as usize,
            // MAX_HEADER_LIST_SIZE is advice: a request that is too large gets its own answer. Others are unknown.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn pinged(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Nanos,
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        check_stream_0(head)?;
        check_size(payload.len() == 8)?;
        if !head.has(flag::ACK) {
            frame::put(&mut self.out, kind::PING, flag::ACK, 0, payload);
        } else if payload == PING_PAYLOAD
            && let Some(sent) = self.ping.take()
        {
            ends.event(Event::Pong { round_trip: now.saturating_sub(sent) });
        }
        self.count_noise()
    }

    pub(super) fn goaway(
        &mut self,
        head: Head,
        payload: &[u8],
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        check_stream_0(head)?;
        check_size(payload.len() >= 8)?;
        let last_stream = frame::number(payload) & STREAM_ID_MAX;
        let code = ErrorCode(frame::number(&payload[4..]));
        // It may fall from one GOAWAY to the next; one that rises can bring nobody back.
        self.peer.last_stream = self.peer.last_stream.min(last_stream);
        let last = self.peer.last_stream;
        self.drain_for(DrainReason::GoAway { code, last_stream: last }, &payload[8..], ends);
        for at in self.slots.matching(|slot| slot.stream() > last) {
            if self.slots.get(at).status() != 0 {
                self.end_answered(at, ends);
            } else {
                self.end_with(at, EndResult::NotProcessed(Cause::GoAway), ends);
            }
        }
        self.count_noise()
    }

    pub(super) fn window_update(
        &mut self,
        head: Head,
        payload: &[u8],
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        check_size(payload.len() == 4)?;
        let increment = i64::from(frame::number(payload) & STREAM_ID_MAX);
        if head.stream == 0 {
            self.widen_connection(increment)?;
            return self.count_noise();
        }
        self.check_not_idle(head.stream)?;
        let result = match increment {
            0 => Err(ErrorCode::PROTOCOL_ERROR),
            _ => self.widen_stream(head.stream, increment),
        };
        if let Err(code) = result
            && let Some(at) = self.slots.find(head.stream)
        {
            self.reset_stream(head.stream, code, ends);
            if self.slots.get(at).status() == 0 && self.may_still_leave(at) {
                self.end_with(at, EndResult::Unknown(Cause::Malformed), ends);
            } else {
                self.end_unanswered(at, Cause::Malformed, ends);
            }
        }
        self.count_noise()
    }

    fn widen_connection(&mut self, increment: i64) -> Result<(), ConnectionError> {
        if increment == 0 {
            return Err(ConnectionError::protocol("window widened by nothing"));
        }
        self.send_window += increment;
        if self.send_window > WINDOW_MAX {
            let code = ErrorCode::FLOW_CONTROL_ERROR;
            return Err(ConnectionError::with(code, "connection's window overflows"));
        }
        Ok(())
    }

    pub(super) fn reset(
        &mut self,
        head: Head,
        payload: &[u8],
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        check_size(payload.len() == 4)?;
        self.check_not_idle(head.stream)?;
        let code = ErrorCode(frame::number(payload));
        // nginx resets each stream behind its END_STREAM: late ones are no news.
        let Some(at) = self.slots.find(head.stream) else {
            return self.count_noise();
        };
        if self.slots.get(at).status() == 0 && code == ErrorCode::REFUSED_STREAM {
            self.end_with(at, EndResult::NotProcessed(Cause::Refused), ends);
        } else {
            self.end_unanswered(at, Cause::Reset(code), ends);
        }
        Ok(())
    }

    pub(super) fn priority(&mut self, head: Head) -> Result<(), ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("PRIORITY on stream 0"));
        }
        check_size(head.length == 5)?;
        self.count_noise()
    }

    /// Gives the connection's window back once half of it is used.
    pub(super) fn return_window(&mut self, bytes: usize) {
        self.received_unreturned += bytes as i64;
        if self.received_unreturned > WINDOW_MAX / 2 {
            frame::put_window_update(&mut self.out, 0, self.received_unreturned as u32);
            self.received_unreturned = 0;
        }
    }
}

fn check_stream_0(head: Head) -> Result<(), ConnectionError> {
    if head.stream != 0 {
        return Err(ConnectionError::protocol("frame of the connection on a stream"));
    }
    Ok(())
}

fn check_size(is_right: bool) -> Result<(), ConnectionError> {
    if !is_right {
        return Err(ConnectionError::with(ErrorCode::FRAME_SIZE_ERROR, "frame of a wrong size"));
    }
    Ok(())
}
