//! What the HTTP/2 library does not let its user say: stream limits that change, and GOAWAY with a reason. Frames are
//! told apart on their way between the library and TLS; ours go in between, and what answers them goes no further.

use std::rc::Rc;

use tokio::sync::Notify;

use crate::h2::frame::{self, ErrorCode, FLAG_ACK, FLAG_END_HEADERS, FrameHeader, HEADER_BYTES, PREFACE};
use crate::h2::limit::StreamLimit;

/// A setting's length in a SETTINGS frame.
const SETTING_BYTES: usize = 6;

/// Both directions of a connection, as far as frames go.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// The stream limit as the client knows it.
    pub(super) limit: StreamLimit,
    /// Frames of ours that wait for the library to end its frame.
    injected: Vec<u8>,
    /// The client has acknowledged the library's SETTINGS, which are the first and its only ones.
    has_acknowledged: bool,
    /// GOAWAY has been said by us, and the library's is not needed.
    said_goodbye: bool,
    /// The stream limit that the library's first SETTINGS are to carry.
    first_limit: Option<u32>,
    /// Codes of RST_STREAM and GOAWAY by which the library said that the client is wrong.
    pub(super) complaints: Vec<u32>,
    /// Tells whoever looks after the connection that there are complaints.
    changed: Rc<Notify>,
    out: Frames,
    arriving: Frames,
    /// Bytes of the client's preface that have come.
    preface: usize,
}

/// A direction: where its bytes are between two frames.
#[derive(Debug, Default)]
struct Frames {
    head: Vec<u8>,
    /// Payload that is still to come.
    left: usize,
    /// Payload that has to be seen before it is passed on: RST_STREAM and GOAWAY.
    kept: Vec<u8>,
    is_kept: bool,
    /// A header block goes on in the next frame.
    in_block: bool,
    /// What follows the payload.
    after: Vec<u8>,
}

impl Wire {
    /// For a connection whose first SETTINGS carry `streams`.
    pub(super) fn new(streams: u32, changed: Rc<Notify>) -> Self {
        let mut limit = StreamLimit::default();
        limit.announce(streams);
        Self { limit, first_limit: Some(streams), changed, ..Self::default() }
    }

    /// Announces another stream limit.
    pub(super) fn announce(&mut self, streams: u32) {
        if streams != self.limit.announced {
            frame::write_settings(&[(frame::SETTINGS_MAX_CONCURRENT_STREAMS, streams)], &mut self.injected);
            self.limit.announce(streams);
        }
    }

    /// Says that streams above `last` are not processed.
    pub(super) fn say_goodbye(&mut self, last: u32, code: ErrorCode, debug: &[u8]) {
        if !std::mem::replace(&mut self.said_goodbye, true) {
            frame::write_goaway(last, code, debug, &mut self.injected);
        }
    }

    /// Passes the library's `bytes` on to `out`.
    pub(super) fn send(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.out.left == 0 {
                let Some(header) = self.out.take_head(&mut bytes) else { return };
                self.begin(header, out);
            } else {
                let (payload, rest) = bytes.split_at(self.out.left.min(bytes.len()));
                bytes = rest;
                self.out.left -= payload.len();
                if self.out.is_kept {
                    self.out.kept.extend_from_slice(payload)
                } else {
                    out.extend_from_slice(payload)
                }
            }
            if self.out.left == 0 && self.out.head.len() == HEADER_BYTES {
                self.end(out);
            }
        }
    }

    /// Writes frames of ours, if none of the library's is under way: behind what was answered so far.
    pub(super) fn interject(&mut self, out: &mut Vec<u8>) {
        // The library's SETTINGS come first.
        if self.first_limit.is_none() && self.out.is_between() {
            out.append(&mut self.injected);
        }
    }

    fn begin(&mut self, mut header: FrameHeader, out: &mut Vec<u8>) {
        self.out.left = header.length;
        match header.kind {
            frame::SETTINGS if !header.has(FLAG_ACK) => {
                if let Some(streams) = self.first_limit.take() {
                    header.length += SETTING_BYTES;
                    let id = frame::SETTINGS_MAX_CONCURRENT_STREAMS.to_be_bytes();
                    self.out.after = [&id[..], &streams.to_be_bytes()].concat();
                }
            }
            frame::HEADERS | frame::CONTINUATION => self.out.in_block = !header.has(FLAG_END_HEADERS),
            frame::RST_STREAM | frame::GOAWAY => {
                self.out.is_kept = true;
                return;
            }
            _ => {}
        }
        write(header, out);
    }

    /// A frame of the library is complete.
    fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out.after);
        if std::mem::take(&mut self.out.is_kept) {
            let is_goaway = self.out.head[3] == frame::GOAWAY;
            let code = self.out.kept.get(if is_goaway { 4 } else { 0 }..).and_then(|rest| rest.first_chunk());
            let code = code.map_or(NO_ERROR, |code| u32::from_be_bytes(*code));
            let is_complaint = !matches!(code, NO_ERROR | REFUSED_STREAM | CANCEL);
            if is_complaint {
                self.complaints.push(code);
                self.changed.notify_one();
            }
            if !(is_goaway && self.said_goodbye && !is_complaint) {
                out.extend_from_slice(&self.out.head);
                out.append(&mut self.out.kept);
            }
            self.out.kept.clear();
        }
        self.out.head.clear();
    }

    /// Passes the client's `bytes` on to `out`.
    pub(super) fn receive(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        let preface = bytes.len().min(PREFACE.len() - self.preface);
        self.preface += preface;
        out.extend_from_slice(&bytes[..preface]);
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.arriving.left > 0 {
                let (payload, rest) = bytes.split_at(self.arriving.left.min(bytes.len()));
                bytes = rest;
                self.arriving.left -= payload.len();
                out.extend_from_slice(payload);
                continue;
            }
            let Some(header) = self.arriving.take_head(&mut bytes) else { return };
            self.arriving.head.clear();
            self.arriving.left = header.length;
            let is_ack = header.kind == frame::SETTINGS && header.has(FLAG_ACK);
            if !(is_ack && self.acknowledged()) {
                write(header, out);
            }
        }
    }

    /// SETTINGS were acknowledged; whether they were ours.
    fn acknowledged(&mut self) -> bool {
        self.limit.acknowledge();
        std::mem::replace(&mut self.has_acknowledged, true)
    }
}

fn write(header: FrameHeader, out: &mut Vec<u8>) {
    frame::write_header(header.length, header.kind, header.flags, header.stream, out);
}

const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

impl Frames {
    fn is_between(&self) -> bool {
        self.left == 0 && self.head.is_empty() && !self.in_block
    }

    /// Completes the header of the next frame, if there is enough for that.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Option<FrameHeader> {
        let (front, rest) = bytes.split_at((HEADER_BYTES - self.head.len()).min(bytes.len()));
        self.head.extend_from_slice(front);
        *bytes = rest;
        FrameHeader::read(&self.head)
    }
}

#[cfg(test)]
mod tests;
