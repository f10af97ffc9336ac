//! Received bytes to frames to what they mean for requests.

use super::slots::NOT_PRODUCED;
use super::{Connection, HeaderBlock};
use crate::field;
use crate::frame::{self, HEAD_BYTES, Head, flag, kind};
use crate::request::{Cause, DrainReason, EndResult, Ends};
use crate::{ConnectionError, ErrorCode, Nanos};

const NOISE_SPAN: Nanos = 1_000_000_000;

impl Connection {
    /// Takes bytes from the peer, cut anywhere: how they are cut makes no difference to what happens.
    ///
    /// # Errors
    /// The peer broke the protocol. A GOAWAY is in the output; send it if possible and [`Connection::close`].
    pub fn receive(&mut self, bytes: &[u8], now: Nanos, ends: &mut impl Ends) -> Result<(), ConnectionError> {
        if self.is_broken {
            return Err(ConnectionError::protocol("more bytes behind an error"));
        }
        if now.saturating_sub(self.noise_since) > NOISE_SPAN {
            self.noise_since = now;
            self.noise = 0;
        }
        // Before the frames, so that it is told at the same place however the bytes are cut.
        if self.next_stream > self.config.stream_id_max {
            self.drain_for(DrainReason::StreamIds, &[], ends);
        }
        self.frames(bytes, now, ends).map_err(|error| self.fail(error))
    }

    fn frames(&mut self, mut bytes: &[u8], now: Nanos, ends: &mut impl Ends) -> Result<(), ConnectionError> {
        if !self.partial.is_empty() {
            bytes = self.complete_partial(bytes, now, ends)?;
        }
        while let Some(head_bytes) = bytes.first_chunk::<HEAD_BYTES>() {
            let head = Head::parse(head_bytes);
            check_length(head)?;
            let end = HEAD_BYTES + head.length;
            if bytes.len() < end {
                break;
            }
            let (frame, rest) = bytes.split_at(end);
            self.frame(head, &frame[HEAD_BYTES..], now, ends)?;
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Finishes the frame begun earlier and returns what is left.
    fn complete_partial<'a>(
        &mut self,
        bytes: &'a [u8],
        now: Nanos,
        ends: &mut impl Ends,
    ) -> Result<&'a [u8], ConnectionError> {
        const KEPT_CAPACITY: usize = 1024;
        let mut partial = std::mem::take(&mut self.partial);
        let mut rest = top_up(&mut partial, bytes, HEAD_BYTES);
        if let Some(head_bytes) = partial.first_chunk::<HEAD_BYTES>() {
            let head = Head::parse(head_bytes);
            check_length(head)?;
            let end = HEAD_BYTES + head.length;
            rest = top_up(&mut partial, rest, end);
            if partial.len() == end {
                self.frame(head, &partial[HEAD_BYTES..], now, ends)?;
                partial.clear();
                if partial.capacity() > KEPT_CAPACITY {
                    partial = Vec::new();
                }
            }
        }
        self.partial = partial;
        Ok(rest)
    }

    #[inline]
    fn frame(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Nanos,
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;
        // The usual answer: one HEADERS frame with nothing but a known 2xx status and fields nobody needs.
        if head.kind == kind::HEADERS
            && head.flags == WHOLE
            && self.header_block.is_none()
            && let Some(status @ 200..300) = self.decoder.skim(payload)
            && let Some(at) = self.slots.find(head.stream)
            && self.slots.get(at).status() == 0
        {
            self.slots.get_mut(at).set_status(status);
            self.complete(at, ends);
            return Ok(());
        }
        self.any_frame(head, payload, now, ends)
    }

    fn any_frame(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Nanos,
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        if !self.has_peer_settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(ConnectionError::protocol("first frame is not SETTINGS"));
        }
        if let Some(block) = &self.header_block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(ConnectionError::protocol("frame inside a header block"));
        }
        match head.kind {
            kind::DATA => self.data(head, payload, ends),
            kind::HEADERS => self.headers(head, payload, ends),
            kind::CONTINUATION => self.continuation(head, payload, ends),
            kind::RST_STREAM => self.reset(head, payload, ends),
            kind::SETTINGS => self.settings(head, payload, ends),
            kind::PING => self.pinged(head, payload, now, ends),
            kind::GOAWAY => self.goaway(head, payload, ends),
            kind::WINDOW_UPDATE => self.window_update(head, payload, ends),
            kind::PUSH_PROMISE => Err(ConnectionError::protocol("PUSH_PROMISE though push is off")),
            kind::PRIORITY => self.priority(head),
            _ => self.count_noise(),
        }
    }

    /// Frames on streams that were never opened break the protocol; on streams that are over they come late.
    pub(super) fn check_not_idle(&self, stream: u32) -> Result<(), ConnectionError> {
        if stream == 0 || stream.is_multiple_of(2) || stream >= self.next_stream {
            return Err(ConnectionError::protocol("frame on a stream that was never opened"));
        }
        Ok(())
    }

    pub(super) fn count_noise(&mut self) -> Result<(), ConnectionError> {
        self.noise += 1;
        self.noise_unsent += 1;
        // Most such frames make us say something: a peer that sends them and reads nothing fills our memory.
        let is_unread = self.noise_unsent > self.config.noise_max.saturating_mul(2);
        if self.noise > self.config.noise_max || is_unread {
            let code = ErrorCode::ENHANCE_YOUR_CALM;
            return Err(ConnectionError::with(code, "too many frames without use"));
        }
        Ok(())
    }

    fn headers(&mut self, head: Head, payload: &[u8], ends: &mut impl Ends) -> Result<(), ConnectionError> {
        self.check_not_idle(head.stream)?;
        let mut fragment = unpadded(head, payload)?;
        if head.has(flag::PRIORITY) {
            fragment = fragment.get(5..).ok_or(ConnectionError::with(
                ErrorCode::FRAME_SIZE_ERROR,
                "HEADERS too short for its priority",
            ))?;
        }
        let is_end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.block(head.stream, is_end_stream, fragment, ends);
        }
        self.check_block_bytes(fragment.len())?;
        let bytes = fragment.to_vec();
        self.header_block = Some(HeaderBlock { stream: head.stream, is_end_stream, bytes, continuations: 0 });
        Ok(())
    }

    fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        let Some(mut block) = self.header_block.take() else {
            return Err(ConnectionError::protocol("CONTINUATION without a header block"));
        };
        block.continuations += 1;
        if block.continuations > self.config.continuations_max {
            let code = ErrorCode::ENHANCE_YOUR_CALM;
            return Err(ConnectionError::with(code, "header block in too many frames"));
        }
        self.check_block_bytes(block.bytes.len() + payload.len())?;
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.block(block.stream, block.is_end_stream, &block.bytes, ends);
        }
        self.header_block = Some(block);
        Ok(())
    }

    fn check_block_bytes(&self, bytes: usize) -> Result<(), ConnectionError> {
        if bytes > self.config.header_block_bytes_max as usize {
            let code = ErrorCode::ENHANCE_YOUR_CALM;
            return Err(ConnectionError::with(code, "header block too long"));
        }
        Ok(())
    }

    /// A whole header block: an interim answer, the head of an answer, or trailers.
    fn block(
        &mut self,
        stream: u32,
        is_end_stream: bool,
        block: &[u8],
        ends: &mut impl Ends,
    ) -> Result<(), ConnectionError> {
        let Some(at) = self.slots.find(stream) else {
            // The stream is over, but the block may change the decoder's table.
            self.decode(block, None)?;
            return self.count_noise();
        };
        let has_status = self.slots.get(at).status() != 0;
        if !has_status && let Some(status @ 200..300) = self.decoder.skim(block) {
            self.succeed(at, status, is_end_stream, ends);
            return Ok(());
        }
        let parsed = self.decode(block, (!has_status).then_some(at))?;
        match parsed {
            Parsed::Fields if has_status && is_end_stream => self.complete(at, ends),
            Parsed::Status(100..200) if !has_status && !is_end_stream => return self.count_noise(),
            Parsed::Status(status @ 200..1000) if !has_status => {
                self.slots.get_mut(at).set_status(status);
                if is_end_stream {
                    self.complete(at, ends);
                }
            }
            _ => self.reset_malformed(at, ends),
        }
        Ok(())
    }

    /// A 2xx whose fields nobody needs.
    fn succeed(&mut self, at: u32, status: u16, is_end_stream: bool, ends: &mut impl Ends) {
        let slot = self.slots.get_mut(at);
        slot.set_status(status);
        if is_end_stream {
            self.complete(at, ends);
        } else if self.config.keeps_success_bodies {
            slot.keep_answer();
            self.answers.begin(at);
        }
    }

    /// The answer is complete. A body that is still held back is not wanted any more.
    #[inline]
    fn complete(&mut self, at: u32, ends: &mut impl Ends) {
        let slot = self.slots.get(at);
        if slot.end() == NOT_PRODUCED {
            self.reset_stream(slot.stream(), ErrorCode::CANCEL, ends);
        }
        self.end_answered(at, ends);
    }

    /// Decodes a block; keeps its fields for the slot `at` when its status is final and not 2xx. Values that are not kept
    /// are not looked at: what nobody reads must not cost an accepted request its answer.
    fn decode(&mut self, block: &[u8], at: Option<u32>) -> Result<Parsed, ConnectionError> {
        let mut parsed = Parsed::Fields;
        let mut is_ordinary_seen = false;
        let (answers, slots, keeps_bodies) =
            (&mut self.answers, &mut self.slots, self.config.keeps_success_bodies);
        let result = self.decoder.decode(block, |name, value| {
            if name.first() != Some(&b':') {
                is_ordinary_seen = true;
                let is_kept = matches!((at, &parsed), (Some(_), Parsed::Status(300..)));
                if !field::is_name(name) || (is_kept && !field::is_value(value)) {
                    parsed = Parsed::Malformed;
                } else if let (Some(at), true) = (at, is_kept) {
                    answers.field(at, name, value);
                }
                return;
            }
            let status = status_of(name, value).filter(|_| !is_ordinary_seen);
            parsed = match (&parsed, status) {
                (Parsed::Fields, Some(status)) => Parsed::Status(status),
                _ => Parsed::Malformed,
            };
            if let (Some(at), Parsed::Status(status)) = (at, &parsed)
                && (*status >= 300 || (*status >= 200 && keeps_bodies))
            {
                slots.get_mut(at).keep_answer();
                answers.begin(at);
            }
        });
        result.map_err(|error| ConnectionError::with(ErrorCode::COMPRESSION_ERROR, error.0))?;
        Ok(parsed)
    }

    fn data(&mut self, head: Head, payload: &[u8], ends: &mut impl Ends) -> Result<(), ConnectionError> {
        self.check_not_idle(head.stream)?;
        let data = unpadded(head, payload)?;
        self.return_window(head.length);
        let Some(at) = self.slots.find(head.stream) else {
            return self.count_noise();
        };
        if self.slots.get(at).status() == 0 {
            self.reset_malformed(at, ends);
            return Ok(());
        }
        if self.slots.get(at).keeps_answer() {
            self.answers.body(at, data);
        }
        if head.has(flag::END_STREAM) {
            self.complete(at, ends);
            return Ok(());
        }
        if head.length > 0 {
            // Keeps the stream's window as it is, without a count per stream.
            frame::put_window_update(&mut self.out, head.stream, head.length as u32);
        }
        self.count_noise()
    }

    fn reset_malformed(&mut self, at: u32, ends: &mut impl Ends) {
        self.reset_stream(self.slots.get(at).stream(), ErrorCode::PROTOCOL_ERROR, ends);
        if self.slots.get(at).status() != 0 {
            self.end_answered(at, ends);
        } else {
            self.end_with(at, EndResult::Unknown(Cause::Malformed), ends);
        }
    }
}

/// What a header block turned out to be.
enum Parsed {
    /// No pseudo header: trailers.
    Fields,
    Status(u16),
    Malformed,
}

fn status_of(name: &[u8], value: &[u8]) -> Option<u16> {
    let digits: &[u8; 3] = (name == b":status").then_some(value)?.try_into().ok()?;
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return None;
    }
    Some(digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

fn check_length(head: Head) -> Result<(), ConnectionError> {
    if head.length > frame::FRAME_BYTES_DEFAULT {
        return Err(ConnectionError::with(ErrorCode::FRAME_SIZE_ERROR, "frame longer than announced"));
    }
    Ok(())
}

/// The payload of a DATA or HEADERS frame without its padding.
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], ConnectionError> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let too_long = ConnectionError::protocol("padding longer than its frame");
    let Some((&padding, rest)) = payload.split_first() else {
        return Err(ConnectionError::with(ErrorCode::FRAME_SIZE_ERROR, "padded frame without a length"));
    };
    rest.len().checked_sub(usize::from(padding)).map(|length| &rest[..length]).ok_or(too_long)
}

/// Appends from `bytes` until `partial` has this length; returns what is left.
fn top_up<'a>(partial: &mut Vec<u8>, bytes: &'a [u8], length: usize) -> &'a [u8] {
    let missing = length.saturating_sub(partial.len()).min(bytes.len());
    let (taken, rest) = bytes.split_at(missing);
    partial.extend_from_slice(taken);
    rest
}
