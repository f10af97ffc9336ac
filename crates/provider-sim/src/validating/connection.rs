//! One connection: TLS, HTTP/2, and what ends it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use model::Platform;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::apns::Bound;
use super::finding::Finding;
use super::io::{Counted, Patience, Spliced};
use super::request;
use super::thread::House;
use super::wire::Wire;
use crate::config::{Limits, OverLimit};
use crate::h2::frame::ErrorCode;

/// How long a client may take to close a connection that we have ended.
const LINGER: Duration = Duration::from_secs(2);

type Served = Connection<Spliced<tokio_rustls::server::TlsStream<Counted>>, Bytes>;

/// What a connection and its requests share.
pub(super) struct Link {
    pub(super) wire: Rc<RefCell<Wire>>,
    pub(super) bound: RefCell<Bound>,
    /// Requests that were taken and not answered.
    open: Cell<u32>,
    last_stream: Cell<u32>,
    /// The last id of a GOAWAY that was sent.
    leaving: Cell<Option<u32>>,
    /// Nothing more is written.
    is_dropped: Cell<bool>,
    /// A request was answered with 200, or need not be.
    is_valid: Cell<bool>,
    pub(super) requests: Cell<u64>,
    pub(super) rejections: Cell<u64>,
    /// APNs: answers that found a device or a message wrong, weighed.
    pub(super) penalties: Cell<u64>,
    opened_at_us: u64,
    changed: Rc<Notify>,
}

/// Serves one client until either side has had enough.
pub(super) async fn serve(house: &Rc<House>, socket: TcpStream) {
    let limits = &house.config.limits;
    if !limits.accept_delay.is_zero() {
        house.clock().sleep(limits.accept_delay).await;
    }
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let counted = Counted::new(socket, Rc::clone(house));
    let Ok(stream) = TlsAcceptor::from(std::sync::Arc::clone(&house.tls)).accept(counted).await else {
        house.desk().ledger.counts.handshakes_failed += 1;
        return;
    };
    let link = Rc::new(Link::new(limits, house.now().since_start_us));
    let clock = house.clock();
    let patience = move || -> Patience { Box::pin(async move { clock.sleep(LINGER).await }) };
    let spliced = Spliced::new(stream, Rc::clone(&link.wire), Box::new(patience));
    match builder(limits).handshake(spliced).await {
        Ok(connection) => attend(house, &link, connection).await,
        Err(error) => link.broken(house, &error),
    }
    link.note_complaints(house);
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .header_table_size(limits.header_table_bytes)
        .max_frame_size(limits.frame_bytes_max)
        .max_header_list_size(limits.header_block_bytes_max);
    builder
}

async fn attend(house: &Rc<House>, link: &Rc<Link>, mut connection: Served) {
    // Until when a client may stay that was told to go and has all its answers.
    let mut patience_us = None;
    loop {
        let next_us = link.next_change_us(house);
        tokio::select! {
            biased;
            () = link.changed.notified() => {}
            () = wait(house, next_us) => link.keep_house(house),
            () = wait(house, patience_us) => return,
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => link.take(house, request, respond),
                Some(Err(error)) => return link.broken(house, &error),
                None => return,
            },
        }
        link.note_complaints(house);
        if link.is_dropped.get() {
            // What was promised before is still written, as far as the socket takes it.
            poll_fn(|cx| {
                drop(connection.poll_closed(cx));
                Poll::Ready(())
            })
            .await;
            return;
        }
        if link.leaving.get().is_some() {
            connection.graceful_shutdown();
            if link.open.get() == 0 {
                patience_us.get_or_insert(house.now_us() + LINGER.as_micros() as u64);
            }
        }
    }
}

async fn wait(house: &House, until_us: Option<u64>) {
    match until_us {
        Some(until_us) => house.until(until_us).await,
        None => std::future::pending().await,
    }
}

impl Link {
    fn new(limits: &Limits, now_us: u64) -> Self {
        let link = Self {
            wire: Rc::default(),
            bound: RefCell::default(),
            open: Cell::new(0),
            last_stream: Cell::new(0),
            leaving: Cell::new(None),
            is_dropped: Cell::new(false),
            is_valid: Cell::new(!limits.one_stream_until_valid),
            requests: Cell::new(0),
            rejections: Cell::new(0),
            penalties: Cell::new(0),
            opened_at_us: now_us,
            changed: Rc::default(),
        };
        *link.wire.borrow_mut() = Wire::new(link.streams_now(limits, now_us), Rc::clone(&link.changed));
        link
    }

    /// The stream limit that holds at this age.
    fn streams_now(&self, limits: &Limits, now_us: u64) -> u32 {
        if !self.is_valid.get() {
            return 1;
        }
        let age = Duration::from_micros(now_us - self.opened_at_us);
        let come = limits.stream_changes.iter().filter(|change| change.after <= age);
        come.max_by_key(|change| change.after).map_or(limits.streams, |change| change.streams)
    }

    /// When time changes something next.
    fn next_change_us(&self, house: &House) -> Option<u64> {
        let now_us = house.now().since_start_us;
        let changes = house.config.limits.stream_changes.iter().map(|change| change.after);
        let ages = changes.chain(house.config.faults.goaway.after.filter(|_| self.leaving.get().is_none()));
        let due = ages.map(|age| self.opened_at_us + age.as_micros() as u64);
        due.filter(|due_us| *due_us > now_us).min()
    }

    /// What time brings: changed stream limits and GOAWAY of old connections.
    fn keep_house(&self, house: &House) {
        let now_us = house.now().since_start_us;
        let streams = self.streams_now(&house.config.limits, now_us);
        self.wire.borrow_mut().announce(streams);
        let age = Duration::from_micros(now_us - self.opened_at_us);
        if house.config.faults.goaway.after.is_some_and(|after| after <= age) {
            self.leave(house, None);
        }
        self.changed.notify_one();
    }

    /// A request was answered with 200: from now on the whole stream limit holds.
    pub(super) fn is_proven(&self, house: &House) {
        if !self.is_valid.replace(true) {
            self.keep_house(house);
        }
    }

    fn take(
        self: &Rc<Self>,
        house: &Rc<House>,
        request: http::Request<h2::RecvStream>,
        respond: h2::server::SendResponse<Bytes>,
    ) {
        let stream = respond.stream_id().as_u32();
        let is_over = self.leaving.get().is_none() && self.is_over(house);
        if is_over
            && house.config.limits.over_limit == OverLimit::Goaway
            && self.wire.borrow().limit.is_settled()
        {
            house.desk().ledger.counts.violations += 1;
            self.leave_because(house, ErrorCode::EnhanceYourCalm, b"exceeded_max_concurrent_streams");
        }
        let is_above = self.leaving.get().is_some_and(|last| stream > last);
        self.last_stream.set(self.last_stream.get().max(stream));
        self.open.set(self.open.get() + 1);
        let (house, link) = (Rc::clone(house), Rc::clone(self));
        tokio::task::spawn_local(async move {
            request::serve(&house, &link, request, respond, is_above || is_over).await;
        });
    }

    fn is_over(&self, house: &House) -> bool {
        let wire = self.wire.borrow();
        let is_over = self.open.get() >= wire.limit.allowed();
        if is_over && wire.limit.is_settled() {
            house.checker.note(&[Finding::passed("a stream above the limit")], None);
        }
        is_over
    }

    /// A request is answered, or needs no answer any more.
    pub(super) fn is_closed(&self) {
        self.open.set(self.open.get() - 1);
        self.changed.notify_one();
    }

    /// Ends the connection: what is above the last stream is not processed, the rest is answered. `reason` is APNs' own;
    /// the configuration's comes before it.
    pub(super) fn leave(&self, house: &House, reason: Option<model::Reason>) {
        let told = &house.config.faults.goaway.reason;
        let own = reason.map_or("", model::Reason::text);
        let reason = if told.is_empty() { own } else { told };
        let debug = match house.config.provider {
            _ if reason.is_empty() => String::new(),
            Platform::Apns => format!(r#"{{"reason":"{reason}"}}"#),
            Platform::Fcm => reason.to_owned(),
        };
        self.leave_because(house, ErrorCode::NoError, debug.as_bytes());
    }

    fn leave_because(&self, house: &House, code: ErrorCode, debug: &[u8]) {
        if self.leaving.get().is_none() {
            self.leaving.set(Some(self.last_stream.get()));
            self.wire.borrow_mut().say_goodbye(self.last_stream.get(), code, debug);
            house.desk().ledger.counts.goaways += 1;
            self.changed.notify_one();
        }
    }

    /// Drops the connection without a word.
    pub(super) fn drop_dead(&self) {
        self.is_dropped.set(true);
        self.changed.notify_one();
    }

    fn broken(&self, house: &House, error: &h2::Error) {
        tracing::debug!(%error, "a connection ended");
        if error.is_library() {
            house.desk().ledger.counts.violations += 1;
        }
    }

    /// What the library found wrong with the client's frames is a finding like any other.
    fn note_complaints(&self, house: &House) {
        let complaints = std::mem::take(&mut self.wire.borrow_mut().complaints);
        for code in complaints {
            let finding = Finding::passed("the client broke HTTP/2").at(h2::Reason::from(code).description());
            house.checker.note(&[finding], None);
        }
    }
}
