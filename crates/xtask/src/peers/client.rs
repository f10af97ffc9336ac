//! The clients, and how one measurement of each is made and read.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::cell::{Sample, Setting};
use super::lab::Lab;
use super::server::{Kind, Server};
use super::{command, h2load};

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    Fanfare,
    H2load,
    H2,
    Hyper,
    A2,
    Node,
    Aioapns,
}

/// What a client did, by its own account or by its process's.
struct Ran {
    good: u64,
    per_second: f64,
    cpu_us: f64,
}

impl Peer {
    pub(super) const ALL: [Self; 7] =
        [Self::Fanfare, Self::H2load, Self::H2, Self::Hyper, Self::A2, Self::Node, Self::Aioapns];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fanfare => "fanfare",
            Self::H2load => "h2load",
            Self::H2 => "h2 crate",
            Self::Hyper => "hyper",
            Self::A2 => "a2",
            Self::Node => "Node http2",
            Self::Aioapns => "aioapns (Python)",
        }
    }

    /// What it may do per second: how long the first trial is.
    pub(super) const fn rough_per_second(self) -> f64 {
        match self {
            Self::Fanfare => 800_000.0,
            Self::H2load | Self::H2 => 150_000.0,
            Self::Hyper => 80_000.0,
            Self::A2 => 40_000.0,
            Self::Node => 15_000.0,
            Self::Aioapns => 2_500.0,
        }
    }

    /// It cannot say what it used between its first request and its last answer.
    pub(super) const fn is_measured_whole(self) -> bool {
        matches!(self, Self::H2load)
    }

    pub(super) const fn can_talk_to(self, server: Kind) -> bool {
        !matches!(self, Self::Aioapns) || server.answers_as_apns()
    }

    pub(super) const fn is_rust(self) -> bool {
        matches!(self, Self::H2 | Self::Hyper | Self::A2)
    }

    /// Sends `requests` at `setting`; an error unless every one was answered with a 2xx.
    pub(super) fn run(self, lab: &Lab, server: &Server, setting: Setting, requests: u64) -> Result<Sample> {
        let before = server.running.cpu_us();
        let ran = match self {
            Self::Fanfare => fanfare(lab, server, setting, requests)?,
            Self::H2load => h2load(lab, server, setting, requests)?,
            Self::H2 | Self::Hyper | Self::A2 | Self::Node | Self::Aioapns => {
                own_account(self.command(lab)?, lab, server, setting, requests)?
            }
        };
        let server_cpu_us = server.running.cpu_us() - before;
        if ran.good != requests {
            bail!("{} of {requests} requests were answered with a 2xx", ran.good);
        }
        if ran.cpu_us <= 0.0 || ran.per_second <= 0.0 {
            bail!("it used no time");
        }
        let each = requests as f64;
        Ok(Sample {
            requests,
            cpu_us: ran.cpu_us / each,
            per_second: ran.per_second,
            server_cpu_us: server_cpu_us / each,
        })
    }

    /// A client that takes a job's file as its argument.
    fn command(self, lab: &Lab) -> Result<Command> {
        let core = lab.cores.client;
        let rust = |name: &str| command::client(core, lab.rust.join(name));
        let script = |program: &std::ffi::OsStr, script: &str| {
            let mut command = command::client(core, program);
            command.arg(lab.loadtest.join(script));
            command
        };
        Ok(match self {
            Self::H2 => rust("peer-h2"),
            Self::Hyper => rust("peer-hyper"),
            Self::A2 => rust("peer-a2"),
            Self::Node => script("node".as_ref(), "peers/node/http2.mjs"),
            Self::Aioapns => script(lab.python.as_os_str(), "peers/python/aioapns_peer.py"),
            Self::Fanfare | Self::H2load => bail!("{} takes no job", self.name()),
        })
    }
}

fn fanfare(lab: &Lab, server: &Server, setting: Setting, requests: u64) -> Result<Ran> {
    let mut command = command::client(lab.cores.client, &lab.fanfare);
    command.args(["bench", "push", "--provider", "apns", "--json", "--ca"]).arg(&server.ca);
    command.arg("--endpoint").arg(format!("127.0.0.1:{}", server.port));
    for (flag, value) in [
        ("--devices", requests),
        ("--connections", setting.connections),
        ("--streams", setting.streams),
        ("--distinct", lab.tokens as u64),
        ("--body-bytes", lab.body.len() as u64),
    ] {
        command.arg(flag).arg(value.to_string());
    }
    if server.kind.insists_on_a_header_table() {
        command.args(["--header-table-bytes", "4096"]);
    }
    let said = last_line(&output(&mut command)?.0)?;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("it said no {name}: {said}"));
    Ok(Ran {
        good: number("accepted")? as u64,
        per_second: number("per_second")?,
        cpu_us: number("cpu_us_per_device")? * requests as f64,
    })
}

fn h2load(lab: &Lab, server: &Server, setting: Setting, requests: u64) -> Result<Ran> {
    let uris = lab.uris(server.port)?;
    let mut command = command::client(lab.cores.client, "bash");
    // What a process and its threads used in all, to the millisecond.
    command.args(["-c", "TIMEFORMAT='%3U %3S'; time \"$@\"", "bash", "h2load", "--threads=1"]);
    command.env("OPENSSL_CONF", &lab.openssl_config).env("LC_ALL", "C");
    for (flag, value) in [
        ("requests", requests),
        ("clients", setting.connections.min(requests)),
        ("max-concurrent-streams", setting.streams),
    ] {
        command.arg(format!("--{flag}={value}"));
    }
    command.arg("--data").arg(&lab.body_file).arg("--input-file").arg(uris);
    command.arg(format!("--connect-to=127.0.0.1:{}", server.port));
    for (name, value) in lab.all_headers() {
        command.arg(format!("--header={name}: {value}"));
    }
    let (report, times) = output(&mut command)?;
    let run = h2load::read(&report, requests)?;
    let times = times.lines().last().unwrap_or_default();
    let seconds: Vec<f64> = times.split(' ').filter_map(|time| time.parse().ok()).collect();
    let [user, system] = seconds[..] else { bail!("its times cannot be read: {times:?}") };
    Ok(Ran { good: run.good, per_second: run.per_second, cpu_us: (user + system) * 1e6 })
}

/// A peer of ours in loadtest/, which says itself what it did.
fn own_account(
    mut command: Command,
    lab: &Lab,
    server: &Server,
    setting: Setting,
    requests: u64,
) -> Result<Ran> {
    command.arg(lab.job(server, setting, requests)?);
    command.env("OPENSSL_CONF", &lab.openssl_config);
    command.env("PEER_HOST", format!("localhost:{}", server.port)).env("PEER_CA", &server.ca);
    let said = last_line(&output(&mut command)?.0)?;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("it said no {name}: {said}"));
    let good = number("answered")?;
    Ok(Ran { good: good as u64, per_second: good / number("elapsed_s")?, cpu_us: number("cpu_us")? })
}

/// Standard output and error of a command that ends well.
fn output(command: &mut Command) -> Result<(String, String)> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() {
        let last = err.lines().chain(out.lines()).rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        bail!("it ended with {}: {last}", output.status);
    }
    Ok((out, err))
}

fn last_line(out: &str) -> Result<Value> {
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("it said {line:?}"))
}
