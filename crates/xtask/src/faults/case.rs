//! One run of the demo with a fault, and what came of it.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;

use super::rows::Row;

/// A run that has not ended by then never does.
const LONGEST: Duration = Duration::from_secs(180);
/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whose simulator goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// Apple's.
    Apns,
    /// Google's.
    Fcm,
}

impl Provider {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Apns, Self::Fcm];

    /// As flags write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }
}

/// Whose fault, and how many devices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) provider: Provider,
    pub(crate) devices: u64,
}

impl Case {
    /// Requests at once on a connection: the provider's usual number.
    pub(crate) const fn streams(self) -> u64 {
        match self.provider {
            Provider::Apns => 1_000,
            Provider::Fcm => 100,
        }
    }

    /// Connections: so many that a launch takes about a second, and one of them is one of many.
    pub(crate) const fn connections(self) -> u64 {
        match self.provider {
            Provider::Apns => 8,
            Provider::Fcm => 80,
        }
    }

    /// Of a connection's share of the devices the number after which it is hit: in the middle of its work.
    pub(crate) const fn hit_at(self) -> u64 {
        let share = self.devices / self.connections() / 4;
        if share < self.streams() { share } else { self.streams() / 2 }
    }

    /// Runs the demo with the row's fault.
    #[allow(clippy::disallowed_methods, reason = "how long a run takes is what this measures")]
    pub(crate) fn run(self, program: &Path, row: &Row) -> Result<Run> {
        let own = self.provider.name();
        let other = if own == "apns" { "fcm" } else { "apns" };
        let mut command = Command::new(program);
        command.args(["demo", "--json", "--devices", &self.devices.to_string(), "--platform", own]);
        command.args(["--dead", "0", "--errors", "0", "--patience", "15s"]);
        command.args([format!("--{own}-connections"), self.connections().to_string()]);
        command.args([format!("--{other}-connections"), "1".to_owned()]);
        command.args([format!("--sim-{own}"), row.flags(self)]).args(row.demo);
        let start = Instant::now();
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let out = drain(child.stdout.take());
        let err = drain(child.stderr.take());
        let code = wait(&mut child, start)?;
        let (out, err) = (collect(out), collect(err));
        let summary = out.lines().last().and_then(|line| serde_json::from_str(line).ok());
        Ok(Run { code, summary, err, took: start.elapsed() })
    }
}

#[allow(clippy::disallowed_methods, reason = "a run that never ends has to be ended")]
fn wait(child: &mut Child, start: Instant) -> Result<Option<i32>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if start.elapsed() > LONGEST {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[allow(clippy::disallowed_methods, reason = "both pipes of a child are read at once")]
fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until then is what there is.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

fn collect(pipe: Option<JoinHandle<String>>) -> String {
    pipe.and_then(|reading| reading.join().ok()).unwrap_or_default()
}

/// What came of a run.
pub(crate) struct Run {
    /// `None`: it had to be killed.
    pub(crate) code: Option<i32>,
    /// The demo's JSON; none when it ended before.
    pub(crate) summary: Option<Value>,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Run {
    /// A number of the summary.
    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        let value = &self.summary.as_ref()?[field];
        value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
    }

    /// The most memory of the service during the launch.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.number("process_peak_bytes")
    }

    /// Connections that the fault has hit.
    pub(crate) fn hits(&self, provider: Provider) -> u64 {
        let place = usize::from(provider == Provider::Fcm);
        let hits =
            self.summary.as_ref().and_then(|summary| summary["sim_connections"][place]["hit"].as_u64());
        hits.unwrap_or(0)
    }

    /// Texts of a list in the summary.
    pub(crate) fn texts(&self, field: &str) -> Vec<&str> {
        let list = self.summary.as_ref().and_then(|summary| summary[field].as_array());
        list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// The last thing that it said before it gave up.
    pub(crate) fn last_words(&self) -> &str {
        self.err.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
    }
}
