//! One connection: requests in, answers out. It reads frames without copying them unless they straddle two TLS
//! records, and keeps nothing for a request in flight but one bit and the answer that is due.

use model::Platform;

use super::flow::Flow;
use super::frame::{self, ErrorCode, FLAG_END_HEADERS, FLAG_END_STREAM, FrameHeader, HEADER_BYTES, PREFACE};
use super::headers::HeaderReader;
use super::limit::StreamLimit;
use super::request::{Head, Request};
use super::streams::OpenStreams;
use crate::answers::Answers;
use crate::config::{Config, ConnectionFault, OverLimit};
use crate::desk::Desk;
use crate::fcm::body::BODY_BYTES_MAX;

/// Requests that may be incomplete at once.
const INCOMPLETE_MAX: usize = 4_096;
/// The longest DATA that is taken together with its HEADERS: within every limit on frames.
const DATA_BYTES_MAX: usize = 16_384;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client broke the protocol; a GOAWAY has been written.
    Violation(ErrorCode),
    /// A fault of the configuration: nothing more is written.
    Dropped,
}

/// How a connection ends, or stops speaking, when the storm hits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// A fatal alert, then the end.
    Alert,
    /// The end of our side; the client's is read and judged on.
    Fin,
    /// close_notify and no end; the client's side is read and judged on.
    CloseNotify,
    /// The connection is reset.
    Reset,
    /// Neither read nor write.
    Stall,
    /// No word; the client's side is read and judged on.
    Silence,
}

/// A header block that goes on in CONTINUATION frames.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) stream: u32,
    pub(super) ends_stream: bool,
    pub(super) block: Vec<u8>,
}

/// The server's side of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its place in the driver, and which of those that had it.
    pub(super) id: (u32, u32),
    /// Frames to be sent.
    pub(crate) out: Vec<u8>,
    /// The front of a frame whose rest has not arrived.
    tail: Vec<u8>,
    is_greeted: bool,
    pub(super) has_settings: bool,
    pub(super) headers: HeaderReader,
    pub(super) platform: Platform,
    pub(super) answers: Answers,
    pub(super) flow: Flow,
    pub(super) unfinished: Option<Unfinished>,
    pub(super) incomplete: Vec<Request>,
    pub(super) open: OpenStreams,
    pub(super) last_stream: u32,
    /// The last id of a GOAWAY that was sent.
    pub(super) leaving: Option<u32>,
    pub(super) limit: StreamLimit,
    pub(super) requests: u64,
    /// Answers so far that count for [`crate::config::Goaway::after_rejections`].
    pub(super) rejections: u64,
    pub(super) opened_at_us: u64,
    pub(super) is_valid: bool,
    /// APNs: it has answered ExpiredProviderToken and will go on doing so.
    pub(super) is_wedged: bool,
    /// Requests for devices, counted when there may be a storm.
    pub(super) device_requests: u64,
    /// Its turn to be hit has come.
    pub(super) had_turn: bool,
    /// It is hit: what the output holds up to here goes out, then this happens. What is read goes on being judged, and is
    /// never answered.
    pub(crate) farewell: Option<(Farewell, usize)>,
    pub(super) flood: Option<ConnectionFault>,
    /// A GOAWAY that takes nothing back was sent; another follows.
    pub(super) is_warned: bool,
    /// No stream is allowed until then.
    pub(super) no_streams_until_us: u64,
}

impl Connection {
    /// A connection at place `id` of the driver; its SETTINGS are ready to be sent.
    pub(crate) fn new(id: (u32, u32), config: &Config, watches_credentials: bool, now_us: u64) -> Self {
        let limits = &config.limits;
        let mut connection = Self {
            id,
            out: Vec::new(),
            tail: Vec::new(),
            is_greeted: false,
            has_settings: false,
            headers: HeaderReader::new(
                limits.header_table_bytes as usize,
                config.provider,
                watches_credentials,
            ),
            platform: config.provider,
            answers: Answers::new(config.answers.header_table_bytes),
            flow: Flow::new(limits.connection_window),
            unfinished: None,
            incomplete: Vec::new(),
            open: OpenStreams::default(),
            last_stream: 0,
            leaving: None,
            limit: StreamLimit::default(),
            requests: 0,
            rejections: 0,
            opened_at_us: now_us,
            is_valid: !limits.one_stream_until_valid,
            is_wedged: false,
            device_requests: 0,
            had_turn: false,
            farewell: None,
            flood: None,
            is_warned: false,
            no_streams_until_us: 0,
        };
        connection.greet(config);
        connection
    }

    fn greet(&mut self, config: &Config) {
        let limits = &config.limits;
        let streams = self.streams_now(config, self.opened_at_us);
        let settings = [
            (frame::SETTINGS_HEADER_TABLE_SIZE, limits.header_table_bytes),
            (frame::SETTINGS_MAX_CONCURRENT_STREAMS, streams),
            (frame::SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window),
            (frame::SETTINGS_MAX_FRAME_SIZE, limits.frame_bytes_max),
            (frame::SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_block_bytes_max),
        ];
        frame::write_settings(&settings, &mut self.out);
        self.limit.announce(streams);
        self.flow.open(&mut self.out);
    }

    /// The stream limit that holds at this age.
    fn streams_now(&self, config: &Config, now_us: u64) -> u32 {
        if now_us < self.no_streams_until_us {
            return 0;
        }
        if !self.is_valid {
            return 1;
        }
        let age_us = now_us - self.opened_at_us;
        let has_come = |after: std::time::Duration| after.as_micros() as u64 <= age_us;
        let changes = &config.limits.stream_changes;
        let latest = changes.iter().filter(|change| has_come(change.after)).max_by_key(|change| change.after);
        latest.map_or(config.limits.streams, |change| change.streams)
    }

    /// What time brings: changed stream limits, GOAWAY of old connections, more of a flood.
    pub(crate) fn keep_house(&mut self, desk: &mut Desk) {
        let now_us = desk.time.now_us;
        let streams = self.streams_now(&desk.config, now_us);
        if streams != self.limit.announced {
            frame::write_settings(&[(frame::SETTINGS_MAX_CONCURRENT_STREAMS, streams)], &mut self.out);
            self.limit.announce(streams);
        }
        let after = desk.config.faults.goaway.after;
        if after.is_some_and(|after| now_us - self.opened_at_us >= after.as_micros() as u64) {
            self.leave(desk);
        }
        if std::mem::take(&mut self.is_warned) {
            self.leave(desk);
        }
        self.go_on_flooding();
    }

    /// Whether everything that was promised has been written after a GOAWAY.
    pub(crate) fn is_done(&self) -> bool {
        self.leaving.is_some() && self.open.count() == 0 && !self.flow.is_waiting()
    }

    /// Reads what arrived.
    pub(crate) fn receive(&mut self, mut bytes: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        if !self.is_greeted && !self.read_preface(&mut bytes)? {
            return Ok(());
        }
        if !self.tail.is_empty() && !self.complete_tail(&mut bytes, desk)? {
            return Ok(());
        }
        while let Some(header) = self.next_header(bytes, &desk.config)? {
            let Some((payload, rest)) = bytes[HEADER_BYTES..].split_at_checked(header.length) else { break };
            bytes = match whole_request(header, rest) {
                Some((data, rest)) if self.expects_requests() => {
                    self.whole_request(header.stream, payload, data, desk)?;
                    rest
                }
                _ => {
                    self.frame(header, payload, desk)?;
                    rest
                }
            };
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }

    fn expects_requests(&self) -> bool {
        self.has_settings && self.unfinished.is_none()
    }

    fn next_header(&mut self, bytes: &[u8], config: &Config) -> Result<Option<FrameHeader>, Stop> {
        let Some(header) = FrameHeader::read(bytes) else { return Ok(None) };
        if header.length > config.limits.frame_bytes_max as usize {
            return Err(self.violation(ErrorCode::FrameSize));
        }
        Ok(Some(header))
    }

    fn read_preface(&mut self, bytes: &mut &[u8]) -> Result<bool, Stop> {
        let missing = PREFACE.len() - self.tail.len();
        let (front, rest) = bytes.split_at(missing.min(bytes.len()));
        self.tail.extend_from_slice(front);
        *bytes = rest;
        if !PREFACE.starts_with(&self.tail) {
            return Err(self.violation(ErrorCode::Protocol));
        }
        self.is_greeted = self.tail.len() == PREFACE.len();
        if self.is_greeted {
            self.tail.clear();
        }
        Ok(self.is_greeted)
    }

    /// Completes the frame whose front was kept; says whether there was enough for that.
    fn complete_tail(&mut self, bytes: &mut &[u8], desk: &mut Desk) -> Result<bool, Stop> {
        let mut tail = std::mem::take(&mut self.tail);
        let mut take = |tail: &mut Vec<u8>, length: usize| {
            let (front, rest) = bytes.split_at(length.saturating_sub(tail.len()).min(bytes.len()));
            tail.extend_from_slice(front);
            *bytes = rest;
        };
        take(&mut tail, HEADER_BYTES);
        let is_complete = match self.next_header(&tail, &desk.config)? {
            None => false,
            Some(header) => {
                take(&mut tail, HEADER_BYTES + header.length);
                let is_complete = tail.len() == HEADER_BYTES + header.length;
                if is_complete {
                    self.frame(header, &tail[HEADER_BYTES..], desk)?;
                    tail.clear();
                }
                is_complete
            }
        };
        self.tail = tail;
        Ok(is_complete)
    }

    #[inline]
    fn frame(&mut self, header: FrameHeader, payload: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        let is_expected = match &self.unfinished {
            Some(unfinished) => header.kind == frame::CONTINUATION && header.stream == unfinished.stream,
            None => {
                header.kind != frame::CONTINUATION && (self.has_settings || header.kind == frame::SETTINGS)
            }
        };
        if !is_expected {
            return Err(self.violation(ErrorCode::Protocol));
        }
        match header.kind {
            frame::HEADERS => self.headers(header, payload, desk),
            frame::DATA => self.data(header, payload, desk),
            _ => self.control_frame(header, payload, desk),
        }
    }

    fn headers(&mut self, header: FrameHeader, payload: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        let block = self.unpad(header, payload)?;
        let block = if header.has(frame::FLAG_PRIORITY) {
            block.get(5..).ok_or_else(|| self.violation(ErrorCode::FrameSize))?
        } else {
            block
        };
        if header.stream.is_multiple_of(2) {
            return Err(self.violation(ErrorCode::Protocol));
        }
        let ends_stream = header.has(FLAG_END_STREAM);
        if header.has(FLAG_END_HEADERS) {
            return self.header_block(header.stream, ends_stream, block, desk);
        }
        self.unfinished = Some(Unfinished { stream: header.stream, ends_stream, block: block.to_vec() });
        Ok(())
    }

    pub(super) fn unpad<'a>(&mut self, header: FrameHeader, payload: &'a [u8]) -> Result<&'a [u8], Stop> {
        if !header.has(frame::FLAG_PADDED) {
            return Ok(payload);
        }
        let unpadded = payload.split_first().and_then(|(padding, rest)| {
            let length = rest.len().checked_sub(usize::from(*padding))?;
            rest.get(..length)
        });
        unpadded.ok_or_else(|| self.violation(ErrorCode::Protocol))
    }

    /// A request whose HEADERS and DATA came together: the usual one.
    fn whole_request(&mut self, stream: u32, block: &[u8], data: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        if stream.is_multiple_of(2) {
            return Err(self.violation(ErrorCode::Protocol));
        }
        let head = self.decode(block, &desk.config)?;
        if stream <= self.last_stream {
            return self.trailers(stream, false, desk);
        }
        let admitted = self.admit(stream, &head, desk)?;
        if data.len() > desk.config.limits.stream_window as usize {
            return Err(self.violation(ErrorCode::FlowControl));
        }
        self.flow.received(data.len(), &mut self.out).map_err(|code| self.violation(code))?;
        match admitted {
            Some(is_refused) => self.complete(stream, &head, is_refused, data, desk),
            None => Ok(()),
        }
    }

    /// A whole header block: a new request, or the trailers of one.
    pub(super) fn header_block(
        &mut self,
        stream: u32,
        ends_stream: bool,
        block: &[u8],
        desk: &mut Desk,
    ) -> Result<(), Stop> {
        let head = self.decode(block, &desk.config)?;
        if stream <= self.last_stream {
            return self.trailers(stream, ends_stream, desk);
        }
        let Some(is_refused) = self.admit(stream, &head, desk)? else { return Ok(()) };
        if ends_stream {
            return self.complete(stream, &head, is_refused, &[], desk);
        }
        if self.incomplete.len() >= INCOMPLETE_MAX {
            return Err(self.violation(ErrorCode::EnhanceYourCalm));
        }
        self.incomplete.push(Request {
            stream,
            head,
            is_refused,
            body: Vec::new(),
            body_bytes: 0,
            ungranted: 0,
        });
        Ok(())
    }

    /// Opens a stream. Says whether it is to be refused once it is all here; nothing if it was reset at once.
    fn admit(&mut self, stream: u32, head: &Head, desk: &mut Desk) -> Result<Option<bool>, Stop> {
        self.last_stream = stream;
        let is_above = self.leaving.is_some();
        let is_over = !is_above && self.open.count() >= self.limit.allowed();
        if is_over && self.limit.is_settled() && desk.config.limits.over_limit == OverLimit::Goaway {
            desk.ledger.counts.goaways += 1;
            return Err(
                self.violation_because(ErrorCode::EnhanceYourCalm, b"exceeded_max_concurrent_streams")
            );
        }
        if head.is_malformed() {
            frame::write_reset(stream, ErrorCode::Protocol, &mut self.out);
            return Ok(None);
        }
        if !is_above {
            self.open.insert(stream);
        }
        Ok(Some(is_above || is_over))
    }

    fn trailers(&mut self, stream: u32, ends_stream: bool, desk: &mut Desk) -> Result<(), Stop> {
        let Some(place) = self.incomplete.iter().rposition(|request| request.stream == stream) else {
            return Err(self.violation(ErrorCode::StreamClosed));
        };
        if !ends_stream {
            return Err(self.violation(ErrorCode::Protocol));
        }
        let request = self.incomplete.swap_remove(place);
        self.complete_kept(request, desk)
    }

    #[inline]
    fn decode(&mut self, block: &[u8], config: &Config) -> Result<Head, Stop> {
        if block.len() > config.limits.header_block_bytes_max as usize {
            return Err(self.violation(ErrorCode::EnhanceYourCalm));
        }
        self.headers.read(block).map_err(|_| self.violation(ErrorCode::Compression))
    }

    fn data(&mut self, header: FrameHeader, payload: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        self.flow.received(payload.len(), &mut self.out).map_err(|code| self.violation(code))?;
        let data = self.unpad(header, payload)?;
        let place = match self.incomplete.last() {
            Some(last) if last.stream == header.stream => Some(self.incomplete.len() - 1),
            _ => self.incomplete.iter().position(|request| request.stream == header.stream),
        };
        let Some(place) = place else {
            let is_idle = header.stream == 0 || header.stream > self.last_stream;
            return if is_idle { Err(self.violation(ErrorCode::Protocol)) } else { Ok(()) };
        };
        let window = desk.config.limits.stream_window;
        if self.incomplete[place].ungranted as usize + payload.len() > window as usize {
            return Err(self.violation(ErrorCode::FlowControl));
        }
        if header.has(FLAG_END_STREAM) {
            let mut request = self.incomplete.swap_remove(place);
            if request.body_bytes == 0 {
                return self.complete(request.stream, &request.head, request.is_refused, data, desk);
            }
            keep_body(&mut request, data);
            return self.complete_kept(request, desk);
        }
        keep_body(&mut self.incomplete[place], data);
        self.grant(place, payload.len() as u32, window);
        Ok(())
    }

    /// Widens the window of a stream whose body goes on, once half of it is used.
    fn grant(&mut self, place: usize, bytes: u32, window: u32) {
        let request = &mut self.incomplete[place];
        request.ungranted += bytes;
        if request.ungranted >= window / 2 && request.ungranted > 0 {
            frame::write_window_update(request.stream, request.ungranted, &mut self.out);
            request.ungranted = 0;
        }
    }

    /// Begins to leave: requests that arrived are answered, later ones are not processed.
    pub(crate) fn leave(&mut self, desk: &mut Desk) {
        if self.leaving.is_some() {
            return;
        }
        let reason = &desk.config.faults.goaway.reason;
        let debug = match self.platform {
            _ if reason.is_empty() => String::new(),
            Platform::Apns => format!(r#"{{"reason":"{reason}"}}"#),
            Platform::Fcm => reason.clone(),
        };
        frame::write_goaway(self.last_stream, ErrorCode::NoError, debug.as_bytes(), &mut self.out);
        self.leaving = Some(self.last_stream);
        desk.ledger.counts.goaways += 1;
    }

    /// Writes the GOAWAY that a violation earns.
    pub(super) fn violation(&mut self, code: ErrorCode) -> Stop {
        self.violation_because(code, b"")
    }

    fn violation_because(&mut self, code: ErrorCode, debug: &[u8]) -> Stop {
        frame::write_goaway(self.last_stream, code, debug, &mut self.out);
        Stop::Violation(code)
    }
}

/// The DATA that ends the request which `header` begins, if it follows at once, and what comes after it.
#[inline]
fn whole_request(header: FrameHeader, rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if header.kind != frame::HEADERS || header.flags != FLAG_END_HEADERS {
        return None;
    }
    let data = FrameHeader::read(rest)?;
    let is_last = data.kind == frame::DATA && data.flags == FLAG_END_STREAM && data.stream == header.stream;
    if !is_last || data.length > DATA_BYTES_MAX {
        return None;
    }
    rest[HEADER_BYTES..].split_at_checked(data.length)
}

fn keep_body(request: &mut Request, data: &[u8]) {
    request.body_bytes += data.len();
    if request.body_bytes <= BODY_BYTES_MAX {
        request.body.extend_from_slice(data);
    }
}
