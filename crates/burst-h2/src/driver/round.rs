//! The rounds of a driver: tick, poll, a turn for each connection that has something to do, deadlines.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::control::{Command, Control};
use super::endpoint::{ConnectionEvent, ConnectionRef, Endpoint, Limits, Sink};
use super::table::Table;
use super::transport::{Buffers, Transport};
use super::{Clock, DriverConfig, Traffic, Wake};
use crate::{Cause, ConnectionError, Nanos};

pub(super) const WAKER: Token = Token(usize::MAX);

pub(super) struct Rounds<'c, C, T> {
    pub(super) config: DriverConfig,
    pub(super) limits: Limits,
    poll: Poll,
    pub(super) clock: &'c C,
    pub(super) table: Table<T>,
    pub(super) buffers: Buffers,
    /// The buffer that connections fill in turn, so that it stays in the cache.
    pub(super) output: Vec<u8>,
    /// Connections with something to do in the next round.
    queue: VecDeque<u32>,
    commands: Vec<Command<'static, T>>,
    /// Nothing is overdue before this moment.
    pub(super) deadline_bound: Nanos,
    /// Bytes and reads of the round, which tell whether answers come in small pieces.
    pub(super) received_bytes: usize,
    pub(super) received_reads: usize,
}

impl<'c, C: Clock, T: Transport> Rounds<'c, C, T> {
    pub(super) fn new(config: DriverConfig, poll: Poll, clock: &'c C) -> Self {
        let nanos = |duration: Duration| Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX);
        Rounds {
            limits: Limits {
                ready_within: nanos(config.ready_within),
                settings_ack_within: nanos(config.settings_ack_within),
                pong_within: nanos(config.pong_within),
                round_at_most: nanos(config.round_at_most),
            },
            poll,
            clock,
            table: Table::new(),
            buffers: Buffers::new(config.write_bytes),
            output: Vec::with_capacity(config.write_bytes + 8 * 1024),
            queue: VecDeque::new(),
            commands: Vec::new(),
            deadline_bound: Nanos::MAX,
            received_bytes: 0,
            received_reads: 0,
            config,
        }
    }

    pub(super) fn run(mut self, traffic: &mut impl Traffic<Transport = T>) -> io::Result<()> {
        let mut events = Events::with_capacity(self.config.events_max);
        let result = loop {
            let now = self.clock.now();
            let wake =
                traffic.tick(&mut Control { table: &mut self.table, commands: &mut self.commands }, now);
            self.obey(traffic, now);
            if wake == Wake::Stop {
                break Ok(());
            }
            let timeout = self.timeout(wake, self.clock.now());
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break Err(error),
                _ => {}
            }
            self.note(&events);
            self.turns(traffic, self.clock.now());
            self.expire(traffic);
            self.pace(now);
        };
        self.close_all(traffic);
        result
    }

    fn timeout(&self, wake: Wake, now: Nanos) -> Option<Duration> {
        let at = match wake {
            Wake::Now | Wake::Stop => now,
            Wake::At(at) => at.min(self.deadline_bound),
            Wake::Whenever => self.deadline_bound,
        };
        if !self.queue.is_empty() {
            return Some(Duration::ZERO);
        }
        (at != Nanos::MAX).then(|| Duration::from_nanos(at.saturating_sub(now)))
    }

    fn note(&mut self, events: &Events) {
        for event in events {
            if event.token() == WAKER {
                continue;
            }
            let index = event.token().0 as u32;
            let Some(endpoint) = self.table.get(index) else { continue };
            endpoint.is_readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            endpoint.is_writable |= event.is_writable() || event.is_error();
            endpoint.is_read_closed |= event.is_read_closed() || event.is_error();
            self.enqueue(index);
        }
    }

    pub(super) fn enqueue(&mut self, index: u32) {
        if let Some(endpoint) = self.table.get(index)
            && !endpoint.is_queued
        {
            endpoint.is_queued = true;
            self.queue.push_back(index);
        }
    }

    /// A turn for each connection in the queue; with very many of them the rest wait for the next round, so that the
    /// traffic is asked often.
    fn turns(&mut self, traffic: &mut impl Traffic<Transport = T>, began: Nanos) {
        (self.received_bytes, self.received_reads) = (0, 0);
        for _ in 0..self.queue.len() {
            let Some(index) = self.queue.pop_front() else { break };
            let now = self.clock.now();
            self.turn(index, traffic, now);
            if now.saturating_sub(began) > self.limits.round_at_most {
                break;
            }
        }
    }

    /// Lets small answers gather before the next round. Only when it says so in the configuration.
    fn pace(&self, began: Nanos) {
        const SMALL_BYTES: usize = 4 * 1024;
        let at_least = self.config.round_at_least;
        let is_thin = self.received_bytes < self.received_reads * SMALL_BYTES;
        if at_least.is_zero() || !is_thin || !self.queue.is_empty() {
            return;
        }
        let spent = Duration::from_nanos(self.clock.now().saturating_sub(began));
        if let Some(rest) = at_least.checked_sub(spent) {
            pause(rest);
        }
    }

    fn obey(&mut self, traffic: &mut impl Traffic<Transport = T>, now: Nanos) {
        for command in std::mem::take(&mut self.commands) {
            match command {
                Command::Open(id, spec) => self.open(id, spec, traffic, now),
                Command::Close(id) => {
                    if self.table.named(id).is_some() {
                        self.close(id.index, ConnectionError::Local, Cause::Local, traffic);
                    }
                }
                Command::Drain(id) => {
                    if let Some(endpoint) = self.table.named(id) {
                        endpoint.connection.drain(&mut Sink { traffic, id, now });
                        self.enqueue(id.index);
                    }
                }
                Command::Ping(id) => {
                    if let Some(endpoint) = self.table.named(id) {
                        endpoint.connection.ping(now);
                        self.enqueue(id.index);
                    }
                }
                Command::Ask(id) => {
                    if self.table.named(id).is_some() {
                        self.enqueue(id.index);
                    }
                }
                Command::AskAll => self.table.indices().for_each(|index| self.enqueue(index)),
                Command::Revoke(mut matches) => self.revoke(&mut *matches, traffic, now),
            }
        }
    }

    fn open(
        &mut self,
        id: ConnectionRef,
        spec: super::OpenSpec<T>,
        traffic: &mut impl Traffic<Transport = T>,
        now: Nanos,
    ) {
        let mut endpoint = Endpoint::new(id, spec.transport, &spec.config, now);
        if let Err(error) = endpoint.transport.register(self.poll.registry(), Token(id.index as usize)) {
            self.table.remove(id);
            traffic.event(id, ConnectionEvent::Closed { error: ConnectionError::Io(error) });
            return;
        }
        self.deadline_bound = self.deadline_bound.min(endpoint.next_deadline(&self.limits));
        self.table.put(endpoint);
    }

    fn revoke(
        &mut self,
        matches: &mut dyn FnMut(ConnectionRef, u64) -> bool,
        traffic: &mut impl Traffic<Transport = T>,
        now: Nanos,
    ) {
        for index in self.table.indices() {
            let Some(endpoint) = self.table.get(index) else { continue };
            let id = endpoint.id;
            endpoint.connection.revoke(|tag| matches(id, tag), &mut Sink { traffic, id, now });
            if endpoint.connection.has_unwritten(|tag| matches(id, tag)) {
                endpoint.is_frozen = true;
                endpoint.connection.drain(&mut Sink { traffic, id, now });
            }
            self.enqueue(index);
        }
    }

    /// Ends requests and connections whose time is over. Looks at all of them, but only when something may be overdue.
    fn expire(&mut self, traffic: &mut impl Traffic<Transport = T>) {
        let now = self.clock.now();
        if now < self.deadline_bound {
            return;
        }
        self.deadline_bound = Nanos::MAX;
        for index in self.table.indices() {
            let Some(endpoint) = self.table.get(index) else { continue };
            if let Some(what) = endpoint.overdue(&self.limits, now) {
                self.close(index, ConnectionError::Deadline(what), Cause::Timeout, traffic);
                continue;
            }
            let id = endpoint.id;
            if endpoint.connection.next_deadline().is_some_and(|at| at <= now) {
                if let Err(error) = endpoint.connection.expire(now, &mut Sink { traffic, id, now }) {
                    let cause = error.cause();
                    self.close(index, error, cause, traffic);
                    continue;
                }
                self.enqueue(index);
            }
            let Some(endpoint) = self.table.get(index) else { continue };
            self.deadline_bound = self.deadline_bound.min(endpoint.next_deadline(&self.limits));
        }
    }

    /// Sends what can be sent without waiting, ends all requests and forgets the connection.
    pub(super) fn close(
        &mut self,
        index: u32,
        error: ConnectionError,
        cause: Cause,
        traffic: &mut impl Traffic<Transport = T>,
    ) {
        let now = self.clock.now();
        let id = self.table.get(index).map(|endpoint| endpoint.id);
        if let Some(mut endpoint) = id.and_then(|id| self.table.remove(id)) {
            endpoint.say_goodbye(&error, &mut self.buffers);
            endpoint.close(error, cause, traffic, now);
        }
    }

    fn close_all(&mut self, traffic: &mut impl Traffic<Transport = T>) {
        for index in self.table.indices() {
            self.close(index, ConnectionError::Local, Cause::Local, traffic);
        }
    }
}

fn pause(rest: Duration) {
    let request = rustix::thread::Timespec { tv_sec: 0, tv_nsec: i64::from(rest.subsec_nanos()) };
    // Woken early by a signal, the round simply begins earlier.
    let _ = rustix::thread::nanosleep(&request);
}
