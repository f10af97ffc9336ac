//! What the process needs to know and set on its machine: open files, memory, CPU time, clock error.

use anyhow::{Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files as far as the machine allows; an error says what to do when that is too little for
/// `needed`.
pub(crate) fn raise_open_files(needed: u64) -> Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(1 << 20);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit)?;
    }
    let got = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if got < needed {
        bail!(
            "this needs {needed} open files, the machine allows {got}: raise the hard limit \
             (`ulimit -Hn`, LimitNOFILE= in systemd) or ask for fewer connections"
        );
    }
    Ok(got)
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    resident_bytes_of("self").unwrap_or(0)
}

/// Resident memory of a process, in bytes; `None` when it is gone.
pub(crate) fn resident_bytes_of(pid: &str) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The most resident memory of this process since its start, or since [`forget_peak`], in bytes.
pub(crate) fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// Has the kernel measure the peak of resident memory anew. Where it refuses, the peak is that since the start.
pub(crate) fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// User and system CPU time of this process so far, in microseconds.
pub(crate) fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_memory_and_cpu() {
        assert!(resident_bytes() > 1_000_000);
        assert!(cpu_us() > 0);
        assert!(peak_bytes() >= resident_bytes() / 2);
    }

    #[test]
    fn too_few_open_files_say_what_to_do() {
        let error = raise_open_files(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("ulimit -Hn"), "{error}");
        assert!(raise_open_files(16).is_ok());
    }
}
