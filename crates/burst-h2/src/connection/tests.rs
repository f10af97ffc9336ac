//! Transcripts: what the peer sends and what then stands on the wire or ends.

mod answers;
mod endings;
mod flow;
mod limits;
mod settings;
mod splits;

use super::*;
use crate::frame::{HEAD_BYTES, Head, flag, kind};
use crate::{Field, Part, Request, Template};

/// A millisecond.
pub(super) const MILLI: Nanos = 1_000_000;

/// Writes down what a connection tells.
#[derive(Default)]
pub(super) struct Log(pub(super) Vec<String>);

impl Ends for Log {
    fn end(&mut self, end: End<'_>) {
        let result = match end.result {
            EndResult::Answered { status, fields, body } => {
                let mut text = format!("answered {status}");
                for (name, value) in fields.iter() {
                    text += &format!(" {}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
                }
                if !body.is_empty() {
                    text += &format!(" {:?}", String::from_utf8_lossy(body));
                }
                text
            }
            EndResult::NotProcessed(cause) => format!("not processed: {cause:?}"),
            EndResult::Unknown(cause) => format!("unknown: {cause:?}"),
        };
        self.0.push(format!("{} {result}", end.tag));
    }

    fn event(&mut self, event: Event<'_>) {
        self.0.push(match event {
            Event::Settings(limit) => format!("ready, limit {limit}"),
            Event::StreamLimit(limit) => format!("limit {limit}"),
            Event::Draining { reason, debug_data } => {
                format!("draining: {reason:?} {:?}", String::from_utf8_lossy(debug_data))
            }
            Event::Pong { round_trip } => format!("pong after {round_trip}"),
        });
    }
}

/// A connection under test and the peer's side of the wire.
pub(super) struct Wire {
    pub(super) connection: Connection,
    pub(super) now: Nanos,
    pub(super) log: Log,
    pub(super) template: Template,
    /// All of the peer's bytes so far, for replays.
    pub(super) received: Vec<u8>,
}

pub(super) fn template() -> Template {
    let fields = vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::varying(":path"),
        Field::constant("authorization", "bearer x"),
    ];
    Template::with_body(fields, vec![Part::Varying]).unwrap()
}

impl Wire {
    /// Before the peer has said anything.
    pub(super) fn silent(config: ConnectionConfig) -> Wire {
        let connection = Connection::new(&config, 0);
        Wire { connection, now: 0, log: Log::default(), template: template(), received: Vec::new() }
    }

    /// With the peer's empty SETTINGS received and our beginning sent.
    pub(super) fn ready_with(config: ConnectionConfig) -> Wire {
        let mut wire = Wire::silent(config);
        wire.receive(&settings(&[]));
        wire.sent();
        wire.log.0.clear();
        wire
    }

    pub(super) fn ready() -> Wire {
        Wire::ready_with(ConnectionConfig::default())
    }

    pub(super) fn start_with(&mut self, tag: u64, body: &[u8], deadline: Nanos) -> Result<(), crate::Full> {
        let request = Request { template: &self.template, values: &[b"/3/device/00", body], tag, deadline };
        self.connection.start(&request, self.now)
    }

    pub(super) fn start(&mut self, tag: u64, body: &[u8]) {
        self.start_with(tag, body, Nanos::MAX).unwrap();
    }

    /// Starts requests with the tags 1 to `count`, on the streams 1, 3, 5 and so on, and sends them.
    pub(super) fn start_and_send(&mut self, count: u64) {
        for tag in 1..=count {
            self.start(tag, b"body");
        }
        self.sent();
    }

    pub(super) fn try_receive(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.received.extend_from_slice(bytes);
        self.connection.receive(bytes, self.now, &mut self.log)
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.try_receive(bytes).unwrap();
    }

    /// What the transport takes now and hands to the kernel, as frames in words; the preface is left out.
    pub(super) fn sent(&mut self) -> Vec<String> {
        self.connection.release();
        let output = self.connection.output().to_vec();
        self.connection.taken(output.len());
        let through = self.connection.produced();
        self.connection.written_through(through);
        words(output.strip_prefix(PREFACE).unwrap_or(&output))
    }

    /// The ends and events since the last call.
    pub(super) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log.0)
    }

    pub(super) fn close(mut self, cause: Cause) -> Vec<String> {
        self.connection.close(cause, &mut self.log);
        self.log.0
    }

    /// Expects that the peer's bytes break the connection with this code and that it is told.
    #[track_caller]
    pub(super) fn breaks(&mut self, bytes: &[u8], code: ErrorCode) {
        self.sent();
        match self.try_receive(bytes) {
            Err(ConnectionError::Protocol { code: actual, .. }) => assert_eq!(actual, code),
            other => panic!("expected {code}, got {other:?}"),
        }
        assert_eq!(self.sent().last().unwrap(), &format!("GOAWAY {code:?}"));
        assert_eq!(self.connection.capacity(), 0);
    }
}

/// Frames in words, header blocks by their length.
pub(super) fn words(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let Some(head_bytes) = bytes.first_chunk::<HEAD_BYTES>() {
        let head = Head::parse(head_bytes);
        let payload = &bytes[HEAD_BYTES..HEAD_BYTES + head.length];
        frames.push(word(head, payload));
        bytes = &bytes[HEAD_BYTES + head.length..];
    }
    assert!(bytes.is_empty(), "output ends within a frame head");
    frames
}

fn word(head: Head, payload: &[u8]) -> String {
    let stream = head.stream;
    let end = if head.has(flag::END_STREAM) { " end" } else { "" };
    let open = if head.has(flag::END_HEADERS) { "" } else { " open" };
    match head.kind {
        kind::DATA => format!("DATA {stream} {:?}{end}", String::from_utf8_lossy(payload)),
        kind::HEADERS => format!("HEADERS {stream}{open}{end}"),
        kind::CONTINUATION => format!("CONTINUATION {stream}{open}"),
        kind::RST_STREAM => format!("RST_STREAM {stream} {:?}", ErrorCode(frame::number(payload))),
        kind::SETTINGS if head.has(flag::ACK) => "SETTINGS ack".into(),
        kind::SETTINGS => format!("SETTINGS {} bytes", payload.len()),
        kind::PING if head.has(flag::ACK) => format!("PING ack {:?}", String::from_utf8_lossy(payload)),
        kind::PING => "PING".into(),
        kind::GOAWAY => format!("GOAWAY {:?}", ErrorCode(frame::number(&payload[4..]))),
        kind::WINDOW_UPDATE => format!("WINDOW_UPDATE {stream} {}", frame::number(payload)),
        other => panic!("a client does not send frames of kind {other}"),
    }
}

pub(super) fn frame_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, flags, stream, payload);
    out
}

pub(super) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_settings(&mut out, settings);
    out
}

/// HEADERS that are a whole answer.
pub(super) fn answer(stream: u32, block: &[u8]) -> Vec<u8> {
    frame_of(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, block)
}

/// HEADERS with DATA to follow.
pub(super) fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame_of(kind::HEADERS, flag::END_HEADERS, stream, block)
}

pub(super) fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
    frame_of(kind::DATA, 0, stream, payload)
}

pub(super) fn last_data(stream: u32, payload: &[u8]) -> Vec<u8> {
    frame_of(kind::DATA, flag::END_STREAM, stream, payload)
}

pub(super) fn reset(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame_of(kind::RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(super) fn goaway(last_stream: u32, code: ErrorCode, debug_data: &[u8]) -> Vec<u8> {
    let payload = [&last_stream.to_be_bytes()[..], &code.0.to_be_bytes(), debug_data].concat();
    frame_of(kind::GOAWAY, 0, 0, &payload)
}

pub(super) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame_of(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// A literal field without indexing, its name in full.
pub(super) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0, name.len() as u8];
    out.extend_from_slice(name.as_bytes());
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
    out
}
