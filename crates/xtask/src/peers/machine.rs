//! Where and with what something was measured.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::server;

/// One thing after another, as sentences for people.
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) kernel: String,
    pub(super) commit: String,
    pub(super) command: String,
    pub(super) load: String,
    pub(super) versions: Vec<String>,
}

/// This machine, now.
pub(super) fn describe(loadtest: &Path) -> Result<Machine> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let changes = output("git", &["status", "--porcelain"]);
    let with = if changes.is_empty() { "" } else { " with changes" };
    let words: Vec<String> = std::env::args().skip(1).collect();
    Ok(Machine {
        processor: format!("{}, {cores} cores", model.map_or("unknown processor", |(_, model)| model)),
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        commit: format!("{}{with}", output("git", &["rev-parse", "--short", "HEAD"])),
        command: format!("cargo xtask {}", words.join(" ")),
        load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        versions: versions(loadtest),
    })
}

/// Of the programs that are there, in their own words, and of the libraries that loadtest/ fixes.
fn versions(loadtest: &Path) -> Vec<String> {
    let programs = [
        (server::NGINX, "-v", ""),
        ("h2o", "--version", ""),
        (server::NGHTTPD, "--version", ""),
        ("h2load", "--version", ""),
        ("node", "--version", "Node "),
        ("python3", "--version", ""),
    ];
    let version = |(program, flag, name): &(&str, &str, &str)| {
        let said = output(program, &[flag]);
        let first = said.lines().next()?.trim().replace("nginx version: ", "");
        Some(format!("{name}{first}"))
    };
    let read = |path: &str| std::fs::read_to_string(loadtest.join(path)).unwrap_or_default();
    let requirements = read("peers/python/requirements.txt");
    let python =
        requirements.lines().filter(|line| !line.starts_with('#')).map(|line| line.replace("==", " "));
    let rust = locked(&read("peers/rust/Cargo.lock"), &["a2", "h2", "hyper", "hyper-util", "rustls"]);
    programs.iter().filter_map(version).chain(rust).chain(python).collect()
}

/// What a program says on either output; nothing when it cannot be started.
fn output(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).trim().to_owned()
}

/// Name and version of what Cargo.lock fixes for the Rust clients, for example `hyper 1.7.0`.
fn locked(lock: &str, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.split('"').nth(1));
        if let (Some(name), Some(version)) = (value("name = "), value("version = "))
            && names.contains(&name)
        {
            found.push(format!("{name} {version}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_rust_clients_are_read_from_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"h2\"\nversion = \"0.4.12\"\ndependencies = [\n]\n\n\
                    [[package]]\nname = \"http\"\nversion = \"1.3.1\"\n";
        assert_eq!(locked(lock, &["h2", "a2"]), ["h2 0.4.12"]);
    }

    #[test]
    fn a_machine_is_described() {
        let machine = describe(Path::new("../../loadtest")).unwrap();
        assert!(machine.processor.ends_with("cores") && !machine.processor.contains(" 0 cores"));
        assert!(machine.versions.iter().any(|version| version.starts_with("a2 0.10")));
        assert!(machine.kernel.len() > "Linux ".len());
    }
}
