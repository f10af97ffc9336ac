//! What makes a process stop: SIGTERM, SIGINT, or a parent that is gone.

use std::io::Read as _;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Listens from the moment it is made.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// Answers when standard input closes; never when that does not count.
    stdin: Option<oneshot::Receiver<()>>,
}

impl Stop {
    pub(crate) fn new(with_stdin: bool) -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin: with_stdin.then(watch_stdin).transpose()?,
        })
    }

    /// Waits; what it was.
    pub(crate) async fn wait(&mut self) -> &'static str {
        let stdin = async {
            match &mut self.stdin {
                // An error says that the thread is gone, and with it the watch: stop too.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = stdin => "standard input closed",
        }
    }
}

/// A parent that is gone cannot ask a child to end; its end of the pipe closes all the same.
fn watch_stdin() -> Result<oneshot::Receiver<()>> {
    let (closed, is_closed) = oneshot::channel();
    let run = move || {
        let mut ignored = [0; 4_096];
        let mut stdin = std::io::stdin().lock();
        while !matches!(stdin.read(&mut ignored), Ok(0) | Err(_)) {}
        // Whoever waited may have been told to stop before.
        let _ = closed.send(());
    };
    let spawned = std::thread::Builder::new().name("stdin".to_owned()).spawn(run);
    spawned.context("a thread that watches standard input")?;
    Ok(is_closed)
}
