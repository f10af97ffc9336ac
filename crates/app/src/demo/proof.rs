//! The proof: what the service's records say, device by device, against what the simulators received; and every invariant
//! that a launch can show.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::runtime::Clock;
use model::{Class, LaunchId};
use provider_sim::{Found, KeyCount, read_dump};
use report::text::thousands;
use report::{BrokenInvariant, Invariant, LaunchReport};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{Comparison, Records};
use super::client::{Client, each_line};
use super::go::{Gone, Press};
use super::population::Population;
use super::preparation::text;
use super::progress::Progress;
use crate::simulators::Simulators;

/// How often an export that is being written is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Everything that was found out.
pub(crate) struct Evidence {
    pub(crate) report: LaunchReport,
    /// The report as a marketer reads it.
    pub(crate) text: String,
    pub(crate) comparison: Comparison,
    /// Launches that the service knows of.
    pub(crate) launches: u64,
    pub(crate) audit_entries: u64,
    pub(crate) broken: Vec<BrokenInvariant>,
    /// What validating simulators found wrong with requests, by provider and kind.
    pub(crate) faults_found: Vec<(String, Found)>,
}

/// What the audit says of itself.
#[derive(Deserialize)]
struct Audit {
    is_whole: bool,
    entries: u64,
    broken: Option<String>,
}

/// Whoever checks.
pub(crate) struct Auditor<'a> {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) population: Population,
    pub(crate) has_late_retries: bool,
    /// Where the simulators' accounts are written.
    pub(crate) folder: &'a Path,
}

impl Auditor<'_> {
    /// Compares the accounts and checks what always holds.
    pub(crate) async fn examine(&self, gone: &Gone, simulators: &Simulators) -> Result<Evidence> {
        let launch = gone.launch;
        let path = format!("/v1/launches/{launch}/report");
        let report: LaunchReport = self.client.get(&path).await?;
        let text = self.client.get_text(&path).await?;
        let list: Value = self.client.get("/v1/launches?limit=500").await?;
        let launches = list["items"].as_array().context("launches are a list")?.len() as u64;
        let audit: Audit = self.client.get("/v1/audit/verify").await?;
        let comparison = self.compare(launch, simulators).await?;
        let mut broken = presses(&gone.presses, launches);
        broken.extend(conserved(&report, &comparison, self.population));
        broken.extend(comparison.broken());
        broken.extend(audited(&audit));
        broken.extend(simulated(&gone.presses));
        let faults_found = faults_found(simulators)?;
        let audit_entries = audit.entries;
        Ok(Evidence { report, text, comparison, launches, audit_entries, broken, faults_found })
    }

    async fn compare(&self, launch: LaunchId, simulators: &Simulators) -> Result<Comparison> {
        let mut progress = Progress::new(&self.clock, "compare accounts");
        let population = self.population;
        let records = tokio::task::spawn_blocking(move || Records::new(population));
        let file = self.export(launch, &mut progress).await?;
        let mut records = records.await??;
        let mut lines = 0_u64;
        each_line(self.client.stream(&file).await?, |line| {
            lines += 1;
            if lines.is_multiple_of(100_000) {
                progress.note(&format!("{} outcomes read", thousands(lines)));
            }
            records.take(line)
        })
        .await?;
        let received = self.received(simulators)?;
        let has_late_retries = self.has_late_retries;
        let comparing = tokio::task::spawn_blocking(move || records.compare(&received, has_late_retries));
        let comparison = comparing.await?;
        let received = thousands(comparison.received);
        progress.done(&format!("{} outcomes against {received} devices received", thousands(lines)));
        Ok(comparison)
    }

    /// Has the outcomes written out; the path of the file.
    async fn export(&self, launch: LaunchId, progress: &mut Progress) -> Result<String> {
        let path = format!("/v1/launches/{launch}/exports");
        let export = self.client.call(Method::POST, &path, Some(&json!({ "format": "ndjson" }))).await?;
        let path = format!("/v1/exports/{}", text(&export, "id")?);
        loop {
            let export: Value = self.client.get(&path).await?;
            match text(&export, "state")? {
                "done" => return Ok(format!("{path}/file")),
                "failed" => bail!("the export failed: {}", export["why"]),
                _ => progress.note(&format!("{} outcomes exported", export["devices"].as_u64().unwrap_or(0))),
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// How often each key arrived, as the simulators say.
    fn received(&self, simulators: &Simulators) -> Result<Vec<KeyCount>> {
        let mut all = Vec::new();
        for (simulator, name) in [(&simulators.apns, "apns"), (&simulators.fcm, "fcm")] {
            let path = self.folder.join(format!("received-{name}"));
            simulator.control()?.dump(&path).with_context(|| format!("account of the {name} simulator"))?;
            all.append(&mut read_dump(&path)?);
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        Ok(all)
    }
}

fn faults_found(simulators: &Simulators) -> Result<Vec<(String, Found)>> {
    let mut all = Vec::new();
    for (simulator, name) in [(&simulators.apns, "APNs"), (&simulators.fcm, "FCM")] {
        let report =
            simulator.control()?.report().with_context(|| format!("report of the {name} simulator"))?;
        all.extend(report.faults_found.into_iter().map(|(kind, found)| (format!("{name}, {kind}"), found)));
    }
    Ok(all)
}

/// I1: every press was answered with the same launch, at most one of them made it, and the service knows no other. (None
/// made it when the answer to the one that did was lost: it was asked again.)
fn presses(presses: &[Press], launches: u64) -> Vec<BrokenInvariant> {
    let mut broken = Vec::new();
    let mut found = |detail: String| broken.push(BrokenInvariant::new(Invariant::I1, detail));
    let first = presses.first().map(|press| press.answer.launch);
    if presses.iter().any(|press| Some(press.answer.launch) != first) {
        found(format!("presses were answered with different launches: {presses:?}"));
    }
    let new = presses.iter().filter(|press| press.answer.is_new).count();
    if new > 1 {
        found(format!("{new} presses were told that they launched the wave"));
    }
    if launches != 1 {
        found(format!("there are {launches} launches of one wave"));
    }
    broken
}

/// I2, as far as the report can tell: it adds up, and it agrees with the list of outcomes.
fn conserved(report: &LaunchReport, comparison: &Comparison, population: Population) -> Vec<BrokenInvariant> {
    let mut broken = report.check();
    let mut found = |detail: String| broken.push(BrokenInvariant::new(Invariant::I2, detail));
    if report.devices != population.devices {
        found(format!("the report is about {} devices, there are {}", report.devices, population.devices));
    }
    if report.counts.resent != comparison.resent {
        let (one, other) = (report.counts.resent, comparison.resent);
        found(format!("the report says {one} devices are marked resent, the outcomes {other}"));
    }
    for class in Class::ALL {
        let (one, other) = (report.counts.of(class), comparison.outcomes(class));
        if one != other {
            found(format!("the report says {one} devices are {}, the outcomes {other}", class.name()));
        }
    }
    broken
}

/// I6: the chain of the audit holds.
fn audited(audit: &Audit) -> Option<BrokenInvariant> {
    let detail = || audit.broken.clone().unwrap_or_else(|| "the chain does not hold".to_owned());
    (!audit.is_whole).then(|| BrokenInvariant::new(Invariant::I6, detail()))
}

/// I8: whoever presses is told that nothing reaches a phone.
fn simulated(presses: &[Press]) -> Option<BrokenInvariant> {
    let other = presses.iter().find(|press| press.answer.installation != "simulated")?;
    let detail = format!("a press was answered by a {} installation", other.answer.installation);
    Some(BrokenInvariant::new(Invariant::I8, detail))
}

#[cfg(test)]
mod tests {
    use super::super::go::Pressed;
    use super::*;

    fn press(launch: u128, is_new: bool) -> Press {
        let answer = Pressed {
            launch: LaunchId(launch),
            is_new,
            pressed_by: "ann".into(),
            pressed_ms_before: 0,
            installation: "simulated".into(),
        };
        Press { by: "ann", answer, took: Duration::ZERO }
    }

    #[test]
    fn one_launch_over_all_presses_is_what_must_be() {
        assert_eq!(presses(&[press(1, true), press(1, false)], 1), []);
        assert_eq!(presses(&[press(1, false), press(1, false)], 1), []);
        for (all, launches) in [
            ([press(1, true), press(2, false)], 1),
            ([press(1, true), press(1, true)], 1),
            ([press(1, true), press(1, false)], 2),
        ] {
            assert_eq!(presses(&all, launches)[0].invariant, Invariant::I1);
        }
    }

    #[test]
    fn an_installation_that_reaches_phones_is_noticed() {
        let mut real = press(1, true);
        real.answer.installation = "real".into();
        assert!(simulated(&[press(1, true)]).is_none());
        assert_eq!(simulated(&[press(1, true), real]).unwrap().invariant, Invariant::I8);
    }
}
