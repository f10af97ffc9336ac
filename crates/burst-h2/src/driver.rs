//! The thread that runs connections: it polls sockets, reads, asks its user for requests and writes.
//! No connection is shared between threads; several drivers share nothing.

mod control;
mod endpoint;
mod plain;
mod round;
mod table;
mod tls;
mod transport;
mod turn;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use control::{Control, OpenSpec};
pub use endpoint::{ConnectionEvent, ConnectionRef, Starter};
pub use plain::Plain;
pub use tls::Tls;
pub use transport::{Buffers, Received, Transport};

use crate::{End, Nanos};
use round::Rounds;

/// The clock a driver goes by: monotonic, counting the time the machine is suspended.
pub trait Clock {
    /// Nanoseconds since a moment that never changes.
    fn now(&self) -> Nanos;
}

impl<F: Fn() -> Nanos> Clock for F {
    fn now(&self) -> Nanos {
        self()
    }
}

/// What a driver sends and whom it tells: written by its user. All calls come from the driver's thread.
pub trait Traffic {
    /// What the connections run over.
    type Transport: Transport;

    /// A connection has room: start as many requests as there are, up to [`Starter::capacity`]. When nothing is
    /// started, the connection is asked again after it has received something, or by [`Control::ask`].
    fn supply(&mut self, connection: ConnectionRef, starter: &mut Starter<'_>, now: Nanos);

    /// A request ended; exactly once for each started.
    fn end(&mut self, connection: ConnectionRef, end: End<'_>, now: Nanos);

    /// Something happened to a connection. `Closed` is the last and comes after the ends of its requests.
    fn event(&mut self, connection: ConnectionRef, event: ConnectionEvent<'_>);

    /// Whether the rest of requests started earlier may be handed to the kernel now: encrypted bytes that a full socket
    /// had refused, and bodies that flow control had held back. Asked before each such write. Without permission they
    /// stay where they are until [`Control::ask`] and permission, or until [`Control::revoke`].
    ///
    /// What `supply` starts is written as soon as it returns, at most [`DriverConfig::write_bytes`] and one request: to
    /// start nothing is how `supply` withholds permission.
    fn may_write(&mut self, connection: ConnectionRef, now: Nanos) -> bool {
        let _ = (connection, now);
        true
    }

    /// Between rounds: take new work from channels, open, close and drain connections, say when to come again.
    fn tick(&mut self, control: &mut Control<'_, Self::Transport>, now: Nanos) -> Wake;
}

/// When a driver comes round again at the latest. Sockets and the [`Waker`] bring it round earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once.
    Now,
    /// At this moment, to the millisecond, rounded up.
    At(Nanos),
    /// When something happens.
    Whenever,
    /// Never: [`Driver::run`] closes all connections and returns.
    Stop,
}

/// Limits of a driver.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// From opening a connection until the peer's SETTINGS are there.
    pub ready_within: Duration,
    /// From opening a connection until the peer has acknowledged our SETTINGS.
    pub settings_ack_within: Duration,
    /// From a PING to its answer.
    pub pong_within: Duration,
    /// Rounds begin at least this far apart while answers come in small pieces: fewer and larger reads for a little
    /// latency. Zero reads whenever something is there.
    pub round_at_least: Duration,
    /// A round that lasts longer leaves the rest of the connections to the next one: so often is `tick` called.
    pub round_at_most: Duration,
    /// Plaintext bytes of requests gathered for one write. It bounds what waits encrypted when a socket is full, and so
    /// what an abort finds beyond reach of [`Connection::revoke`](crate::Connection::revoke).
    pub write_bytes: usize,
    /// Plaintext bytes written for one connection before the next one has its turn.
    pub write_turn_bytes: usize,
    /// Reads of up to 64 KiB for one connection before the next one has its turn.
    pub read_turn_max: usize,
    /// Socket events taken per round.
    pub events_max: usize,
}

impl Default for DriverConfig {
    fn default() -> Self {
        DriverConfig {
            ready_within: Duration::from_secs(10),
            settings_ack_within: Duration::from_secs(20),
            pong_within: Duration::from_secs(10),
            round_at_least: Duration::ZERO,
            round_at_most: Duration::from_millis(5),
            // Four full records, less a request that is begun just below it.
            write_bytes: 63 * 1024,
            write_turn_bytes: 256 * 1024,
            read_turn_max: 4,
            events_max: 1024,
        }
    }
}

/// Wakes a driver from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Makes the driver come round soon.
    ///
    /// # Errors
    /// When the event descriptor fails, which it does not while the driver lives.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

/// A driver before it runs. The caller makes the thread.
pub struct Driver {
    config: DriverConfig,
    poll: mio::Poll,
    waker: Waker,
}

impl Driver {
    /// Takes the descriptors that a driver needs.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn new(config: DriverConfig) -> io::Result<Driver> {
        let poll = mio::Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), round::WAKER)?));
        Ok(Driver { config, poll, waker })
    }

    /// A handle that wakes this driver.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Runs until [`Traffic::tick`] says [`Wake::Stop`]; then closes what is open, so that every request has its end.
    ///
    /// # Errors
    /// When polling fails; the requests have their ends then too.
    pub fn run<T: Traffic>(self, clock: &impl Clock, traffic: &mut T) -> io::Result<()> {
        Rounds::new(self.config, self.poll, clock).run(traffic)
    }
}
