//! One connection of a driver: its transport, its protocol state and where it stands.

use super::Traffic;
use crate::{
    Cause, Connection, ConnectionConfig, ConnectionError, DrainReason, End, Ends, Event, Full, Nanos,
    Request, Values,
};

/// A connection of one driver. Never equal to one that was closed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionRef {
    pub(super) index: u32,
    pub(super) generation: u32,
    /// The number that its user gave it when opening.
    pub user: u64,
}

/// What happens to a connection as a whole.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionEvent<'a> {
    /// Connected, TLS done, the peer's SETTINGS are there: requests may start. With the stream limit in force.
    Ready {
        /// Requests that may be open at once: the peer's limit or ours.
        stream_limit: u32,
    },
    /// The peer changed its stream limit.
    StreamLimit(u32),
    /// No new requests; those in flight go on, then the connection closes by itself.
    Draining {
        /// Why.
        reason: DrainReason,
        /// Debug data of the peer's GOAWAY; empty for other reasons. Do not trust its text.
        debug_data: &'a [u8],
    },
    /// A PING came back.
    Pong {
        /// Time from queueing it to its answer.
        round_trip: Nanos,
    },
    /// It is no more. All its requests have had their ends.
    Closed {
        /// Why; [`ConnectionError::Local`] when it was drained to its end or closed by [`Control`](super::Control).
        error: ConnectionError,
    },
}

/// Takes requests for one connection.
pub struct Starter<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) now: Nanos,
    /// Bytes of output at which a write is due.
    pub(super) write_bytes: usize,
    pub(super) started: u32,
}

impl Starter<'_> {
    /// Requests that may be started now. When a write is due it is 0, and `supply` is called again after the write.
    #[inline]
    pub fn capacity(&self) -> u32 {
        if self.connection.output().len() >= self.write_bytes { 0 } else { self.connection.capacity() }
    }

    /// Starts a request.
    ///
    /// # Errors
    /// [`Full`]: nothing was started; wait for the next call of `supply`.
    ///
    /// # Panics
    /// When the number of values is not the template's.
    #[inline]
    pub fn start<V: Values + ?Sized>(&mut self, request: &Request<'_, V>) -> Result<(), Full> {
        if self.connection.output().len() >= self.write_bytes {
            return Err(Full);
        }
        self.connection.start(request, self.now)?;
        self.started += 1;
        Ok(())
    }

    /// Requests of this connection that have not ended.
    pub fn open(&self) -> u32 {
        self.connection.open()
    }

    /// The stream limit in force.
    pub fn stream_limit(&self) -> u32 {
        self.connection.stream_limit()
    }
}

pub(super) struct Endpoint<T> {
    pub(super) id: ConnectionRef,
    pub(super) transport: T,
    pub(super) connection: Connection,
    pub(super) opened: Nanos,
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// The peer ended its side: read until the end.
    pub(super) is_read_closed: bool,
    /// Stands in the list of this or the next round.
    pub(super) is_queued: bool,
    /// Never writes again: encrypted bytes that wait are of requests that were taken back.
    pub(super) is_frozen: bool,
}

impl<T> Endpoint<T> {
    pub(super) fn new(id: ConnectionRef, transport: T, config: &ConnectionConfig, now: Nanos) -> Self {
        Endpoint {
            id,
            transport,
            connection: Connection::new(config, now),
            opened: now,
            is_readable: true,
            is_writable: true,
            is_read_closed: false,
            is_queued: false,
            is_frozen: false,
        }
    }

    /// The next moment at which something of it may be overdue.
    pub(super) fn next_deadline(&self, limits: &Limits) -> Nanos {
        let ready = (!self.connection.is_ready()).then(|| self.opened.saturating_add(limits.ready_within));
        let ack = self.connection.settings_unacknowledged();
        let ack = ack.map(|since| since.saturating_add(limits.settings_ack_within));
        let pong = self.connection.ping_unanswered().map(|since| since.saturating_add(limits.pong_within));
        let request = self.connection.next_deadline();
        [ready, ack, pong, request].into_iter().flatten().min().unwrap_or(Nanos::MAX)
    }

    /// What of the connection itself is overdue.
    pub(super) fn overdue(&self, limits: &Limits, now: Nanos) -> Option<&'static str> {
        let is_over = |since: Nanos, within: Nanos| since.saturating_add(within) <= now;
        if !self.connection.is_ready() && is_over(self.opened, limits.ready_within) {
            return Some("connection with settings");
        }
        let ack = self.connection.settings_unacknowledged();
        if ack.is_some_and(|since| is_over(since, limits.settings_ack_within)) {
            return Some("acknowledgement of settings");
        }
        let ping = self.connection.ping_unanswered();
        ping.is_some_and(|since| is_over(since, limits.pong_within)).then_some("answer to a ping")
    }

    /// Ends all requests and tells why.
    pub(super) fn close(self, error: ConnectionError, cause: Cause, traffic: &mut impl Traffic, now: Nanos) {
        let id = self.id;
        self.connection.close(cause, &mut Sink { traffic, id, now });
        traffic.event(id, ConnectionEvent::Closed { error });
    }
}

/// The limits of [`DriverConfig`](super::DriverConfig) in nanoseconds.
pub(super) struct Limits {
    pub(super) ready_within: Nanos,
    pub(super) settings_ack_within: Nanos,
    pub(super) pong_within: Nanos,
    pub(super) round_at_most: Nanos,
}

/// Hands what a connection says to the traffic.
pub(super) struct Sink<'a, T> {
    pub(super) traffic: &'a mut T,
    pub(super) id: ConnectionRef,
    pub(super) now: Nanos,
}

impl<T: Traffic> Ends for Sink<'_, T> {
    #[inline]
    fn end(&mut self, end: End<'_>) {
        self.traffic.end(self.id, end, self.now);
    }

    fn event(&mut self, event: Event<'_>) {
        let event = match event {
            Event::Settings(stream_limit) => ConnectionEvent::Ready { stream_limit },
            Event::StreamLimit(limit) => ConnectionEvent::StreamLimit(limit),
            Event::Draining { reason, debug_data } => ConnectionEvent::Draining { reason, debug_data },
            Event::Pong { round_trip } => ConnectionEvent::Pong { round_trip },
        };
        self.traffic.event(self.id, event);
    }
}
