//! The accepting part of the first thread: it takes connections, lets them wait, and deals them to the threads in turn. In
//! a storm that refuses connections nobody listens at all, but the port stays taken.

use std::collections::VecDeque;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::atomic::Ordering;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Ask, Driver, LISTENER, Mailbox};
use crate::error::Error;
use crate::weather::Weather;

/// How many connections may wait to be accepted: a full burst's worth.
const BACKLOG: i32 = 4_096;
/// How long to wait after a connection could not be accepted, or the port not be listened at again.
const RETRY_US: u64 = 20_000;

/// The accepting part of the first thread.
pub(crate) struct Acceptor {
    /// `None` as long as connections are refused.
    listener: Option<TcpListener>,
    /// Bound to the same port and listening only after the storm: nobody else is given the port meanwhile.
    held: Option<Socket>,
    pub(super) address: SocketAddr,
    /// The other threads; connections are dealt to them and to this one in turn.
    others: Vec<Mailbox>,
    next: usize,
    /// When to try again after a failure to accept.
    retry_us: Option<u64>,
    /// Not to be listened again before.
    reopens_us: u64,
    /// Accepted, and waiting for their delay to pass.
    delayed: VecDeque<(u64, TcpStream)>,
}

impl Acceptor {
    /// Listens at `address`, and holds the port when a storm `refuses` connections.
    pub(crate) fn new(address: SocketAddr, refuses: bool, others: Vec<Mailbox>) -> Result<Self, Error> {
        let read = Error::io("read the listening address");
        // One that listens already would not let another one bind.
        let held = if refuses { Some(bind(address)?) } else { None };
        let bound = held.as_ref().map(Socket::local_addr).transpose();
        let address = bound.map_err(read)?.and_then(|bound| bound.as_socket()).unwrap_or(address);
        let listener = listen(address)?;
        let address = listener.local_addr().map_err(Error::io("read the listening address"))?;
        Ok(Self {
            listener: Some(TcpListener::from_std(listener)),
            held,
            address,
            others,
            next: 0,
            retry_us: None,
            reopens_us: 0,
            delayed: VecDeque::new(),
        })
    }

    pub(super) fn watch(&mut self, registry: &Registry) -> Result<(), Error> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        registry.register(listener, LISTENER, Interest::READABLE).map_err(Error::io("watch the listener"))
    }

    /// Stops listening when a storm refuses connections, and begins again when it is over.
    fn mind(&mut self, weather: &Weather, now_us: u64, registry: &Registry) {
        if weather.refuses(now_us) {
            // Closing it resets whoever waited to be accepted, too.
            self.listener = None;
        } else if self.listener.is_none()
            && now_us >= self.reopens_us
            && let Err(error) = self.reopen(registry)
        {
            tracing::warn!(%error, "cannot listen again");
            self.listener = None;
            self.reopens_us = now_us + RETRY_US;
        }
    }

    fn reopen(&mut self, registry: &Registry) -> Result<(), Error> {
        let held = match self.held.take() {
            Some(held) => held,
            None => bind(self.address)?,
        };
        if let Err(error) = held.listen(BACKLOG) {
            self.held = Some(held);
            return Err(Error::io(format!("listen on {}", self.address))(error));
        }
        self.listener = Some(TcpListener::from_std(held.into()));
        self.watch(registry)
    }

    /// When it has something to do by itself.
    pub(super) fn next_us(&self, weather: &Weather) -> Option<u64> {
        let delayed = self.delayed.front().map(|(due_us, _)| *due_us);
        let is_shut = self.listener.is_none();
        let reopened = weather.ends_us().filter(|_| is_shut).map(|ends_us| ends_us.max(self.reopens_us));
        [delayed, self.retry_us, reopened].into_iter().flatten().min()
    }
}

/// A socket of this address; a port that was listened at before is taken at once. It refuses connections until it listens.
fn bind(address: SocketAddr) -> Result<Socket, Error> {
    let doing = || Error::io(format!("listen on {address}"));
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(doing())?;
    socket.set_reuse_address(true).map_err(doing())?;
    socket.set_nonblocking(true).map_err(doing())?;
    socket.bind(&address.into()).map_err(doing())?;
    Ok(socket)
}

/// Listens at an address.
pub(crate) fn listen(address: SocketAddr) -> Result<net::TcpListener, Error> {
    let socket = bind(address)?;
    socket.listen(BACKLOG).map_err(Error::io(format!("listen on {address}")))?;
    Ok(socket.into())
}

impl Driver {
    /// See [`Acceptor::mind`].
    pub(super) fn mind_the_door(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.mind(&self.desk.judge.weather, self.desk.time.now_us, self.poll.registry());
        }
    }

    pub(super) fn accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.retry_us = None;
        let delay_us = self.desk.config.limits.accept_delay.as_micros() as u64;
        let mut accepted = Vec::new();
        while let Some(listener) = &acceptor.listener {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Storm;

    #[test]
    fn a_port_that_cannot_be_listened_at_again_is_tried_after_a_while_and_not_at_once() {
        let storm = Storm { refuses: true, lasts: Some(Duration::from_micros(1_000)), ..Storm::default() };
        let weather = Weather::new(&storm, 0);
        let poll = mio::Poll::new().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut acceptor = Acceptor::new(address, true, Vec::new()).unwrap();
        acceptor.watch(poll.registry()).unwrap();
        acceptor.mind(&weather, 999, poll.registry());
        assert_eq!(acceptor.next_us(&weather), Some(1_000));
        let stranger = listen(acceptor.address).unwrap();
        acceptor.mind(&weather, 1_000, poll.registry());
        assert_eq!(acceptor.next_us(&weather), Some(1_000 + RETRY_US));
        drop(stranger);
        acceptor.mind(&weather, 999 + RETRY_US, poll.registry());
        assert_eq!(acceptor.next_us(&weather), Some(1_000 + RETRY_US), "it is not yet time");
        acceptor.mind(&weather, 1_000 + RETRY_US, poll.registry());
        assert_eq!(acceptor.next_us(&weather), None);
        net::TcpStream::connect(acceptor.address).unwrap();
    }
}
