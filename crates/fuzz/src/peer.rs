//! What a careful server would hold against a client: a second, simple account of both directions of a connection, kept
//! from the bytes alone.

use std::collections::{HashMap, HashSet};

use crate::wire::{self, Frame};

/// The account. It follows a connection only as long as that takes the peer's bytes without an error.
pub(crate) struct Account {
    received: Vec<u8>,
    sent: Vec<u8>,
    is_preface_over: bool,
    /// Windows of the streams that the client opened and has not ended or reset.
    windows: HashMap<u32, i64>,
    window: i64,
    window_initial: i64,
    frame_bytes_max: usize,
    last_stream: u32,
    /// The stream whose header block goes on.
    block: Option<u32>,
    /// That block is all of its request.
    block_is_all: bool,
    /// Bytes of the output, and of them those up to each request's last one.
    position: u64,
    ends: HashMap<u32, u64>,
    /// The streams of the requests, in their order.
    streams: Vec<u32>,
    /// HEADERS frames.
    pub(crate) requests: u64,
    /// RST_STREAM frames of the client.
    pub(crate) resets: u32,
    /// SETTINGS received less acknowledgements sent.
    unacknowledged: i64,
    /// The same of PINGs.
    unanswered: i64,
    /// GOAWAY frames of the client.
    pub(crate) goodbyes: u32,
}

impl Account {
    pub(crate) fn new() -> Self {
        Self {
            received: Vec::new(),
            sent: Vec::new(),
            is_preface_over: false,
            windows: HashMap::new(),
            window: 65_535,
            window_initial: 65_535,
            frame_bytes_max: 16_384,
            last_stream: 0,
            block: None,
            block_is_all: false,
            position: 0,
            ends: HashMap::new(),
            streams: Vec::new(),
            requests: 0,
            resets: 0,
            unacknowledged: 0,
            unanswered: 0,
            goodbyes: 0,
        }
    }

    /// The peer sent this, and the connection took it.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.received);
        let mut rest = &all[..];
        while let Some(frame) = wire::take(&mut rest) {
            self.note(&frame);
        }
        self.received = rest.to_vec();
    }

    fn note(&mut self, frame: &Frame<'_>) {
        match frame.kind {
            wire::SETTINGS if !frame.has(wire::ACK) => {
                self.unacknowledged += 1;
                for at in (0..frame.payload.len()).step_by(6) {
                    let name = u16::from_be_bytes([frame.payload[at], frame.payload[at + 1]]);
                    self.setting(name, frame.number(at + 2));
                }
            }
            wire::PING if !frame.has(wire::ACK) => self.unanswered += 1,
            wire::WINDOW_UPDATE => {
                let increment = i64::from(frame.number(0) & 0x7fff_ffff);
                match self.windows.get_mut(&frame.stream) {
                    _ if frame.stream == 0 => self.window += increment,
                    Some(window) => *window += increment,
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn setting(&mut self, name: u16, value: u32) {
        match name {
            4 => {
                let difference = i64::from(value) - self.window_initial;
                self.window_initial = i64::from(value);
                self.windows.values_mut().for_each(|window| *window += difference);
            }
            5 => self.frame_bytes_max = value as usize,
            _ => {}
        }
    }

    /// The connection put this into its output, knowing all that was received so far.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.sent);
        let mut rest = &all[..];
        if !self.is_preface_over {
            rest = rest.strip_prefix(wire::PREFACE).expect("a preface first");
            self.is_preface_over = true;
            self.position = wire::PREFACE.len() as u64;
            assert_eq!(rest[3], wire::SETTINGS, "SETTINGS behind the preface");
        }
        while let Some(frame) = wire::take(&mut rest) {
            self.position += 9 + frame.payload.len() as u64;
            self.check(&frame);
        }
        assert!(rest.is_empty(), "the output ends within a frame");
    }

    fn check(&mut self, frame: &Frame<'_>) {
        let length = frame.payload.len();
        assert!(length <= self.frame_bytes_max, "a frame of {length} bytes");
        if let Some(stream) = self.block {
            let goes_on = frame.kind == wire::CONTINUATION && frame.stream == stream;
            assert!(goes_on, "{frame:?} inside a header block");
        }
        match frame.kind {
            wire::HEADERS => self.check_request(frame),
            wire::CONTINUATION => {
                assert!(self.block.is_some(), "CONTINUATION of nothing");
                self.block = (!frame.has(wire::END_HEADERS)).then_some(frame.stream);
                if self.block.is_none() && self.block_is_all {
                    self.ends.insert(frame.stream, self.position);
                }
            }
            wire::DATA => self.check_data(frame),
            wire::RST_STREAM => {
                assert!(frame.stream % 2 == 1 && frame.stream <= self.last_stream, "reset of an idle stream");
                assert_eq!(length, 4);
                self.windows.remove(&frame.stream);
                self.resets += 1;
            }
            wire::WINDOW_UPDATE => {
                assert!((1..=0x7fff_ffff).contains(&frame.number(0)), "{frame:?}");
                assert!(frame.stream <= self.last_stream, "window of an idle stream");
            }
            wire::SETTINGS if frame.has(wire::ACK) => {
                assert_eq!((length, frame.stream), (0, 0));
                self.unacknowledged -= 1;
                assert!(self.unacknowledged >= 0, "SETTINGS acknowledged that nobody sent");
            }
            wire::PING if frame.has(wire::ACK) => {
                assert_eq!((length, frame.stream), (8, 0));
                self.unanswered -= 1;
                assert!(self.unanswered >= 0, "PING answered that nobody sent");
            }
            wire::SETTINGS => assert_eq!((length % 6, frame.stream), (0, 0)),
            wire::PING => assert_eq!((length, frame.stream), (8, 0)),
            wire::GOAWAY => {
                assert_eq!((length, frame.stream, frame.number(0)), (8, 0, 0));
                self.goodbyes += 1;
            }
            other => panic!("a client sends no frame of kind {other}"),
        }
    }

    fn check_request(&mut self, frame: &Frame<'_>) {
        assert!(frame.stream % 2 == 1, "a client's streams are odd");
        assert!(frame.stream > self.last_stream, "stream ids rise");
        self.last_stream = frame.stream;
        self.requests += 1;
        self.streams.push(frame.stream);
        self.block = (!frame.has(wire::END_HEADERS)).then_some(frame.stream);
        self.block_is_all = frame.has(wire::END_STREAM);
        if !self.block_is_all {
            self.windows.insert(frame.stream, self.window_initial);
        } else if self.block.is_none() {
            self.ends.insert(frame.stream, self.position);
        }
    }

    fn check_data(&mut self, frame: &Frame<'_>) {
        let length = frame.payload.len() as i64;
        let window =
            self.windows.get_mut(&frame.stream).expect("DATA on a stream that the client holds open");
        *window -= length;
        self.window -= length;
        assert!(length == 0 || (*window >= 0 && self.window >= 0), "DATA beyond a window: {frame:?}");
        if frame.has(wire::END_STREAM) {
            self.windows.remove(&frame.stream);
            self.ends.insert(frame.stream, self.position);
        }
    }

    /// The stream of a request, the first of which is 0.
    pub(crate) fn stream_of(&self, request: u64) -> u32 {
        self.streams[request as usize]
    }

    /// Whether all of a stream's request is among the first `written` bytes of the output.
    pub(crate) fn is_whole(&self, stream: u32, written: u64) -> bool {
        self.ends.get(&stream).is_some_and(|end| *end <= written)
    }

    /// With nothing left to send, everything that asked for an answer has it.
    pub(crate) fn is_answered(&self) -> bool {
        self.unacknowledged == 0 && self.unanswered == 0
    }
}

/// What the peer has given back, whether the connection took the frame or broke at it.
#[derive(Default)]
pub(crate) struct GivenBack {
    received: Vec<u8>,
    refused: HashSet<u32>,
    /// The lowest last id of its GOAWAYs.
    last: Option<u32>,
}

impl GivenBack {
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.received);
        let mut rest = &all[..];
        while let Some(frame) = wire::take(&mut rest) {
            match (frame.kind, frame.payload.len()) {
                (wire::RST_STREAM, 4) if frame.number(0) == wire::REFUSED_STREAM => {
                    self.refused.insert(frame.stream);
                }
                (wire::GOAWAY, 8..) => {
                    let last = frame.number(0) & 0x7fff_ffff;
                    self.last = Some(self.last.map_or(last, |lowest| lowest.min(last)));
                }
                _ => {}
            }
        }
        self.received = rest.to_vec();
    }

    pub(crate) fn is_refused(&self, stream: u32) -> bool {
        self.refused.contains(&stream)
    }

    /// Whether a GOAWAY says that nothing was done for this stream.
    pub(crate) fn is_above(&self, stream: u32) -> bool {
        self.last.is_some_and(|last| stream > last)
    }
}
