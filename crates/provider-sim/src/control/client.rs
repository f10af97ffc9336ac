//! The calling end of the control channel.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::{Command, Reply};
use crate::error::Error;
use crate::report::{KeyCount, Report, Stats};
use crate::simulator::Ready;

/// A connection to a simulator's control channel. Blocking; calls take microseconds, [`Control::report`],
/// [`Control::twice`] and [`Control::dump`] about 0.1 s for each million requests.
#[derive(Debug)]
pub struct Control {
    lines: BufReader<TcpStream>,
}

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

impl Control {
    /// Connects to [`Ready::control`].
    pub fn connect(address: SocketAddr) -> Result<Self, Error> {
        let doing = || Error::io(format!("connect to the control channel at {address}"));
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(doing())?;
        socket.set_nodelay(true).map_err(doing())?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(doing())?;
        Ok(Self { lines: BufReader::new(socket) })
    }

    /// Sends a command and waits for the reply; a [`Reply::Error`] is an error.
    pub fn call(&mut self, command: &Command) -> Result<Reply, Error> {
        let mut text = serde_json::to_vec(command).map_err(|error| Error::Control(error.to_string()))?;
        text.push(b'\n');
        self.lines.get_mut().write_all(&text).map_err(Error::io("write to the control channel"))?;
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).map_err(Error::io("read from the control channel"))?;
        if length == 0 {
            return Err(Error::Gone);
        }
        match serde_json::from_str(&line).map_err(|error| Error::Control(error.to_string()))? {
            Reply::Error(error) => Err(Error::Control(error)),
            reply => Ok(reply),
        }
    }

    /// Addresses and the certificate.
    pub fn ready(&mut self) -> Result<Ready, Error> {
        match self.call(&Command::Ready)? {
            Reply::Ready(ready) => Ok(ready),
            other => Err(unexpected(&other)),
        }
    }

    /// Counters; cheap, also during a burst.
    pub fn stats(&mut self) -> Result<Stats, Error> {
        match self.call(&Command::Stats)? {
            Reply::Stats(stats) => Ok(*stats),
            other => Err(unexpected(&other)),
        }
    }

    /// The whole account.
    pub fn report(&mut self) -> Result<Report, Error> {
        match self.call(&Command::Report)? {
            Reply::Report(report) => Ok(*report),
            other => Err(unexpected(&other)),
        }
    }

    /// The keys that were received more than once.
    pub fn twice(&mut self) -> Result<Vec<KeyCount>, Error> {
        match self.call(&Command::Twice)? {
            Reply::Twice(keys) => Ok(keys),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the simulator write how often each key arrived to `path`; returns how many keys. [`read_dump`] reads it.
    pub fn dump(&mut self, path: &Path) -> Result<u64, Error> {
        match self.call(&Command::Dump { path: path.to_owned() })? {
            Reply::Dumped(keys) => Ok(keys),
            other => Err(unexpected(&other)),
        }
    }

    /// Forgets account and counters; connections stay.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.call(&Command::Reset).map(drop)
    }

    /// Ends the simulator's process.
    pub fn shutdown(mut self) -> Result<(), Error> {
        self.call(&Command::Shutdown).map(drop)
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::Control(format!("unexpected reply {reply:.80?}"))
}

/// Reads what [`Control::dump`] wrote: keys in ascending order.
pub fn read_dump(path: &Path) -> Result<Vec<KeyCount>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(format!("read {}", path.display())))?;
    let (records, rest) = bytes.as_chunks::<{ KeyCount::BYTES }>();
    if !rest.is_empty() {
        return Err(Error::invalid("dump", &bytes.len().to_string(), "a multiple of 24 bytes"));
    }
    Ok(records.iter().map(KeyCount::from_bytes).collect())
}
