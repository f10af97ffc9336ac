//! A client without a socket: writes frames, reads frames, and decodes headers with an independent codec.

use std::sync::Arc;

use model::time::Timestamp;

use crate::config::Config;
use crate::desk::Desk;
use crate::h2::frame::{self, FrameHeader, HEADER_BYTES, PREFACE};
use crate::h2::{Connection, Stop};
use crate::judge::Judge;

/// A frame that the connection sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// An answer to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) stream: u32,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) is_ended: bool,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn status(&self) -> &str {
        self.header(":status").unwrap_or("none")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(super) struct Wire {
    pub(super) connection: Connection,
    pub(super) desk: Desk,
    hpack: httlib_hpack::Decoder<'static>,
    pub(super) answers: Vec<Answer>,
    next_stream: u32,
}

/// The wall clock of all transcripts.
pub(super) const START: Timestamp = Timestamp::from_secs(1_770_000_000);

impl Wire {
    /// A connection that was greeted, whose greeting was read and whose SETTINGS were acknowledged.
    pub(super) fn new(config: Config) -> Self {
        let mut wire = Self::silent(config);
        wire.send(PREFACE).unwrap();
        wire.send(&bytes(frame::SETTINGS, 0, 0, &[])).unwrap();
        wire.frames();
        wire.send(&bytes(frame::SETTINGS, frame::FLAG_ACK, 0, &[])).unwrap();
        wire
    }

    /// A connection that has heard nothing yet.
    pub(super) fn silent(config: Config) -> Self {
        config.check().unwrap();
        let config = Arc::new(config);
        let desk = Desk::new(Arc::clone(&config), Judge::new(&config), START, 0);
        let connection = Connection::new((0, 0), &config, desk.judge.watches_credentials(), 0);
        Self {
            connection,
            desk,
            hpack: httlib_hpack::Decoder::default(),
            answers: Vec::new(),
            next_stream: 1,
        }
    }

    /// Another connection of the same simulator.
    pub(super) fn reconnect(self) -> Self {
        let connection = Connection::new(
            (1, 0),
            &self.desk.config,
            self.desk.judge.watches_credentials(),
            self.desk.time.now_us,
        );
        let hpack = httlib_hpack::Decoder::default();
        let mut wire = Self { connection, hpack, answers: Vec::new(), next_stream: 1, ..self };
        wire.send(PREFACE).unwrap();
        wire.send(&bytes(frame::SETTINGS, 0, 0, &[])).unwrap();
        wire.frames();
        wire.send(&bytes(frame::SETTINGS, frame::FLAG_ACK, 0, &[])).unwrap();
        wire
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.connection.receive(bytes, &mut self.desk)
    }

    /// What the connection has written since the last call.
    pub(super) fn frames(&mut self) -> Vec<Frame> {
        let out = std::mem::take(&mut self.connection.out);
        let (mut rest, mut frames) = (&out[..], Vec::new());
        while let Some(header) = FrameHeader::read(rest) {
            let payload = rest[HEADER_BYTES..HEADER_BYTES + header.length].to_vec();
            frames.push(Frame { kind: header.kind, flags: header.flags, stream: header.stream, payload });
            rest = &rest[HEADER_BYTES + header.length..];
        }
        assert!(rest.is_empty());
        frames
    }

    /// Reads what was written into answers; returns the frames that belong to none.
    pub(super) fn read(&mut self) -> Vec<Frame> {
        let mut others = Vec::new();
        for frame in self.frames() {
            let is_ended = frame.flags & frame::FLAG_END_STREAM != 0;
            match frame.kind {
                frame::HEADERS => {
                    let (mut block, mut fields) = (frame.payload, Vec::new());
                    self.hpack.decode(&mut block, &mut fields).unwrap();
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    let headers =
                        fields.into_iter().map(|(name, value, _)| (text(name), text(value))).collect();
                    self.answers.push(Answer {
                        stream: frame.stream,
                        headers,
                        body: String::new(),
                        is_ended,
                    });
                }
                frame::DATA => {
                    let answer =
                        self.answers.iter_mut().find(|answer| answer.stream == frame.stream).unwrap();
                    answer.body += std::str::from_utf8(&frame.payload).unwrap();
                    answer.is_ended |= is_ended;
                }
                _ => others.push(frame),
            }
        }
        others
    }

    /// The answers since the last call.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        self.read();
        std::mem::take(&mut self.answers)
    }

    /// A stream id that was not used.
    pub(super) fn next_stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Sends a whole request for a device key; returns its stream.
    pub(super) fn request(&mut self, key: &str) -> u32 {
        let stream = self.next_stream();
        let request = self.request_bytes(stream, key);
        self.send(&request).unwrap();
        stream
    }

    /// The bytes of a whole request for a device key.
    pub(super) fn request_bytes(&self, stream: u32, key: &str) -> Vec<u8> {
        let (path, body) = match self.desk.platform() {
            model::Platform::Apns => (format!("/3/device/{key}"), r#"{"aps":{}}"#.to_owned()),
            model::Platform::Fcm => (
                "/v1/projects/demo/messages:send".to_owned(),
                format!(r#"{{"message":{{"token":"{key}"}}}}"#),
            ),
        };
        let mut all = bytes(frame::HEADERS, frame::FLAG_END_HEADERS, stream, &block(&post(&path)));
        all.extend(bytes(frame::DATA, frame::FLAG_END_STREAM, stream, body.as_bytes()));
        all
    }

    /// Sends a request and returns its one answer.
    pub(super) fn ask(&mut self, key: &str) -> Answer {
        let stream = self.request(key);
        let mut answers = self.answers();
        let answer = answers.pop().expect("an answer");
        assert!(answers.is_empty() && answer.stream == stream && answer.is_ended, "{answer:?}");
        if !answer.body.is_empty() {
            let read = (answer.body.len() as u32).to_be_bytes();
            self.send(&bytes(frame::WINDOW_UPDATE, 0, 0, &read)).unwrap();
        }
        answer
    }

    /// Lets time pass, and everything happen that is due.
    pub(super) fn advance(&mut self, micros: u64) -> Result<(), Stop> {
        self.desk.time.now_us += micros;
        while let Some(slot) = self.desk.due.take_due(self.desk.time.now_us) {
            for due in &slot {
                self.connection.answer(due, &mut self.desk)?;
            }
        }
        self.connection.keep_house(&mut self.desk);
        Ok(())
    }
}

/// The fields of a POST.
pub(super) fn post(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "localhost")]
}

/// A header block of literals.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut encoder = httlib_hpack::Encoder::default();
    let mut block = Vec::new();
    for (name, value) in fields {
        encoder.encode((name.as_bytes().to_vec(), value.as_bytes().to_vec(), 0), &mut block).unwrap();
    }
    block
}

/// The bytes of a frame.
pub(super) fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_header(payload.len(), kind, flags, stream, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// The last id, the code and the debug data of a GOAWAY.
pub(super) fn goaway(frame: &Frame) -> (u32, u32, String) {
    assert_eq!(frame.kind, frame::GOAWAY);
    let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
    (number(0), number(4), String::from_utf8(frame.payload[8..].to_vec()).unwrap())
}
