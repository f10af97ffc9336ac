//! A bare frame sink: it reads frames, ignores what they say, and answers `:status 200` to each END_STREAM after a while.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::ServerConnection;

use crate::clock;

/// How the sink behaves.
#[derive(Clone)]
pub(crate) struct SinkConfig {
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) streams_max: u32,
    pub(crate) latency: Duration,
    /// Payload of the DATA frame of each answer; none when empty.
    pub(crate) body: Vec<u8>,
    /// Header block of each answer.
    pub(crate) block: Vec<u8>,
}

const LISTENER: Token = Token(usize::MAX);
const HEAD: usize = 9;
const PREFACE: usize = 24;

/// Serves until the process ends; tells its address first.
pub(crate) fn serve(config: &SinkConfig, tell: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    tell(listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(4096);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let timeout = if peers.iter().flatten().any(|p| !p.due.is_empty()) {
            Some(Duration::from_millis(1))
        } else {
            None
        };
        poll.poll(&mut events, timeout)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut peers, config)?;
                continue;
            }
            let index = event.token().0;
            let alive = peers[index].as_mut().is_some_and(|peer| peer.read(&mut buffer, config).is_ok());
            if !alive {
                peers[index] = None;
            }
        }
        let now = clock();
        for peer in &mut peers {
            if peer.as_mut().is_some_and(|peer| peer.answer(now, config).is_err()) {
                *peer = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    peers: &mut Vec<Option<Peer>>,
    config: &SinkConfig,
) -> io::Result<()> {
    while let Ok((mut socket, _)) = listener.accept() {
        socket.set_nodelay(true)?;
        let token = Token(peers.len());
        poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        peers.push(Some(Peer::new(socket, config)));
    }
    Ok(())
}

struct Peer {
    socket: TcpStream,
    tls: Option<ServerConnection>,
    partial: Vec<u8>,
    has_preface: bool,
    unreturned: u32,
    /// When to answer which stream.
    due: VecDeque<(u64, u32)>,
    out: Vec<u8>,
}

impl Peer {
    fn new(socket: TcpStream, config: &SinkConfig) -> Peer {
        let tls = config.tls.as_ref().map(|tls| {
            let mut tls = ServerConnection::new(tls.clone()).expect("a usable configuration");
            tls.set_buffer_limit(None);
            tls
        });
        let mut out = frame(4, 0, 0, &settings(config.streams_max));
        out.extend_from_slice(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes()));
        Peer {
            socket,
            tls,
            partial: Vec::new(),
            has_preface: false,
            unreturned: 0,
            due: VecDeque::new(),
            out,
        }
    }

    fn read(&mut self, buffer: &mut [u8], config: &SinkConfig) -> io::Result<()> {
        let due = clock() + config.latency.as_nanos() as u64;
        loop {
            let n = match self.read_plain(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.flush(),
                Err(error) => return Err(error),
            };
            let mut partial = std::mem::take(&mut self.partial);
            if partial.is_empty() {
                let used = self.frames(&buffer[..n], due);
                partial.extend_from_slice(&buffer[used..n]);
            } else {
                partial.extend_from_slice(&buffer[..n]);
                let used = self.frames(&partial, due);
                partial.drain(..used);
            }
            self.partial = partial;
        }
    }

    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
        }
    }

    fn frames(&mut self, bytes: &[u8], due: u64) -> usize {
        let mut at = 0;
        if !self.has_preface {
            if bytes.len() < PREFACE {
                return 0;
            }
            (self.has_preface, at) = (true, PREFACE);
        }
        while bytes.len() - at >= HEAD {
            let head = &bytes[at..at + HEAD];
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if bytes.len() - at < HEAD + length {
                break;
            }
            at += HEAD + length;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match head[3] {
                0 => self.unreturned += length as u32,
                4 if head[4] == 0 => self.out.extend_from_slice(&frame(4, 1, 0, &[])),
                _ => {}
            }
            if head[3] <= 1 && head[4] & 1 != 0 {
                self.due.push_back((due, stream));
            }
        }
        if self.unreturned > 1 << 28 {
            let bytes = std::mem::take(&mut self.unreturned);
            self.out.extend_from_slice(&frame(8, 0, 0, &bytes.to_be_bytes()));
        }
        at
    }

    fn answer(&mut self, now: u64, config: &SinkConfig) -> io::Result<()> {
        while let Some(&(due, stream)) = self.due.front()
            && due <= now
        {
            self.due.pop_front();
            let flags = if config.body.is_empty() { 5 } else { 4 };
            put(&mut self.out, 1, flags, stream, &config.block);
            if !config.body.is_empty() {
                put(&mut self.out, 0, 1, stream, &config.body);
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() && !self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            return Ok(());
        }
        let result = match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(&self.out)?;
                self.out.clear();
                let mut result = Ok(0);
                while result.is_ok() && tls.wants_write() && !tls.is_handshaking() {
                    result = tls.write_tls(&mut self.socket);
                }
                result
            }
            None => self.socket.write(&self.out).inspect(|&n| {
                self.out.drain(..n);
            }),
        };
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

fn settings(streams_max: u32) -> Vec<u8> {
    let mut out = vec![0, 3];
    out.extend_from_slice(&streams_max.to_be_bytes());
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, kind, flags, stream, payload);
    out
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
