//! The control channel: one JSON object a line each way, over TCP on the loopback. Callers are few and
//! trusted; each has a thread, and nothing here runs unless somebody asks.

mod client;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

pub use client::{Control, read_dump};

use crate::error::Error;
use crate::report::{KeyCount, Report, Stats};
use crate::simulator::{Office, Ready};

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A line to the simulator, for example `{"command":"report"}` or `{"command":"dump","path":"/tmp/keys"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Addresses and the certificate.
    Ready,
    /// Counters.
    Stats,
    /// The whole account.
    Report,
    /// The keys that were received more than once.
    Twice,
    /// Writes how often each key arrived to a file: [`KeyCount::BYTES`] for each, ascending.
    Dump {
        /// Which file; it is replaced.
        path: PathBuf,
    },
    /// Forgets account and counters.
    Reset,
    /// Ends the process.
    Shutdown,
}

/// A line from the simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Command::Ready`].
    Ready(Ready),
    /// To [`Command::Stats`].
    Stats(Box<Stats>),
    /// To [`Command::Report`].
    Report(Box<Report>),
    /// To [`Command::Twice`].
    Twice(Vec<KeyCount>),
    /// To [`Command::Dump`]: how many keys were written.
    Dumped(u64),
    /// To [`Command::Reset`] and [`Command::Shutdown`].
    Done,
    /// The command was not understood, or failed.
    Error(String),
}

/// The listening end.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Option<TcpListener>,
    address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, Error> {
        let doing = || Error::io(format!("listen on {address} for control"));
        let socket = TcpListener::bind(address).map_err(doing())?;
        let address = socket.local_addr().map_err(doing())?;
        Ok(Self { socket: Some(socket), address, is_stopped: Arc::default(), thread: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves callers on a thread of its own.
    pub(crate) fn serve(mut self, office: Arc<Office>) -> Result<Self, Error> {
        let is_stopped = Arc::clone(&self.is_stopped);
        let Some(socket) = self.socket.take() else { return Ok(self) };
        let run = move || {
            for caller in socket.incoming().flatten() {
                if is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let office = Arc::clone(&office);
                let attended = std::thread::Builder::new().name("sim-caller".to_owned()).spawn(move || {
                    if let Err(error) = converse(&caller, &office) {
                        tracing::debug!(%error, "a caller of the control channel was lost");
                    }
                });
                if let Err(error) = attended {
                    tracing::warn!(%error, "cannot attend to a caller of the control channel");
                }
            }
        };
        let thread = std::thread::Builder::new().name("sim-control".to_owned()).spawn(run);
        self.thread = Some(thread.map_err(Error::io("start a thread"))?);
        Ok(self)
    }

    /// Ends the listening thread; callers' threads end with their connections.
    pub(crate) fn stop(&mut self) {
        if !self.is_stopped.swap(true, Ordering::Relaxed) {
            // A connection wakes the thread; if that fails it has ended already.
            drop(TcpStream::connect(self.address));
        }
    }
}

fn converse(caller: &TcpStream, office: &Office) -> io::Result<()> {
    caller.set_nodelay(true)?;
    let mut lines = BufReader::new(io::Read::take(caller, LINE_BYTES_MAX));
    let mut line = String::new();
    loop {
        lines.get_mut().set_limit(LINE_BYTES_MAX);
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (reply, is_last) = match serde_json::from_str(&line) {
            Ok(Command::Shutdown) => (Reply::Done, true),
            Ok(command) => {
                (obey(command, office).unwrap_or_else(|error| Reply::Error(explain(&error))), false)
            }
            Err(error) => (Reply::Error(error.to_string()), false),
        };
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        (&*caller).write_all(&text)?;
        if is_last {
            office.stop();
            return Ok(());
        }
    }
}

fn obey(command: Command, office: &Office) -> Result<Reply, Error> {
    Ok(match command {
        Command::Ready => Reply::Ready(office.ready().clone()),
        Command::Stats => Reply::Stats(Box::new(office.stats()?)),
        Command::Report => Reply::Report(Box::new(office.report()?)),
        Command::Twice => Reply::Twice(office.twice()?),
        Command::Dump { path } => Reply::Dumped(office.dump(&path)?),
        Command::Reset => {
            office.reset()?;
            Reply::Done
        }
        Command::Shutdown => Reply::Done,
    })
}

fn explain(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
