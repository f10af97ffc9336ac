//! The other side of a connection, played by the test over a blocking stream: it reads frames and sends what it likes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) struct Listener(TcpListener);

impl Listener {
    pub(crate) fn new() -> Listener {
        Listener(TcpListener::bind(("127.0.0.1", 0)).unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn accept_tcp(&self) -> TcpStream {
        self.0.accept().unwrap().0
    }

    /// Accepts a plain connection, reads its preface and sends these SETTINGS.
    pub(crate) fn accept(&self, settings: &[(u16, u32)]) -> Peer<TcpStream> {
        Peer::begin(self.accept_tcp(), settings)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Peer<S> {
    pub(crate) stream: S,
}

impl<S: Read + Write> Peer<S> {
    pub(crate) fn begin(mut stream: S, settings: &[(u16, u32)]) -> Peer<S> {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(preface, PREFACE);
        let mut peer = Peer { stream };
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        peer.send(SETTINGS, 0, 0, &payload);
        peer.send(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
        peer.send(SETTINGS, 1, 0, &[]);
        peer
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).unwrap();
    }

    /// A plain `:status 200`.
    pub(crate) fn answer(&mut self, stream: u32) {
        self.send(HEADERS, 5, stream, &[0x88]);
    }

    /// The next frame; `None` when the client has ended.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Skips frames until one of this kind.
    pub(crate) fn await_frame(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().expect("the client goes on");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads until a request is complete; its stream.
    pub(crate) fn request(&mut self) -> u32 {
        self.try_request().expect("the client goes on")
    }

    pub(crate) fn try_request(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame()?;
            if frame.kind <= HEADERS && frame.flags & 1 != 0 {
                return Some(frame.stream);
            }
        }
    }
}
