//! One HTTP/2 connection as pure state: requests and received bytes go in, bytes to send and ends of requests come out.
//! It does no I/O, reads no clock, and knows nothing of what the requests mean.

mod answer;
mod config;
mod control;
mod headers;
mod receive;
mod slots;
mod start;

pub use config::ConnectionConfig;

use crate::frame::{self, PREFACE, WINDOW_DEFAULT, WINDOW_MAX, setting};
use crate::hpack::{Decoder, Encoder};
use crate::image::Images;
use crate::request::{Cause, DrainReason, End, EndResult, Ends, Event, Fields};
use crate::{ConnectionError, ErrorCode, Nanos};
use answer::Answers;
use headers::HeaderBlock;
use slots::{Slot, Slots};
use start::Held;

/// The largest stream id.
const STREAM_ID_MAX: u32 = (1 << 31) - 1;

/// What the peer has announced.
struct Peer {
    streams_max: u32,
    window_initial: i64,
    frame_bytes_max: usize,
    /// The last stream that it will process, from its GOAWAY.
    last_stream: u32,
}

/// A send-only HTTP/2 connection without a socket.
///
/// Bytes for the peer are in [`Connection::output`]; whoever sends them says how many were taken over
/// ([`Connection::taken`]) and up to which offset all are wholly with the kernel ([`Connection::written_through`]).
/// Each request started ends in exactly one call of [`Ends::end`].
pub struct Connection {
    config: ConnectionConfig,
    out: Vec<u8>,
    /// Bytes of `out` that were taken already.
    out_taken: usize,
    /// All bytes taken before those in `out`.
    out_before: u64,
    written_through: u64,

    slots: Slots,
    next_stream: u32,
    encoder: Encoder,
    images: Images,
    held: Held,
    /// The connection's window for our DATA.
    send_window: i64,
    peer: Peer,

    decoder: Decoder,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
    header_block: Option<HeaderBlock>,
    answers: Answers,
    /// DATA bytes received that no WINDOW_UPDATE has given back.
    received_unreturned: i64,

    /// Our SETTINGS that the peer has not acknowledged: since when.
    settings_unacknowledged: Option<Nanos>,
    has_peer_settings: bool,
    ping: Option<Nanos>,
    draining: Option<DrainReason>,
    is_broken: bool,
    timeouts: u32,
    /// RST_STREAM frames sent.
    resets: u32,
    /// Frames that bring no request nearer to its end, since `noise_since`, less what answers excuse.
    noise: u32,
    noise_since: Nanos,
    /// The same since our output was last empty, with no excuse.
    noise_unsent: u32,
}

impl Connection {
    /// Begins a connection: the preface and our SETTINGS are in the output.
    pub fn new(config: &ConnectionConfig, now: Nanos) -> Connection {
        let config = config.clone();
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(PREFACE);
        frame::put_settings(
            &mut out,
            &[
                (setting::HEADER_TABLE_SIZE, config.header_table_bytes),
                (setting::ENABLE_PUSH, 0),
                (setting::INITIAL_WINDOW_SIZE, WINDOW_DEFAULT as u32),
                (setting::MAX_HEADER_LIST_SIZE, config.header_block_bytes_max),
            ],
        );
        // Answers are taken at once or dropped, so the connection's window need never hold the peer up.
        frame::put_window_update(&mut out, 0, (WINDOW_MAX - WINDOW_DEFAULT) as u32);
        Connection {
            out,
            out_taken: 0,
            out_before: 0,
            written_through: 0,
            slots: Slots::new(now),
            next_stream: 1,
            encoder: Encoder::new(),
            images: Images::default(),
            held: Held::default(),
            send_window: WINDOW_DEFAULT,
            peer: Peer {
                streams_max: u32::MAX,
                window_initial: WINDOW_DEFAULT,
                frame_bytes_max: frame::FRAME_BYTES_DEFAULT,
                last_stream: STREAM_ID_MAX,
            },
            decoder: Decoder::new(config.header_table_bytes as usize, config.header_block_bytes_max as usize),
            partial: Vec::new(),
            header_block: None,
            answers: Answers::new(&config),
            received_unreturned: 0,
            settings_unacknowledged: Some(now),
            has_peer_settings: false,
            ping: None,
            draining: None,
            is_broken: false,
            timeouts: 0,
            resets: 0,
            noise: 0,
            noise_since: now,
            noise_unsent: 0,
            config,
        }
    }

    /// Whether the peer's SETTINGS have arrived, so that requests may start.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.has_peer_settings && !self.is_broken
    }

    /// Whether no new request starts any more, and why.
    pub fn draining(&self) -> Option<DrainReason> {
        self.draining
    }

    /// Whether nothing is left to wait for on a connection that takes no new requests.
    pub fn is_finished(&self) -> bool {
        self.draining.is_some() && self.slots.open() == 0
    }

    /// Requests started that have not ended.
    pub fn open(&self) -> u32 {
        self.slots.open()
    }

    /// Requests that may be open at once: the peer's limit or ours.
    #[inline]
    pub fn stream_limit(&self) -> u32 {
        self.peer.streams_max.min(self.config.streams_max)
    }

    /// Requests that may be started now, as far as streams are concerned; flow control may stop them earlier, as each
    /// [`Connection::start`] says. 0 before the peer's SETTINGS, when draining, and with the connection's window used up.
    #[inline]
    pub fn capacity(&self) -> u32 {
        if !self.is_ready() || self.draining.is_some() || self.send_window <= 0 || self.held.is_full() {
            return 0;
        }
        let ids = (self.config.stream_id_max + 2).saturating_sub(self.next_stream) / 2;
        self.stream_limit().saturating_sub(self.slots.open()).min(ids)
    }

    /// Bytes to send, in order.
    #[inline]
    pub fn output(&self) -> &[u8] {
        &self.out[self.out_taken..]
    }

    /// Hands the output to a transport, which may overwrite what it takes; behind the output it finds one byte of room.
    /// It returns how many bytes it took, and they are gone from the output.
    ///
    /// # Errors
    /// The transport's. What is left of the output then is worth nothing.
    #[inline]
    pub fn hand_over<E>(&mut self, take: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        self.out.push(0);
        let result = take(&mut self.out[self.out_taken..]);
        self.out.pop();
        if let Ok(bytes) = &result {
            self.taken(*bytes);
        }
        result
    }

    /// The first bytes of the output went to the transport, which will send them or fail.
    #[inline]
    pub fn taken(&mut self, bytes: usize) {
        self.out_taken += bytes;
        debug_assert!(self.out_taken <= self.out.len(), "more taken than there was");
        if self.out_taken == self.out.len() {
            self.out_before += self.out.len() as u64;
            self.out.clear();
            self.out_taken = 0;
            self.noise_unsent = 0;
        }
    }

    /// Of all bytes ever put into the output, those before this offset are wholly with the kernel: they and, with TLS,
    /// the whole record they lie in.
    pub fn written_through(&mut self, offset: u64) {
        debug_assert!(offset >= self.written_through && offset <= self.produced());
        self.written_through = offset;
    }

    /// Offset behind the last byte ever put into the output.
    #[inline]
    fn produced(&self) -> u64 {
        self.out_before + self.out.len() as u64
    }

    /// Lets bodies that flow control held back into the output, as far as the windows permit by now. To be called after
    /// [`Connection::receive`] by whoever is allowed to send; received frames never release them by themselves.
    #[inline]
    pub fn release(&mut self) {
        if self.holds_bodies() && !self.is_broken {
            self.release_held();
        }
    }

    /// Whether bodies of started requests wait for flow control, which [`Connection::release`] might let out.
    #[inline]
    pub fn holds_bodies(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether some request that was wholly sent has no answer yet.
    pub fn awaits_answers(&self) -> bool {
        self.slots.all().any(|(_, slot)| slot.end() <= self.written_through)
    }

    /// Exchanges the buffer behind the output with one of the caller's, so that a thread can let its many connections
    /// write into the same warm memory. What was to be sent moves along.
    pub fn exchange_buffer(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.out[self.out_taken..]);
        self.out_before += self.out_taken as u64;
        self.out_taken = 0;
        std::mem::swap(&mut self.out, buffer);
    }

    /// Whether some started and unwritten request has a tag that matches: bytes of it may lie in a transport.
    pub fn has_unwritten(&self, mut matches: impl FnMut(u64) -> bool) -> bool {
        self.slots.all().any(|(_, slot)| slot.end() > self.written_through && matches(slot.tag))
    }

    /// The earliest moment at which [`Connection::expire`] may have something to do.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.slots.next_deadline()
    }

    /// When our SETTINGS were sent, while the peer has not acknowledged them.
    pub fn settings_unacknowledged(&self) -> Option<Nanos> {
        self.settings_unacknowledged
    }

    /// When our PING was sent, while the peer has not answered it.
    pub fn ping_unanswered(&self) -> Option<Nanos> {
        self.ping
    }

    /// Ends the requests whose deadline has passed and resets their streams, as far as the connection's resets go. After a
    /// few of them the connection drains: something is wrong with it.
    ///
    /// # Errors
    /// Such a request lies in the output or the transport and not wholly with the kernel. It would leave if that took
    /// bytes again, before any reset, so it is open until the connection is closed, which is now to be done.
    pub fn expire(&mut self, now: Nanos, ends: &mut impl Ends) -> Result<(), ConnectionError> {
        let mut is_stuck = false;
        for at in self.slots.expired(now) {
            let is_answered = self.slots.get(at).status() != 0;
            if !is_answered && self.may_still_leave(at) {
                is_stuck = true;
                continue;
            }
            self.timeouts += u32::from(!is_answered);
            if self.timeouts >= self.config.timeouts_max {
                self.drain_for(DrainReason::Timeouts, &[], ends);
            }
            self.reset_stream(self.slots.get(at).stream(), ErrorCode::CANCEL, ends);
            self.end_unanswered(at, Cause::Timeout, ends);
        }
        if is_stuck { Err(ConnectionError::Deadline("room in the socket")) } else { Ok(()) }
    }

    /// Whether all of the request is produced and its last byte not wholly with the kernel: it leaves if that takes it.
    fn may_still_leave(&self, at: u32) -> bool {
        let end = self.slots.get(at).end();
        end != slots::NOT_PRODUCED && end > self.written_through
    }

    /// Takes no new requests from now on; those in flight go on.
    pub fn drain(&mut self, ends: &mut impl Ends) {
        self.drain_for(DrainReason::Asked, &[], ends);
    }

    fn drain_for(&mut self, reason: DrainReason, debug_data: &[u8], ends: &mut impl Ends) {
        // A GOAWAY is told each time: its last stream may fall. Of our own reasons the first counts.
        let is_goaway = matches!(reason, DrainReason::GoAway { .. });
        if self.draining.is_none() || is_goaway {
            self.draining = Some(reason);
            ends.event(Event::Draining { reason, debug_data });
        }
    }

    /// Queues a RST_STREAM, unless the connection has sent all that it may; with the last one it drains. A stream that is
    /// left alone stays open for the peer until the connection closes: it gets no more of us, its frames are dropped.
    fn reset_stream(&mut self, stream: u32, code: ErrorCode, ends: &mut impl Ends) {
        if self.resets < self.config.resets_max {
            self.resets += 1;
            frame::put_reset(&mut self.out, stream, code.0);
        }
        if self.resets >= self.config.resets_max {
            self.drain_for(DrainReason::Resets, &[], ends);
        }
    }

    /// Takes back the matching requests whose last byte is still held here by flow control, and resets their streams.
    /// What the transport has taken is beyond reach. Returns how many there were.
    pub fn revoke(&mut self, mut matches: impl FnMut(u64) -> bool, ends: &mut impl Ends) -> usize {
        let found = self.slots.matching(|slot| slot.end() == slots::NOT_PRODUCED && matches(slot.tag));
        for &at in &found {
            self.reset_stream(self.slots.get(at).stream(), ErrorCode::CANCEL, ends);
            self.end_unanswered(at, Cause::Revoked, ends);
        }
        found.len()
    }

    /// Queues a GOAWAY, for a connection that is about to be closed in order.
    pub fn say_goodbye(&mut self) {
        frame::put_goaway(&mut self.out, ErrorCode::NO_ERROR.0);
    }

    /// The connection is no more: ends every open request, as answered where the final status had come, else as not
    /// processed where its last byte was never wholly with the kernel, else as unknown.
    pub fn close(mut self, cause: Cause, ends: &mut impl Ends) {
        for at in self.slots.matching(|_| true) {
            self.end_unanswered(at, cause, ends);
        }
    }

    /// Ends a request that will get no (further) answer. Its last byte, if it is not with the kernel, never gets there, or
    /// the peer has closed the stream and ignores it.
    fn end_unanswered(&mut self, at: u32, cause: Cause, ends: &mut impl Ends) {
        let slot = self.slots.get(at);
        if slot.status() != 0 {
            self.end_answered(at, ends);
        } else if slot.end() > self.written_through {
            self.end_with(at, EndResult::NotProcessed(cause), ends);
        } else {
            self.end_with(at, EndResult::Unknown(cause), ends);
        }
    }

    #[inline]
    fn end_answered(&mut self, at: u32, ends: &mut impl Ends) {
        let slot = self.slots.release(at);
        self.held.forget(at, &slot);
        let status = slot.status();
        if slot.keeps_answer() {
            let answer = self.answers.take(at);
            let result = EndResult::Answered { status, fields: &answer.fields, body: &answer.body };
            ends.end(End { tag: slot.tag, started: slot.started, result });
            self.answers.give_back(answer);
        } else {
            let result = EndResult::Answered { status, fields: &Fields::EMPTY, body: &[] };
            ends.end(End { tag: slot.tag, started: slot.started, result });
        }
        self.noise = self.noise.saturating_sub(NOISE_EXCUSED);
    }

    fn end_with(&mut self, at: u32, result: EndResult<'_>, ends: &mut impl Ends) {
        let slot: Slot = self.slots.release(at);
        self.held.forget(at, &slot);
        if slot.keeps_answer() {
            let answer = self.answers.take(at);
            self.answers.give_back(answer);
        }
        ends.end(End { tag: slot.tag, started: slot.started, result });
    }

    /// Queues a GOAWAY for the peer's error; the connection takes and gives nothing more.
    fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        if let ConnectionError::Protocol { code, .. } = &error
            && !self.is_broken
        {
            frame::put_goaway(&mut self.out, code.0);
        }
        self.is_broken = true;
        error
    }
}

/// Frames without use that each answer excuses: a server may send an empty DATA, a reset or a WINDOW_UPDATE with each.
const NOISE_EXCUSED: u32 = 4;

#[cfg(test)]
mod tests;
