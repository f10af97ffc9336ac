//! What the demo ends with: a report that a marketer understands, the proof, and one JSON object for machines.

use std::time::Duration;

use model::{Class, Platform};
use provider_sim::Connections;
use provider_sim::config::Mode;
use report::LaunchReport;
use report::text::{seconds, thousands};
use serde::Serialize;

use super::Demo;
use super::go::{Gone, Press};
use super::preparation::Prepared;
use super::proof::Evidence;
use super::stages::StageTimes;

/// What was measured around the launch.
pub(crate) struct Measured {
    /// CPU of the service from before the press until the launch was over; `None` when roles were processes.
    pub(crate) cpu_us: Option<u64>,
    /// CPU of the APNs and of the FCM simulator in that time.
    pub(crate) sim_cpu_us: [u64; 2],
    /// What a worker holds of the snapshot.
    pub(crate) map_resident_bytes: u64,
    /// Resident memory of the largest process with a worker.
    pub(crate) process_resident_bytes: u64,
    /// The most resident memory of this process during the launch.
    pub(crate) process_peak_bytes: u64,
    /// What happened to the connections of the APNs and of the FCM simulator.
    pub(crate) sim_connections: [Connections; 2],
    pub(crate) stages: Vec<StageTimes>,
}

/// The JSON. Times count from the press, in milliseconds; latencies are those of accepted messages.
#[derive(Serialize)]
pub(crate) struct Summary {
    devices: u64,
    seed: u64,
    accepted: u64,
    rejected: u64,
    expired: u64,
    suppressed: u64,
    not_sent: u64,
    unknown: u64,
    resent: u64,
    received: u64,
    received_twice: u64,
    presses: usize,
    launches: u64,
    kills: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    last_ms: f64,
    over_ms: f64,
    per_second: f64,
    launch_ack_ms: f64,
    first_request_ms: f64,
    requests: u64,
    repeated: u64,
    map_resident_bytes: u64,
    process_resident_bytes: u64,
    process_peak_bytes: u64,
    cpu_us_per_device: Option<f64>,
    sim_cpu_us_per_device: f64,
    sim_cpu_us_per_apns_device: f64,
    sim_cpu_us_per_fcm_device: f64,
    import_s: f64,
    import_devices_per_s: f64,
    resolve_s: f64,
    ready_s: f64,
    audit_entries: u64,
    stages: Vec<StageTimes>,
    /// Requests with which validating simulators found something wrong.
    faults_found: u64,
    sim_connections: [Connections; 2],
    /// Everything that the report gives as a reason.
    reasons: Vec<String>,
    broken_invariants: Vec<String>,
}

impl Summary {
    pub(crate) fn new(
        demo: &Demo,
        prepared: &Prepared,
        gone: &Gone,
        measured: Measured,
        evidence: &Evidence,
    ) -> Self {
        let Evidence { report, comparison, .. } = evidence;
        let ms = |us: u64| us as f64 / 1e3;
        let per = |us: u64, devices: u64| us as f64 / devices.max(1) as f64;
        let [apns, fcm] = Platform::ALL.map(|platform| prepared.population.of(platform));
        let sending_us =
            report.last_answer_us.unwrap_or(0).saturating_sub(report.first_write_us.unwrap_or(0));
        Self {
            devices: report.devices,
            seed: demo.seed,
            accepted: report.counts.accepted,
            rejected: report.counts.rejected,
            expired: report.counts.expired,
            suppressed: report.counts.suppressed,
            not_sent: report.counts.not_sent,
            unknown: report.counts.unknown,
            resent: report.counts.resent,
            received: comparison.received,
            received_twice: comparison.received_twice,
            presses: gone.presses.len(),
            launches: evidence.launches,
            kills: demo.kill.len(),
            p50_ms: ms(report.answers.p50_us),
            p95_ms: ms(report.answers.p95_us),
            p99_ms: ms(report.answers.p99_us),
            last_ms: ms(report.last_answer_us.unwrap_or(0)),
            over_ms: gone.over_after.as_secs_f64() * 1e3,
            per_second: if sending_us > 0 { report.devices as f64 * 1e6 / sending_us as f64 } else { 0.0 },
            launch_ack_ms: launching(&gone.presses).map_or(0.0, |press| press.took.as_secs_f64() * 1e3),
            first_request_ms: ms(report.first_write_us.unwrap_or(0)),
            requests: report.requests,
            repeated: report.repeated,
            map_resident_bytes: measured.map_resident_bytes,
            process_resident_bytes: measured.process_resident_bytes,
            process_peak_bytes: measured.process_peak_bytes,
            cpu_us_per_device: measured.cpu_us.map(|us| per(us, report.devices)),
            sim_cpu_us_per_device: per(measured.sim_cpu_us.iter().sum(), report.devices),
            sim_cpu_us_per_apns_device: per(measured.sim_cpu_us[0], apns),
            sim_cpu_us_per_fcm_device: per(measured.sim_cpu_us[1], fcm),
            import_s: prepared.import.as_secs_f64(),
            import_devices_per_s: demo.devices as f64 / prepared.import.as_secs_f64().max(1e-9),
            resolve_s: prepared.resolve.as_secs_f64(),
            ready_s: prepared.ready.as_secs_f64(),
            audit_entries: evidence.audit_entries,
            stages: measured.stages,
            faults_found: evidence.faults_found.iter().map(|(_, found)| found.count).sum(),
            sim_connections: measured.sim_connections,
            reasons: reasons(report),
            broken_invariants: evidence.broken.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Summary {
    pub(crate) fn stages(&self) -> &[StageTimes] {
        &self.stages
    }
}

/// Why devices were not accepted, why the launch was stopped, and what went wrong on the way, as the report tells it.
fn reasons(report: &LaunchReport) -> Vec<String> {
    let stopped = report.aborted.iter().filter(|stop| !stop.why.is_empty());
    let stopped = stopped.map(|stop| format!("stopped: {}", stop.why));
    let classes = [Class::Rejected, Class::NotSent, Class::Unknown].into_iter();
    let outcomes = classes.flat_map(|class| {
        let rows = report.outcomes.reasons(class).into_iter();
        rows.map(move |(reason, devices)| format!("{devices} {}: {reason}", class.name().replace('_', " ")))
    });
    let troubles = report.troubles.iter();
    let troubles =
        troubles.map(|trouble| format!("{} x {}: {}", trouble.count, trouble.platform, trouble.what));
    stopped.chain(outcomes).chain(troubles).collect()
}

/// The press that made the launch; the first one if its answer was lost.
fn launching(presses: &[Press]) -> Option<&Press> {
    presses.iter().find(|press| press.answer.is_new).or(presses.first())
}

/// What the presses were answered, and what was compared with what.
pub(crate) fn proof(demo: &Demo, gone: &Gone, summary: &Summary, evidence: &Evidence) -> String {
    let mut text = String::from("Proof\n");
    for press in &gone.presses {
        let Press { by, answer, took } = press;
        let what = if answer.is_new {
            "this press launched it".to_owned()
        } else {
            let before = Duration::from_millis(answer.pressed_ms_before);
            format!("{} had launched it {} before", answer.pressed_by, seconds(before.as_micros() as u64))
        };
        text.push_str(&format!(
            "  {by} pressed, answered after {}: {what}\n",
            seconds(took.as_micros() as u64)
        ));
    }
    text.push_str(&format!(
        "  {} presses, {} launch, audit of {} entries verified\n",
        gone.presses.len(),
        evidence.launches,
        evidence.audit_entries
    ));
    text.push_str(&format!(
        "  the simulators received messages for {} devices; the records of {} devices agree with them, one by one\n",
        thousands(summary.received),
        thousands(summary.devices),
    ));
    text.push_str(&format!(
        "  {} devices got two requests, {} are marked as possibly twice\n",
        thousands(summary.received_twice),
        thousands(summary.resent),
    ));
    let unreached = summary.devices - summary.accepted;
    if unreached > 0 {
        text.push_str(&format!(
            "  {} devices were not reached, for the reasons above: that is the message's fate, and no fault of the account\n",
            thousands(unreached),
        ));
    }
    if !demo.late_retries && summary.rejected > 0 {
        text.push_str(
            "  passing errors of the providers would be retried later; the demo does not wait for that\n",
        );
    }
    if demo.sim_mode == Mode::Validating {
        text.push_str(&format!(
            "  the simulators checked every request: {} faults found\n",
            thousands(summary.faults_found)
        ));
    }
    for (kind, found) in &evidence.faults_found {
        text.push_str(&format!(
            "  FOUND  {} times {kind}: {}\n",
            thousands(found.count),
            found.examples.join("; ")
        ));
    }
    for broken in &evidence.broken {
        text.push_str(&format!("  BROKEN  {broken}\n"));
    }
    if evidence.broken.is_empty() && evidence.faults_found.is_empty() {
        text.push_str("  no invariant is broken\n");
    }
    text
}
