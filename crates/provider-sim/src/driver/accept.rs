//! The accepting part of the first thread: it takes connections, lets them wait, and deals them to the threads in turn. In
//! a storm that refuses connections nobody listens at all.

use std::collections::VecDeque;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::atomic::Ordering;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};

use super::{Ask, Driver, LISTENER, Mailbox};
use crate::error::Error;
use crate::weather::Weather;

/// How many connections may wait to be accepted: a full burst's worth.
const BACKLOG: i32 = 4_096;
/// How long to wait after a connection could not be accepted.
const RETRY_US: u64 = 20_000;

/// The accepting part of the first thread.
pub(crate) struct Acceptor {
    /// `None` as long as connections are refused.
    listener: Option<TcpListener>,
    pub(super) address: SocketAddr,
    /// The other threads; connections are dealt to them and to this one in turn.
    others: Vec<Mailbox>,
    next: usize,
    /// When to try again after a failure.
    retry_us: Option<u64>,
    /// Accepted, and waiting for their delay to pass.
    delayed: VecDeque<(u64, TcpStream)>,
}

impl Acceptor {
    pub(crate) fn new(listener: net::TcpListener, others: Vec<Mailbox>) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(Error::io("read the listening address"))?;
        let delayed = VecDeque::new();
        Ok(Self {
            listener: Some(TcpListener::from_std(listener)),
            address,
            others,
            next: 0,
            retry_us: None,
            delayed,
        })
    }

    pub(super) fn watch(&mut self, registry: &Registry) -> Result<(), Error> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        registry.register(listener, LISTENER, Interest::READABLE).map_err(Error::io("watch the listener"))
    }

    /// When it has something to do by itself.
    pub(super) fn next_us(&self, weather: &Weather) -> Option<u64> {
        let delayed = self.delayed.front().map(|(due_us, _)| *due_us);
        let reopened = if self.listener.is_none() { weather.ends_us() } else { None };
        [delayed, self.retry_us, reopened].into_iter().flatten().min()
    }
}

/// Listens at an address; a port that was listened at before is taken at once.
pub(crate) fn listen(address: SocketAddr) -> Result<net::TcpListener, Error> {
    use socket2::{Domain, Protocol, Socket, Type};
    let doing = || Error::io(format!("listen on {address}"));
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(doing())?;
    socket.set_reuse_address(true).map_err(doing())?;
    socket.set_nonblocking(true).map_err(doing())?;
    socket.bind(&address.into()).map_err(doing())?;
    socket.listen(BACKLOG).map_err(doing())?;
    Ok(socket.into())
}

impl Driver {
    /// Stops listening when a storm refuses connections, and begins again when it is over.
    pub(super) fn mind_the_door(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        let refuses = self.desk.judge.weather.refuses(self.desk.time.now_us);
        if refuses {
            // Closing it resets whoever waited to be accepted, too.
            acceptor.listener = None;
        } else if acceptor.listener.is_none() {
            let opened = listen(acceptor.address).and_then(|listener| {
                acceptor.listener = Some(TcpListener::from_std(listener));
                acceptor.watch(self.poll.registry())
            });
            if let Err(error) = opened {
                tracing::warn!(%error, "cannot listen again");
                acceptor.listener = None;
            }
        }
    }

    pub(super) fn accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.retry_us = None;
        let delay_us = self.desk.config.limits.accept_delay.as_micros() as u64;
        let mut accepted = Vec::new();
        loop {
            let Some(listener) = &acceptor.listener else { break };
            match listener.accept() {
                Ok((socket, _)) => accepted.push(socket),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    // Too few file descriptors, for example. The listener tells only once, so we come back.
                    tracing::warn!(%error, "cannot accept a connection");
                    acceptor.retry_us = Some(self.desk.time.now_us + RETRY_US);
                    break;
                }
            }
        }
        for socket in accepted {
            if delay_us == 0 {
                self.deal(socket);
            } else if let Some(acceptor) = &mut self.acceptor {
                acceptor.delayed.push_back((self.desk.time.now_us + delay_us, socket));
            }
        }
    }

    pub(super) fn adopt_delayed(&mut self) {
        let now_us = self.desk.time.now_us;
        let retry_us = self.acceptor.as_ref().and_then(|acceptor| acceptor.retry_us);
        if retry_us.is_some_and(|retry_us| retry_us <= now_us) {
            self.accept();
        }
        while let Some(acceptor) = &mut self.acceptor
            && acceptor.delayed.front().is_some_and(|(due_us, _)| *due_us <= now_us)
            && let Some((_, socket)) = acceptor.delayed.pop_front()
        {
            self.deal(socket);
        }
    }

    /// Gives a connection to the next thread in turn, unless there are too many.
    fn deal(&mut self, socket: TcpStream) {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if self.desk.config.limits.connections.is_some_and(|limit| open >= limit) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.desk.ledger.counts.connections_refused += 1;
            return;
        }
        let Some(acceptor) = &mut self.acceptor else { return };
        let turn = acceptor.next % (acceptor.others.len() + 1);
        acceptor.next += 1;
        match turn.checked_sub(1).and_then(|place| acceptor.others.get(place)) {
            None => self.adopt(socket),
            Some(other) => {
                if other.ask(Ask::Adopt(socket)).is_err() {
                    self.open.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }
}
