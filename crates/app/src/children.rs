//! Child processes of the same binary. Each holds the read end of a pipe as its standard input and stops when it
//! closes, so that none outlives its parent, however that ends.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child as Process, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

/// Prefix of the environment's names that configure; children get their configuration from the parent alone.
const CONFIGURES: &str = "FANFARE_";

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: Process,
    /// Dropping it tells the child to stop.
    stdin: Option<ChildStdin>,
}

impl Child {
    /// Starts this binary with `arguments` and waits for the first line it prints: what it says of itself, as JSON.
    pub(crate) fn start<T: DeserializeOwned>(name: &str, arguments: &[OsString]) -> Result<(Self, T)> {
        let program = std::env::current_exe().context("where this program is")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: Ctrl-C asks the parent to stop, and the parent asks the child once it needs it no more.
        command.process_group(0);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with(CONFIGURES) {
                command.env_remove(variable);
            }
        }
        let mut process = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let stdout = process.stdout.take().context("standard output was asked for")?;
        let stdin = process.stdin.take();
        let mut child = Self { name: name.to_owned(), process, stdin };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).with_context(|| format!("{name} says nothing"))?;
        if line.is_empty() {
            let status = child.process.wait()?;
            bail!("{name} ended at once with {status}; its reason stands above");
        }
        let hello = serde_json::from_str(&line).with_context(|| format!("{name} said {line:?}"))?;
        Ok((child, hello))
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.process.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.stdin.take());
        let status = self.process.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        if !status.success() {
            bail!("{} ended with {status}", self.name);
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Only a child that is still running is killed; one that was waited for is not touched.
        drop(self.stdin.take());
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
