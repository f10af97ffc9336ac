//! A simulator as a process of its own: announces itself on a line, then runs until it is told to stop.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Sender, channel};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::error::Error;
use crate::simulator::start_with;

/// Starts a simulator, writes its [`crate::Ready`] to `announce` as one line of JSON, and returns when the control
/// channel says `shutdown`, or when standard input closes if the configuration says so.
pub fn run(config: Config, announce: &mut impl Write) -> Result<(), Error> {
    let (stop, stopped) = channel();
    raise_descriptor_limit();
    if config.exit_when_stdin_closes {
        watch_stdin(stop.clone())?;
    }
    let simulator = start_with(config, stop)?;
    let line = serde_json::to_string(simulator.ready()).map_err(|error| Error::Control(error.to_string()))?;
    writeln!(announce, "{line}")
        .and_then(|()| announce.flush())
        .map_err(Error::io("announce the simulator"))?;
    stopped.recv().map_err(|_| Error::Gone)?;
    simulator.shutdown()
}

/// A burst's connections take more descriptors than a process has by default.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit on file descriptors");
    }
}

/// A parent that is gone cannot ask a child to end; its end of the pipe closes all the same.
fn watch_stdin(stop: Sender<()>) -> Result<(), Error> {
    let run = move || {
        let mut ignored = [0; 4_096];
        let mut stdin = io::stdin().lock();
        while !matches!(stdin.read(&mut ignored), Ok(0) | Err(_)) {}
        // Whoever waited may have been told to stop before.
        let _ = stop.send(());
    };
    let spawned = std::thread::Builder::new().name("sim-stdin".to_owned()).spawn(run);
    spawned.map(drop).map_err(Error::io("start a thread"))
}
