//! A client that writes frames as it is told, right or wrong.

use std::sync::Arc;

use provider_sim::Simulator;
use rustls::pki_types::ServerName;
use rustls::version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::tls;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// A frame that arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Raw(TlsStream<TcpStream>);

impl Raw {
    /// Connects and agrees on settings.
    pub(crate) async fn connect(simulator: &Simulator) -> Self {
        let socket = TcpStream::connect(simulator.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = Arc::new(tls(simulator.ca_pem(), &[&version::TLS13]));
        let mut raw = Self(TlsConnector::from(tls).connect(name, socket).await.unwrap());
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        raw.write(SETTINGS, 0, 0, &[]).await;
        let settings = raw.until(|frame| frame.kind == SETTINGS && frame.flags == 0).await;
        assert!(settings.payload.chunks(6).any(|setting| setting[..2] == [0, 3]), "no stream limit");
        raw.write(SETTINGS, 1, 0, &[]).await;
        raw
    }

    pub(crate) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await.unwrap();
    }

    /// Sends a request with these fields, none of them indexed, and this body.
    pub(crate) async fn ask(&mut self, stream: u32, fields: &[(&str, &str)], body: &[u8]) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            literal(name, &mut block);
            literal(value, &mut block);
        }
        self.write(HEADERS, 4, stream, &block).await;
        self.write(DATA, 1, stream, body).await;
    }

    /// The next frame; `None` when the connection has ended.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Whatever arrives until the end, and how it ends.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let mut all = Vec::new();
        let end = self.0.read_to_end(&mut all).await;
        (all, end.map(drop))
    }

    /// So many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count];
        self.0.read_exact(&mut all).await.unwrap();
        all
    }

    /// The next frame that is wanted.
    pub(crate) async fn until(&mut self, is_wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.read().await.expect("the connection ended first");
            if is_wanted(&frame) {
                return frame;
            }
        }
    }

    /// Last stream, code and debug data of the next GOAWAY.
    pub(crate) async fn goaway(&mut self) -> (u32, u32, String) {
        let payload = self.until(|frame| frame.kind == GOAWAY).await.payload;
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        (number(0), number(4), String::from_utf8(payload[8..].to_vec()).unwrap())
    }

    /// The code by which the server ends this stream, or the connection.
    pub(crate) async fn refusal(&mut self) -> u32 {
        let frame = self.until(|frame| matches!(frame.kind, RST_STREAM | GOAWAY)).await;
        let at = if frame.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
    }
}

/// A text without Huffman's code (RFC 7541, 5.2).
fn literal(text: &str, block: &mut Vec<u8>) {
    let Some(mut rest) = text.len().checked_sub(127) else {
        block.push(text.len() as u8);
        return block.extend_from_slice(text.as_bytes());
    };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
    block.extend_from_slice(text.as_bytes());
}
