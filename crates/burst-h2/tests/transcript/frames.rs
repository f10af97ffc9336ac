//! Frames of RFC 9113, section 4.1, written and read here and not by the crate under test.

use burst_h2::ErrorCode;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;

/// `:status 200`, indexed.
pub(crate) const OK: &[u8] = &[0x88];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        Frame { kind, flags, stream, payload: payload.to_vec() }
    }

    /// The last of its stream.
    pub(crate) fn end(mut self) -> Frame {
        self.flags |= END_STREAM;
        self
    }

    /// With the header block going on in CONTINUATION.
    pub(crate) fn open(mut self) -> Frame {
        self.flags &= !END_HEADERS;
        self
    }

    /// With a length of padding before the payload and `actual` bytes of it behind.
    pub(crate) fn padded(mut self, announced: u8, actual: usize) -> Frame {
        self.flags |= PADDED;
        self.payload.insert(0, announced);
        self.payload.extend(vec![0; actual]);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.payload);
        out
    }

    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// HEADERS with the whole block, and DATA to follow.
pub(crate) fn headers(stream: u32, block: &[u8]) -> Frame {
    Frame::new(HEADERS, END_HEADERS, stream, block)
}

/// HEADERS that are a whole answer.
pub(crate) fn answer(stream: u32, block: &[u8]) -> Frame {
    headers(stream, block).end()
}

/// CONTINUATION that ends the block.
pub(crate) fn continuation(stream: u32, block: &[u8]) -> Frame {
    Frame::new(CONTINUATION, END_HEADERS, stream, block)
}

pub(crate) fn data(stream: u32, payload: &str) -> Frame {
    Frame::new(DATA, 0, stream, payload.as_bytes())
}

pub(crate) fn reset(stream: u32, code: ErrorCode) -> Frame {
    Frame::new(RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(crate) fn priority(stream: u32) -> Frame {
    Frame::new(PRIORITY, 0, stream, &[0, 0, 0, 0, 15])
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Frame {
    let pairs =
        settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
    Frame { kind: SETTINGS, flags: 0, stream: 0, payload: pairs.collect() }
}

pub(crate) fn settings_ack() -> Frame {
    Frame::new(SETTINGS, ACK, 0, b"")
}

pub(crate) fn ping(payload: &[u8; 8]) -> Frame {
    Frame::new(PING, 0, 0, payload)
}

pub(crate) fn goaway(last_stream: u32, code: ErrorCode, debug_data: &str) -> Frame {
    let numbers = [last_stream.to_be_bytes(), code.0.to_be_bytes()].concat();
    Frame::new(GOAWAY, 0, 0, &[&numbers, debug_data.as_bytes()].concat())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Frame {
    Frame::new(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// A block of literals that change no table.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// All frames of an output.
pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
        frames.push(Frame::new(bytes[3], bytes[4], stream, &bytes[9..9 + length]));
        bytes = &bytes[9 + length..];
    }
    frames
}

/// Frames of a client in words.
pub(crate) fn words(bytes: &[u8]) -> Vec<String> {
    parse(bytes).iter().map(word).collect()
}

fn word(frame: &Frame) -> String {
    let Frame { flags, stream, payload, .. } = frame;
    let end = if flags & END_STREAM == 0 { "" } else { " end" };
    let open = if flags & END_HEADERS == 0 { " open" } else { "" };
    let is_ack = flags & ACK != 0;
    match frame.kind {
        DATA if payload.len() > 40 => format!("DATA {stream} {} bytes{end}", payload.len()),
        DATA => format!("DATA {stream} {:?}{end}", String::from_utf8_lossy(payload)),
        HEADERS => format!("HEADERS {stream}{open}{end}"),
        CONTINUATION => format!("CONTINUATION {stream}{open}"),
        RST_STREAM => format!("RST_STREAM {stream} {:?}", ErrorCode(frame.number(0))),
        SETTINGS if is_ack => {
            format!("SETTINGS ack{}", if payload.is_empty() { "" } else { " with payload" })
        }
        SETTINGS => {
            let pairs: Vec<String> = payload
                .chunks(6)
                .map(|pair| {
                    let value = u32::from_be_bytes(pair[2..6].try_into().unwrap());
                    format!("{}={value}", u16::from_be_bytes([pair[0], pair[1]]))
                })
                .collect();
            format!("SETTINGS {}", pairs.join(" "))
        }
        PING => format!("PING{} {:?}", if is_ack { " ack" } else { "" }, String::from_utf8_lossy(payload)),
        GOAWAY => format!("GOAWAY {} {:?}", frame.number(0), ErrorCode(frame.number(4))),
        WINDOW_UPDATE => format!("WINDOW_UPDATE {stream} {}", frame.number(0)),
        other => panic!("a client sends no frame of kind {other}"),
    }
}
