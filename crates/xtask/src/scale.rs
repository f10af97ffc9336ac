//! `cargo xtask bench scale`: how the cost of the sending path goes with connections, devices, bytes and threads, against
//! the fast simulators. The table in docs/capacity.md is its output.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::bench::{self, median};

/// How the cost goes with the size.
#[derive(Args)]
pub(crate) struct Scale {
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Devices of a row, as a share of what it usually has: 0.01 is a smoke test.
    #[arg(long, default_value_t = 1.0)]
    share: f64,
    /// Only rows of these series.
    #[arg(long, value_delimiter = ',', value_parser = SERIES)]
    series: Vec<String>,
}

const SERIES: [&str; 5] = ["connections-apns", "connections-fcm", "devices", "body", "threads"];

/// One row: what differs within a series is its `value`.
struct Row {
    series: &'static str,
    value: u64,
    provider: &'static str,
    latency: &'static str,
    connections: u64,
    streams: u64,
    threads: u64,
    body_bytes: Option<u64>,
    devices: u64,
}

/// What one run of a row gave.
struct Figures {
    per_second: f64,
    cpu_us: f64,
    simulator_us: f64,
    setup_ms: f64,
    p99_ms: f64,
    resident_mb: f64,
}

impl Scale {
    /// Runs it.
    pub(crate) fn run(&self) -> Result<()> {
        let program = bench::build()?;
        let rows: Vec<Row> = rows().into_iter().filter(|row| self.has(row)).collect();
        let mut figures: Vec<Vec<Figures>> = rows.iter().map(|_| Vec::new()).collect();
        for round in 1..=self.rounds {
            for (row, figures) in rows.iter().zip(&mut figures) {
                eprintln!("round {round} of {}: {} {}", self.rounds, row.series, row.value);
                figures.push(measure(&program, row, self.devices(row)).with_context(|| row.series)?);
            }
        }
        print!("{}", self.table(&rows, &figures)?);
        Ok(())
    }

    fn has(&self, row: &Row) -> bool {
        self.series.is_empty() || self.series.iter().any(|wanted| wanted == row.series)
    }

    fn devices(&self, row: &Row) -> u64 {
        ((row.devices as f64 * self.share) as u64).max(1_000)
    }

    fn table(&self, rows: &[Row], figures: &[Vec<Figures>]) -> Result<String> {
        let mut text = String::from(
            "| series | value | connections x streams | devices | per second | CPU per device | simulator | \
             set-up per connection | p99 | resident |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for (row, figures) in rows.iter().zip(figures) {
            let median_of = |of: fn(&Figures) -> f64| median(figures.iter().map(of).collect());
            writeln!(
                text,
                "| {} | {} | {} x {} | {} | {:.0} | {:.2} us | {:.2} us | {:.2} ms | {:.0} ms | {:.0} MB |",
                row.series,
                row.value,
                row.connections,
                row.streams,
                self.devices(row),
                median_of(|one| one.per_second),
                median_of(|one| one.cpu_us),
                median_of(|one| one.simulator_us),
                median_of(|one| one.setup_ms) / row.connections as f64,
                median_of(|one| one.p99_ms),
                median_of(|one| one.resident_mb),
            )?;
        }
        Ok(text)
    }
}

/// Every row. Those that are slow by nature, few connections with a latency, get fewer devices.
fn rows() -> Vec<Row> {
    let apns = Row {
        series: "",
        value: 0,
        provider: "apns",
        latency: "60ms",
        connections: 240,
        streams: 1_000,
        threads: 1,
        body_bytes: None,
        devices: 3_000_000,
    };
    let mut rows = Vec::new();
    for connections in [10, 30, 100, 300, 1_000, 3_000] {
        let devices = (connections * 40_000).min(3_000_000);
        rows.push(Row { series: "connections-apns", value: connections, connections, devices, ..apns });
    }
    for connections in [10, 30, 100, 300, 1_000, 3_000] {
        let devices = (connections * 4_000).min(3_000_000);
        let fcm = Row { provider: "fcm", latency: "100ms", streams: 100, ..apns };
        rows.push(Row { series: "connections-fcm", value: connections, connections, devices, ..fcm });
    }
    for devices in [100_000, 1_000_000, 5_000_000, 20_000_000] {
        rows.push(Row { series: "devices", value: devices, devices, ..apns });
    }
    for bytes in [150, 300, 600, 1_200, 2_400, 4_000] {
        let body_bytes = Some(bytes);
        let at_once = Row { latency: "0ms", connections: 8, ..apns };
        rows.push(Row { series: "body", value: bytes, body_bytes, devices: 2_000_000, ..at_once });
    }
    for threads in [1, 2] {
        rows.push(Row { series: "threads", value: threads, threads, ..apns });
    }
    rows
}

/// A simulator as a child; it ends with its standard input.
struct Simulator {
    child: Child,
    _input: Option<ChildStdin>,
    address: String,
    ca: tempfile::NamedTempFile,
}

impl Simulator {
    fn start(program: &Path, row: &Row) -> Result<Self> {
        let ca = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(program);
        command.args(["sim", row.provider, "--latency", row.latency, "--streams", &row.streams.to_string()]);
        command.args(["--exit-when-stdin-closes", "--ca-out"]).arg(ca.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let out = child.stdout.take().context("its standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
        let address = ready["address"].as_str().context("it said no address")?.to_owned();
        Ok(Self { child, _input: input, address, ca })
    }

    /// Nanoseconds that all its threads have been on a processor.
    fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(sum)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(program: &Path, row: &Row, devices: u64) -> Result<Figures> {
    let simulator = Simulator::start(program, row)?;
    let mut command = Command::new(program);
    command.args(["bench", "push", "--json", "--provider", row.provider, "--endpoint", &simulator.address]);
    command.arg("--ca").arg(simulator.ca.path());
    for (flag, value) in [
        ("--devices", devices),
        ("--connections", row.connections),
        ("--streams", row.streams),
        ("--threads", row.threads),
    ] {
        command.args([flag, &value.to_string()]);
    }
    if let Some(bytes) = row.body_bytes {
        command.args(["--body-bytes", &bytes.to_string()]);
    }
    let before = simulator.cpu_ns()?;
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the benchmark ended with {}", output.status);
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let figure = |name: &str| said[name].as_f64().with_context(|| format!("no {name} in {said}"));
    if figure("accepted")? as u64 != devices {
        bail!("not every device was accepted: {said}");
    }
    Ok(Figures {
        per_second: figure("per_second")?,
        cpu_us: figure("cpu_us_per_device")?,
        simulator_us: (simulator.cpu_ns()? - before) as f64 / 1e3 / devices as f64,
        setup_ms: figure("setup_cpu_s")? * 1e3,
        p99_ms: figure("p99_ms")?,
        resident_mb: figure("rss_bytes")? / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_belongs_to_a_series_that_can_be_asked_for() {
        let rows = rows();
        assert!(rows.iter().all(|row| SERIES.contains(&row.series)));
        assert!(SERIES.iter().all(|series| rows.iter().filter(|row| row.series == *series).count() > 1));
    }
}
