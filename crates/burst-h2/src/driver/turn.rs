//! One connection's turn in a round: open, read, write what waits, ask for requests, write them.

use super::endpoint::{Endpoint, Sink, Starter};
use super::round::Rounds;
use super::transport::{Buffers, Transport};
use super::{Clock, Traffic};
use crate::{Cause, ConnectionError, Nanos};

impl<C: Clock, T: Transport> Rounds<'_, C, T> {
    pub(super) fn turn(&mut self, index: u32, traffic: &mut impl Traffic<Transport = T>, now: Nanos) {
        let Some(endpoint) = self.table.get(index) else { return };
        endpoint.is_queued = false;
        if let Err((error, cause)) = self.work(index, traffic, now) {
            self.close(index, error, cause, traffic);
        }
    }

    fn work(
        &mut self,
        index: u32,
        traffic: &mut impl Traffic<Transport = T>,
        now: Nanos,
    ) -> Result<(), (ConnectionError, Cause)> {
        let with_cause = |error: ConnectionError| {
            let cause = error.cause();
            (error, cause)
        };
        let is_read_over = self.read(index, traffic, now).map_err(with_cause)?;
        let is_write_over = self.write(index, traffic, now);
        if is_write_over.is_err() {
            self.hear_out(index, traffic, now);
        }
        let is_write_over = is_write_over.map_err(with_cause)?;
        let Some(endpoint) = self.table.get(index) else { return Ok(()) };
        if endpoint.connection.is_finished() && endpoint.connection.output().is_empty() {
            return Err((ConnectionError::Local, Cause::Local));
        }
        if endpoint.is_frozen && !endpoint.connection.awaits_answers() {
            return Err((ConnectionError::Local, Cause::Revoked));
        }
        self.deadline_bound = self.deadline_bound.min(endpoint.next_deadline(&self.limits));
        if !is_read_over || !is_write_over {
            self.enqueue(index);
        }
        Ok(())
    }

    /// The peer may have closed while we wrote: its GOAWAY and its last answers still lie in the socket.
    fn hear_out(&mut self, index: u32, traffic: &mut impl Traffic<Transport = T>, now: Nanos) {
        const READS_MAX: usize = 64;
        if let Some(endpoint) = self.table.get(index) {
            endpoint.is_readable = true;
        }
        for _ in 0..READS_MAX {
            // Whatever ends the reading, the connection closes for the error of the write.
            if !matches!(self.read(index, traffic, now), Ok(false)) {
                return;
            }
        }
    }

    /// Reads what is there, within the turn's budget. Returns whether nothing is left.
    fn read(
        &mut self,
        index: u32,
        traffic: &mut impl Traffic<Transport = T>,
        now: Nanos,
    ) -> Result<bool, ConnectionError> {
        let Some(endpoint) = self.table.get(index) else { return Ok(true) };
        if !endpoint.is_readable {
            return Ok(true);
        }
        for _ in 0..self.config.read_turn_max {
            let Endpoint { transport, connection, id, .. } = &mut *endpoint;
            let mut sink = Sink { traffic: &mut *traffic, id: *id, now };
            let received =
                transport.read(&mut self.buffers, |bytes| connection.receive(bytes, now, &mut sink))?;
            self.received_bytes += received.bytes;
            self.received_reads += usize::from(received.bytes > 0);
            if received.is_closed {
                return Err(ConnectionError::PeerClosed);
            }
            // Behind a short read there may still be the peer's end, whose event has come already.
            if received.is_drained && (received.bytes == 0 || !endpoint.is_read_closed) {
                endpoint.is_readable = false;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes what waits and what the traffic supplies, within the turn's budget. Returns whether nothing is left to do
    /// before something happens.
    fn write(
        &mut self,
        index: u32,
        traffic: &mut impl Traffic<Transport = T>,
        now: Nanos,
    ) -> Result<bool, ConnectionError> {
        let Some(endpoint) = self.table.get(index) else { return Ok(true) };
        if !endpoint.flush(traffic, now)? {
            return Ok(true);
        }
        endpoint.connection.exchange_buffer(&mut self.output);
        let result = endpoint.supply(traffic, &self.config, &mut self.buffers, now);
        if endpoint.connection.output().is_empty() {
            endpoint.connection.exchange_buffer(&mut self.output);
        }
        result
    }
}

impl<T: Transport> Endpoint<T> {
    /// Opens further or writes what waited. Returns whether the transport takes more.
    fn flush(
        &mut self,
        traffic: &mut impl Traffic<Transport = T>,
        now: Nanos,
    ) -> Result<bool, ConnectionError> {
        if self.is_frozen {
            return Ok(false);
        }
        if self.is_writable && (self.transport.is_blocked() || !self.transport.is_open()) {
            let is_permitted = self.connection.open() == 0 || traffic.may_write(self.id, now);
            if !is_permitted {
                return Ok(false);
            }
            let result = self.transport.flush();
            self.connection.written_through(self.transport.written_through());
            result?;
            self.is_writable = !self.transport.is_blocked();
        }
        Ok(self.transport.is_open() && !self.transport.is_blocked())
    }

    fn supply(
        &mut self,
        traffic: &mut impl Traffic<Transport = T>,
        config: &super::DriverConfig,
        buffers: &mut Buffers,
        now: Nanos,
    ) -> Result<bool, ConnectionError> {
        let mut budget = config.write_turn_bytes;
        loop {
            let started = self.gather(traffic, config.write_bytes, now);
            let bytes = self.connection.output().len();
            self.send(buffers)?;
            let is_done = started == 0 && bytes < config.write_bytes;
            if is_done || self.transport.is_blocked() {
                return Ok(true);
            }
            budget = budget.saturating_sub(bytes);
            if budget == 0 {
                return Ok(false);
            }
        }
    }

    /// Lets bodies held back and new requests into the output, each if the traffic permits.
    fn gather(&mut self, traffic: &mut impl Traffic<Transport = T>, write_bytes: usize, now: Nanos) -> u32 {
        if self.connection.holds_bodies() && traffic.may_write(self.id, now) {
            self.connection.release();
        }
        let mut starter = Starter { connection: &mut self.connection, now, write_bytes, started: 0 };
        if starter.capacity() > 0 {
            traffic.supply(self.id, &mut starter, now);
        }
        starter.started
    }

    fn send(&mut self, buffers: &mut Buffers) -> Result<(), ConnectionError> {
        while !self.connection.output().is_empty() && !self.transport.is_blocked() {
            let Endpoint { transport, connection, .. } = &mut *self;
            let result = connection.hand_over(|output| transport.write(output, buffers));
            // Part of it may have gone before the failure.
            self.connection.written_through(self.transport.written_through());
            let taken = result?;
            self.is_writable = !self.transport.is_blocked();
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Before closing: a GOAWAY and the transport's own farewell, as far as the kernel takes them at once.
    pub(super) fn say_goodbye(&mut self, error: &ConnectionError, buffers: &mut Buffers) {
        if self.is_frozen || !self.transport.is_open() || matches!(error, ConnectionError::Io(_)) {
            return;
        }
        if matches!(error, ConnectionError::Local | ConnectionError::Deadline(_)) {
            self.connection.say_goodbye();
        }
        // It is about to be closed: an error here changes nothing.
        let _ = self.send(buffers);
        self.transport.shutdown(buffers);
    }
}
