//! The threads of a simulator. Each owns its connections and everything that concerns them; the first also accepts
//! and hands connections round. One turn of the loop reads what arrived, writes what is due, and flushes.

mod accept;
mod client;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use rustls::ServerConfig;

use crate::clock::Clock;
use crate::desk::Desk;
use crate::error::Error;
use crate::ledger::{Counts, Ledger};
use crate::tls::Authority;
use crate::validating::Wake;
pub(crate) use accept::{Acceptor, listen};
use client::{Client, Next, Scratch};

const LISTENER: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX);
/// How often connections are looked after, if time can change anything for them.
const HOUSEKEEPING_US: u64 = 5_000;
/// How long a client may take to close a connection that we have ended.
const LINGER_US: u64 = 2_000_000;

/// What a thread can be asked.
pub(crate) enum Ask {
    /// Serve this connection.
    Adopt(TcpStream),
    /// Counters and the thread's CPU time.
    Counts(Sender<(Counts, Duration)>),
    /// A copy of the whole account, and the thread's CPU time.
    Extract(Sender<(Ledger, Duration)>),
    /// Start a new account.
    Reset(Sender<()>),
    /// Close every connection and end.
    Stop,
}

/// How to reach a thread.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    asks: Sender<Ask>,
    bell: Bell,
}

/// What wakes a thread up.
#[derive(Clone, Debug)]
pub(crate) enum Bell {
    /// One of the fast mode.
    Poll(Arc<Waker>),
    /// One of the validating mode.
    Task(Wake),
}

impl Mailbox {
    pub(crate) fn new(asks: Sender<Ask>, bell: Bell) -> Self {
        Self { asks, bell }
    }

    /// Leaves a question; the thread wakes up for it.
    pub(crate) fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.asks.send(ask).map_err(|_| Error::Gone)?;
        match &self.bell {
            Bell::Poll(waker) => waker.wake().map_err(Error::io("wake a thread of the simulator")),
            Bell::Task(wake) => {
                wake.notify_one();
                Ok(())
            }
        }
    }
}

/// The server's side of TLS, as usual and in a storm.
pub(crate) struct Certificates {
    usual: Arc<ServerConfig>,
    in_storm: Arc<ServerConfig>,
}

impl Certificates {
    pub(crate) fn of(authority: &Authority) -> Self {
        Self { usual: Arc::clone(&authority.server), in_storm: Arc::clone(&authority.in_storm) }
    }
}

/// One serving thread.
pub(crate) struct Driver {
    poll: Poll,
    asks: Receiver<Ask>,
    clock: Clock,
    desk: Desk,
    tls: Certificates,
    clients: Vec<Option<Client>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    /// Clients with something to write.
    dirty: Vec<u32>,
    /// Clients that are to close, each with its generation and the time that it is given.
    lingering: VecDeque<(u64, u32, u32)>,
    scratch: Scratch,
    /// Connections of all threads, for the limit.
    open: Arc<AtomicUsize>,
    acceptor: Option<Acceptor>,
    kept_house_us: u64,
    needs_housekeeping: bool,
}

impl Driver {
    /// A thread's state, and the mailbox to reach it. `open` counts the connections of all threads.
    pub(crate) fn new(
        desk: Desk,
        clock: Clock,
        tls: Certificates,
        open: Arc<AtomicUsize>,
    ) -> Result<(Self, Mailbox), Error> {
        let poll = Poll::new().map_err(Error::io("create an epoll instance"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(Error::io("create a waker"))?;
        let (sender, asks) = std::sync::mpsc::channel();
        let needs_housekeeping = !desk.config.limits.stream_changes.is_empty()
            || desk.config.faults.goaway.after.is_some()
            || desk.config.faults.storm.connection.is_some();
        let driver = Self {
            poll,
            asks,
            clock,
            desk,
            tls,
            clients: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            lingering: VecDeque::new(),
            scratch: Scratch::new(),
            open,
            acceptor: None,
            kept_house_us: 0,
            needs_housekeeping,
        };
        Ok((driver, Mailbox::new(sender, Bell::Poll(Arc::new(waker)))))
    }

    /// Makes this the accepting thread.
    pub(crate) fn accept_from(&mut self, mut acceptor: Acceptor) -> Result<SocketAddr, Error> {
        acceptor.watch(self.poll.registry())?;
        let address = acceptor.address;
        self.acceptor = Some(acceptor);
        Ok(address)
    }

    /// Serves until [`Ask::Stop`].
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(4_096);
        // Whoever connected before may not be let in by a storm that rages from the beginning.
        self.mind_the_door();
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::io("wait for events")(error));
                }
                _ => {}
            }
            self.desk.time.now_us = self.clock.now_us();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(place) => self.serve(place as u32, event),
                }
            }
            if !self.answer_asks() {
                self.close_all();
                return Ok(());
            }
            self.mind_the_door();
            self.adopt_delayed();
            self.answer_due();
            self.keep_house();
            self.flush();
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        let now_us = self.clock.now_us();
        let house = (self.needs_housekeeping && self.clients.len() > self.free.len())
            .then_some(self.kept_house_us + HOUSEKEEPING_US);
        let door = self.acceptor.as_ref().and_then(|acceptor| acceptor.next_us(&self.desk.judge.weather));
        let lingering = self.lingering.front().map(|(until_us, ..)| *until_us);
        let due = [self.desk.due.next_due_us(), house, door, lingering].into_iter().flatten().min()?;
        Some(Duration::from_micros(due.saturating_sub(now_us)))
    }

    fn adopt(&mut self, socket: TcpStream) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.generations.push(0);
            (self.clients.len() - 1) as u32
        });
        let id = (place, self.generations[place as usize]);
        let is_storm = self.desk.judge.weather.is_on(self.desk.time.now_us);
        let tls = if is_storm { &self.tls.in_storm } else { &self.tls.usual };
        match Client::new(socket, id, tls, &self.desk, self.poll.registry()) {
            Ok(client) => {
                self.clients[place as usize] = Some(client);
                let counts = &mut self.desk.ledger.counts;
                counts.connections_opened += 1;
                counts.connections_peak =
                    counts.connections_peak.max(counts.connections_opened - counts.connections_closed);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot serve a connection");
                self.free.push(place);
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn serve(&mut self, place: u32, event: &Event) {
        let Some(Some(client)) = self.clients.get_mut(place as usize) else { return };
        if event.is_read_closed() || event.is_error() {
            client.hung_up();
        }
        if event.is_readable() {
            client.read(&mut self.scratch, &mut self.desk, &self.clock);
        }
        if event.is_writable() || client.wants_flush() {
            mark(client, place, &mut self.dirty);
        }
    }

    fn answer_due(&mut self) {
        let now_us = self.desk.time.now_us;
        while let Some(slot) = self.desk.due.take_due(now_us) {
            for due in &slot {
                let place = due.connection as usize;
                if self.generations[place] != due.generation {
                    continue;
                }
                let Some(client) = &mut self.clients[place] else { continue };
                client.answer(due, &mut self.desk);
                mark(client, due.connection, &mut self.dirty);
            }
            self.desk.due.recycle(slot);
        }
    }

    fn keep_house(&mut self) {
        let now_us = self.desk.time.now_us;
        if !self.needs_housekeeping || now_us < self.kept_house_us + HOUSEKEEPING_US {
            return;
        }
        self.kept_house_us = now_us;
        for (place, client) in self.clients.iter_mut().enumerate() {
            let Some(client) = client else { continue };
            client.keep_house(&mut self.desk);
            if client.wants_flush() {
                mark(client, place as u32, &mut self.dirty);
            }
        }
    }

    fn flush(&mut self) {
        while let Some(place) = self.dirty.pop() {
            let Some(client) = &mut self.clients[place as usize] else { continue };
            client.is_dirty = false;
            match client.flush(&mut self.scratch, &mut self.desk) {
                Next::Stay => {}
                Next::Close => self.close(place),
                Next::Linger => {
                    let until_us = self.desk.time.now_us + LINGER_US;
                    self.lingering.push_back((until_us, place, self.generations[place as usize]));
                }
            }
        }
        while let Some((until_us, place, generation)) = self.lingering.front().copied()
            && until_us <= self.desk.time.now_us
        {
            self.lingering.pop_front();
            if self.generations[place as usize] == generation {
                self.close(place);
            }
        }
    }

    fn close(&mut self, place: u32) {
        if let Some(mut client) = self.clients[place as usize].take() {
            client.deregister(self.poll.registry());
            self.generations[place as usize] += 1;
            self.free.push(place);
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.desk.ledger.counts.connections_closed += 1;
        }
    }

    fn close_all(&mut self) {
        for place in 0..self.clients.len() as u32 {
            self.close(place);
        }
    }

    /// Does what it was asked; false when it was asked to stop.
    fn answer_asks(&mut self) -> bool {
        while let Ok(ask) = self.asks.try_recv() {
            // Whoever asked may have gone; then nobody misses the answer.
            match ask {
                Ask::Adopt(socket) => self.adopt(socket),
                Ask::Counts(reply) => {
                    drop(reply.send((self.desk.ledger.counts.clone(), self.clock.thread_cpu())))
                }
                Ask::Extract(reply) => {
                    drop(reply.send((self.desk.ledger.extract(), self.clock.thread_cpu())))
                }
                Ask::Reset(reply) => {
                    let expected = self.desk.config.requests_expected.div_ceil(self.desk.config.threads);
                    self.desk.ledger.reset(expected);
                    let _ = reply.send(());
                }
                Ask::Stop => return false,
            }
        }
        true
    }
}

fn mark(client: &mut Client, place: u32, dirty: &mut Vec<u32>) {
    if !client.is_dirty {
        client.is_dirty = true;
        dirty.push(place);
    }
}

/// Watches `socket` for both directions; edge-triggered, so both cost nothing until something changes.
fn watch(registry: &Registry, socket: &mut TcpStream, place: u32) -> io::Result<()> {
    registry.register(socket, Token(place as usize), Interest::READABLE | Interest::WRITABLE)
}
