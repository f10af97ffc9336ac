//! Programs that are measured: pinned to a core, and ended with this process whatever becomes of it.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// What a client may take, in seconds: more means that it hangs.
const LONGEST_S: &str = "120";
/// Files and sockets that a server may have open: nghttpd holds a file for each device.
const OPEN_FILES: &str = "--nofile=4096:";

/// A server's command on `core`. The kernel ends it when this process is killed and cannot do so.
pub(super) fn server(core: usize, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "prlimit", OPEN_FILES]);
    command.args(["taskset", "-c", &core.to_string()]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A client's command on `core`, ended when it takes too long or this process is killed.
pub(super) fn client(core: usize, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "timeout", LONGEST_S]);
    command.args(["taskset", "-c", &core.to_string()]).arg(program).stdin(Stdio::null());
    command
}

/// A running server; killed when it is dropped.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn().with_context(|| format!("cannot start {command:?}"))?))
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// User and system time of all its threads and children so far, in microseconds.
    pub(super) fn cpu_us(&self) -> f64 {
        cpu_ns(self.0.id()) as f64 / 1e3
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Time on a processor, of a process's threads and its children. What is gone counts nothing.
fn cpu_ns(pid: u32) -> u64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of_thread = |thread: std::fs::DirEntry| {
        let read = |name: &str| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let children = read("children");
        let of_children = children.split_whitespace().filter_map(|child| child.parse().ok()).map(cpu_ns);
        running_ns(&read("schedstat")) + of_children.sum::<u64>()
    };
    threads.flatten().map(of_thread).sum()
}

/// The first number of a schedstat line: nanoseconds on a processor.
fn running_ns(schedstat: &str) -> u64 {
    schedstat.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_some_cpu_and_one_that_is_gone_none() {
        assert_eq!(running_ns("7261 11 4\n"), 7_261);
        assert!(cpu_ns(std::process::id()) > 0);
        assert_eq!(cpu_ns(u32::MAX), 0);
    }

    #[test]
    fn a_server_ends_when_it_is_dropped() {
        let mut running = Running::start(server(0, "sleep").arg("600")).unwrap();
        assert!(!running.has_ended());
        let pid = running.child().id();
        drop(running);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
