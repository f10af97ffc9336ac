//! Frame heads and the constants of RFC 9113, and the writing of the small frames that a client sends.

/// What every frame begins with.
pub(crate) const HEAD_BYTES: usize = 9;
/// SETTINGS_MAX_FRAME_SIZE of both sides unless changed; we never raise ours.
pub(crate) const FRAME_BYTES_DEFAULT: usize = 16_384;
/// The largest value that SETTINGS_MAX_FRAME_SIZE may have.
pub(crate) const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;
/// The flow-control window of a connection, and of a stream unless changed.
pub(crate) const WINDOW_DEFAULT: i64 = 65_535;
/// No window may grow beyond this.
pub(crate) const WINDOW_MAX: i64 = (1 << 31) - 1;
/// What a client says first.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const PRIORITY: u8 = 0x2;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PUSH_PROMISE: u8 = 0x5;
    pub(crate) const PING: u8 = 0x6;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const WINDOW_UPDATE: u8 = 0x8;
    pub(crate) const CONTINUATION: u8 = 0x9;
}

pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(crate) const ENABLE_PUSH: u16 = 0x2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
}

/// The nine bytes before each payload, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    #[inline]
    pub(crate) fn parse(bytes: &[u8; HEAD_BYTES]) -> Head {
        let first = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
        Head {
            length: (first >> 8) as usize,
            kind: first as u8,
            flags: bytes[4],
            stream: stream & 0x7fff_ffff,
        }
    }

    #[inline]
    pub(crate) fn bytes(self) -> [u8; HEAD_BYTES] {
        let first = ((self.length as u32) << 8 | u32::from(self.kind)).to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [first[0], first[1], first[2], first[3], self.flags, stream[0], stream[1], stream[2], stream[3]]
    }

    #[inline]
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

pub(crate) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&Head { length: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

pub(crate) fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let head = Head { length: settings.len() * 6, kind: kind::SETTINGS, flags: 0, stream: 0 };
    out.extend_from_slice(&head.bytes());
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put(out, kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

pub(crate) fn put_reset(out: &mut Vec<u8>, stream: u32, code: u32) {
    put(out, kind::RST_STREAM, 0, stream, &code.to_be_bytes());
}

pub(crate) fn put_goaway(out: &mut Vec<u8>, code: u32) {
    // The last stream of the peer's that we saw: it may open none, so always 0.
    let mut payload = [0; 8];
    payload[4..].copy_from_slice(&code.to_be_bytes());
    put(out, kind::GOAWAY, 0, 0, &payload);
}

/// The first four bytes of a payload as a number in network order; the caller has checked the length.
pub(crate) fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_writing_and_reading() {
        let head = Head { length: 0x01_02_03, kind: kind::GOAWAY, flags: 0x25, stream: 0x7fff_fffe };
        assert_eq!(Head::parse(&head.bytes()), head);
    }

    #[test]
    fn the_reserved_bit_of_a_stream_is_ignored() {
        let bytes = [0, 0, 0, 0, 0, 0x80, 0, 0, 3];
        assert_eq!(Head::parse(&bytes).stream, 3);
    }
}
