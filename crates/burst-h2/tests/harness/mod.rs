//! A driver on a thread of its own, told what to do and asked what happened over channels.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod peer;
pub(crate) mod tls;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use burst_h2::driver::{
    ConnectionEvent, ConnectionRef, Control, Driver, DriverConfig, OpenSpec, Starter, Traffic, Transport,
    Wake, Waker,
};
use burst_h2::{ConnectionConfig, End, EndResult, Field, Nanos, Part, Request, Template};

/// Something that the driver told, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    End(u64, String),
    Event(String),
}

impl Told {
    pub(crate) fn end(tag: u64, result: &str) -> Told {
        Told::End(tag, result.into())
    }

    pub(crate) fn event(event: &str) -> Told {
        Told::Event(event.into())
    }
}

type Deed<T> = Box<dyn FnOnce(&mut Control<'_, T>) + Send>;

enum Command<T> {
    Open(T, ConnectionConfig),
    /// With tags from the first number on, and a deadline.
    Send(std::ops::Range<u64>, usize, Nanos),
    Permit(bool),
    /// How many requests have not been started.
    Count(Sender<usize>),
    Do(Deed<T>),
    Each(fn(&mut Control<'_, T>, ConnectionRef)),
    Stop,
}

/// The test's side.
pub(crate) struct Client<T> {
    commands: Sender<Command<T>>,
    told: Receiver<Told>,
    waker: Waker,
    clock: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Transport + Send + 'static> Client<T> {
    pub(crate) fn new(config: DriverConfig) -> Client<T> {
        let driver = Driver::new(config).unwrap();
        let waker = driver.waker();
        let (commands, orders) = channel();
        let (tell, told) = channel();
        let clock = Arc::new(AtomicU64::new(0));
        let time = clock.clone();
        let run = move || {
            let mut remote = Remote::new(orders, tell);
            driver.run(&move || time.load(Ordering::Relaxed), &mut remote).unwrap();
        };
        let thread = std::thread::Builder::new().spawn(run).unwrap();
        Client { commands, told, waker, clock, thread: Some(thread) }
    }

    fn command(&self, command: Command<T>) {
        self.commands.send(command).unwrap();
        self.waker.wake().unwrap();
    }

    pub(crate) fn open(&self, transport: T) {
        self.open_with(transport, ConnectionConfig::default());
    }

    pub(crate) fn open_with(&self, transport: T, config: ConnectionConfig) {
        self.command(Command::Open(transport, config));
    }

    /// Queues requests with these tags and bodies of this many bytes.
    pub(crate) fn send(&self, tags: std::ops::Range<u64>, body_bytes: usize) {
        self.send_until(tags, body_bytes, Nanos::MAX);
    }

    pub(crate) fn send_until(&self, tags: std::ops::Range<u64>, body_bytes: usize, deadline: Nanos) {
        self.command(Command::Send(tags, body_bytes, deadline));
    }

    pub(crate) fn permit(&self, is_permitted: bool) {
        self.command(Command::Permit(is_permitted));
    }

    pub(crate) fn with_control(&self, deed: impl FnOnce(&mut Control<'_, T>) + Send + 'static) {
        self.command(Command::Do(Box::new(deed)));
    }

    pub(crate) fn with_each(&self, deed: fn(&mut Control<'_, T>, ConnectionRef)) {
        self.command(Command::Each(deed));
    }

    /// Moves the driver's clock.
    pub(crate) fn set_clock(&self, now: Nanos) {
        self.clock.store(now, Ordering::Relaxed);
        self.waker.wake().unwrap();
    }

    /// The next thing told.
    pub(crate) fn next(&self) -> Told {
        self.told.recv().expect("the driver runs")
    }

    pub(crate) fn expect_event(&self, event: &str) {
        assert_eq!(self.next(), Told::event(event));
    }

    pub(crate) fn expect_end(&self, tag: u64, result: &str) {
        assert_eq!(self.next(), Told::end(tag, result));
    }

    /// Waits until the driver has done all it was told before.
    pub(crate) fn settle(&self) {
        let (tell, told) = channel();
        self.with_control(move |_| tell.send(()).unwrap());
        told.recv().unwrap();
    }

    /// Waits until a whole round starts nothing more: with requests left, the socket is full.
    pub(crate) fn fill(&self) {
        let mut before = usize::MAX;
        loop {
            let (tell, told) = channel();
            self.command(Command::Count(tell));
            let now = told.recv().unwrap();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Stops the driver; what was told until its end.
    pub(crate) fn stop(mut self) -> Vec<Told> {
        self.command(Command::Stop);
        self.thread.take().unwrap().join().unwrap();
        self.told.try_iter().collect()
    }
}

struct Remote<T> {
    orders: Receiver<Command<T>>,
    tell: Sender<Told>,
    template: Template,
    waiting: VecDeque<(u64, usize, Nanos)>,
    is_permitted: bool,
    connections: Vec<ConnectionRef>,
    body: Vec<u8>,
}

impl<T> Remote<T> {
    fn new(orders: Receiver<Command<T>>, tell: Sender<Told>) -> Remote<T> {
        Remote {
            orders,
            tell,
            template: template(),
            waiting: VecDeque::new(),
            is_permitted: true,
            connections: Vec::new(),
            body: vec![b'b'; 100_000],
        }
    }

    fn tell(&self, told: Told) {
        // A test that has seen enough may be gone.
        let _ = self.tell.send(told);
    }
}

pub(crate) fn template() -> Template {
    let fields = vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::constant(":authority", "localhost"),
        Field::varying(":path"),
        Field::constant("authorization", "bearer x"),
    ];
    Template::with_body(fields, vec![Part::Varying]).unwrap()
}

impl<T: Transport> Traffic for Remote<T> {
    type Transport = T;

    fn supply(&mut self, _: ConnectionRef, starter: &mut Starter<'_>, _: Nanos) {
        while self.is_permitted
            && starter.capacity() > 0
            && let Some(&(tag, body_bytes, deadline)) = self.waiting.front()
        {
            let path = format!("/3/device/{tag}");
            let request = Request {
                template: &self.template,
                values: &[path.as_bytes(), &self.body[..body_bytes]],
                tag,
                deadline,
            };
            if starter.start(&request).is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn end(&mut self, _: ConnectionRef, end: End<'_>, _: Nanos) {
        let result = match end.result {
            EndResult::Answered { status, body: [], .. } => format!("{status}"),
            EndResult::Answered { status, body, .. } => {
                format!("{status} {}", String::from_utf8_lossy(body))
            }
            EndResult::NotProcessed(cause) => format!("not processed: {cause:?}"),
            EndResult::Unknown(cause) => format!("unknown: {cause:?}"),
        };
        self.tell(Told::End(end.tag, result));
    }

    fn event(&mut self, _: ConnectionRef, event: ConnectionEvent<'_>) {
        self.tell(Told::Event(match event {
            ConnectionEvent::Ready { stream_limit } => format!("ready {stream_limit}"),
            ConnectionEvent::StreamLimit(limit) => format!("limit {limit}"),
            ConnectionEvent::Draining { debug_data, .. } => {
                format!("draining {}", String::from_utf8_lossy(debug_data))
            }
            ConnectionEvent::Pong { round_trip } => format!("pong {round_trip}"),
            ConnectionEvent::Closed { error } => format!("closed: {error}"),
            other => format!("{other:?}"),
        }));
    }

    fn may_write(&mut self, _: ConnectionRef, _: Nanos) -> bool {
        self.is_permitted
    }

    fn tick(&mut self, control: &mut Control<'_, T>, _: Nanos) -> Wake {
        while let Ok(command) = self.orders.try_recv() {
            match command {
                Command::Open(transport, config) => {
                    self.connections.push(control.open(OpenSpec { transport, config, user: 0 }));
                }
                Command::Send(tags, body_bytes, deadline) => {
                    self.waiting.extend(tags.map(|tag| (tag, body_bytes, deadline)));
                    control.ask_all();
                }
                Command::Permit(is_permitted) => {
                    self.is_permitted = is_permitted;
                    control.ask_all();
                }
                Command::Count(tell) => {
                    // A round goes by before the next command.
                    tell.send(self.waiting.len()).unwrap();
                    return Wake::Now;
                }
                Command::Do(deed) => deed(control),
                Command::Each(deed) => self.connections.iter().for_each(|id| deed(control, *id)),
                Command::Stop => return Wake::Stop,
            }
        }
        Wake::Whenever
    }
}
