//! A serving thread: its connections are tasks that share a desk, and nothing leaves the thread.

use std::cell::{RefCell, RefMut};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::{Checker, Now, connection};
use crate::clock::Clock;
use crate::config::Config;
use crate::desk::Desk;
use crate::driver::Ask;
use crate::error::Error;

/// How long to wait after a connection could not be accepted.
const RETRY: Duration = Duration::from_millis(20);

/// Wakes a thread that was asked something.
pub(crate) type Wake = Arc<Notify>;

/// What it takes to start a thread.
pub(crate) struct Thread {
    pub(crate) desk: Desk,
    pub(crate) clock: Clock,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) checker: Arc<Checker>,
    /// All threads accept from the same socket.
    pub(crate) listener: TcpListener,
    /// Connections of all threads, for the limit.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) asks: Receiver<Ask>,
    pub(crate) wake: Wake,
}

/// What the tasks of a thread share.
pub(super) struct House {
    desk: RefCell<Desk>,
    clock: Clock,
    pub(super) config: Arc<Config>,
    pub(super) checker: Arc<Checker>,
    pub(super) tls: Arc<ServerConfig>,
    open: Arc<AtomicUsize>,
}

impl House {
    /// The desk, at the present time. Never to be held while something is waited for.
    pub(super) fn desk(&self) -> RefMut<'_, Desk> {
        let mut desk = self.desk.borrow_mut();
        desk.time.now_us = self.clock.now_us();
        desk
    }

    /// Microseconds since the simulator's start.
    pub(super) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// The present time.
    pub(super) fn now(&self) -> Now {
        let desk = self.desk();
        Now { since_start_us: desk.time.now_us, unix_s: desk.time.unix().as_secs() }
    }

    /// Waits until `due_us` of the simulator's clock.
    pub(super) async fn until(&self, due_us: u64) {
        let left_us = due_us.saturating_sub(self.clock.now_us());
        if left_us > 0 {
            self.clock.sleep(Duration::from_micros(left_us)).await;
        }
    }

    /// The clock, for whoever waits without the house.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }
}

impl Thread {
    /// Serves until [`Ask::Stop`].
    pub(crate) fn run(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start a runtime"))?;
        LocalSet::new().block_on(&runtime, self.serve())
    }

    async fn serve(self) -> Result<(), Error> {
        let Self { desk, clock, tls, checker, listener, open, asks, wake } = self;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(Error::io("watch the listener"))?;
        let config = Arc::clone(&desk.config);
        let house = Rc::new(House { desk: RefCell::new(desk), clock, config, checker, tls, open });
        loop {
            tokio::select! {
                biased;
                () = wake.notified() => if !house.answer(&asks) { return Ok(()) },
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => house.adopt(socket),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        clock.sleep(RETRY).await;
                    }
                },
            }
        }
    }
}

impl House {
    fn adopt(self: &Rc<Self>, socket: TcpStream) {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if self.config.limits.connections.is_some_and(|limit| open >= limit) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.desk().ledger.counts.connections_refused += 1;
            return;
        }
        let mut desk = self.desk();
        let counts = &mut desk.ledger.counts;
        counts.connections_opened += 1;
        let now_open = counts.connections_opened - counts.connections_closed;
        counts.connections_peak = counts.connections_peak.max(now_open);
        drop(desk);
        let open = Open(Rc::clone(self));
        tokio::task::spawn_local(async move {
            connection::serve(&open.0, socket).await;
            drop(open);
        });
    }

    /// Does what it was asked; false when it was asked to stop.
    fn answer(&self, asks: &Receiver<Ask>) -> bool {
        while let Ok(ask) = asks.try_recv() {
            let mut desk = self.desk();
            // Whoever asked may have gone; then nobody misses the answer.
            match ask {
                Ask::Adopt(_) => {}
                Ask::Counts(reply) => drop(reply.send((desk.ledger.counts.clone(), self.clock.thread_cpu()))),
                Ask::Extract(reply) => drop(reply.send((desk.ledger.extract(), self.clock.thread_cpu()))),
                Ask::Reset(reply) => {
                    let expected = self.config.requests_expected.div_ceil(self.config.threads);
                    desk.ledger.reset(expected);
                    let _ = reply.send(());
                }
                Ask::Stop => return false,
            }
        }
        true
    }
}

/// Counts a connection as open until it is dropped, whatever ends it.
struct Open(Rc<House>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.desk.borrow_mut().ledger.counts.connections_closed += 1;
    }
}
