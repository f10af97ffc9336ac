//! What must hold before a wave may go live, judged by the server at this moment; each interlock by its name.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use backend::rows;
use backend::rows::fleet::Heartbeat;
use message::Context;
use model::campaign::Fault;
use model::suppression::SPREAD_WITHIN;
use model::{Campaign, CampaignId, Digest, LaunchId, Manifest, Plan, Platform, Timestamp, Wave};
use serde::Serialize;
use utoipa::ToSchema;

use super::campaigns;
use crate::Api;
use crate::extract::Place;
use crate::problem::{Problem, Result};

/// One interlock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Interlock {
    /// Its name, stable.
    pub(crate) name: &'static str,
    /// Whether it holds.
    pub(crate) holds: bool,
    /// What is missing, or what was found.
    pub(crate) detail: String,
}

/// All interlocks of a wave, and what a launch needs once they hold.
pub(crate) struct Judgement {
    pub(crate) interlocks: Vec<Interlock>,
    pub(crate) snapshot: Option<Digest>,
    pub(crate) plan: Option<Plan>,
    pub(crate) ready_workers: u32,
    /// The version of the late list that a ready worker holds at least.
    pub(crate) late_list: u64,
}

impl Judgement {
    fn add(&mut self, name: &'static str, verdict: std::result::Result<String, String>) {
        let holds = verdict.is_ok();
        let detail = verdict.unwrap_or_else(|missing| missing);
        self.interlocks.push(Interlock { name, holds, detail });
    }

    /// The interlocks that do not hold, as faults.
    pub(crate) fn broken(&self) -> Vec<Fault> {
        let broken = self.interlocks.iter().filter(|interlock| !interlock.holds);
        let fault = |interlock: &Interlock| Fault {
            pointer: format!("/{}", interlock.name),
            detail: interlock.detail.clone(),
        };
        broken.map(fault).collect()
    }
}

/// Judges `wave` of `campaign` now.
pub(crate) async fn judge(api: &Api, campaign: &Campaign, wave: &Wave) -> Result<Judgement> {
    let mut judgement =
        Judgement { interlocks: Vec::new(), snapshot: None, plan: None, ready_workers: 0, late_list: 0 };
    let manifest = match campaigns::snapshot(api, campaign).await? {
        Ok(snapshot) => {
            judgement.snapshot = Some(snapshot);
            let manifest = rows::audience::manifest(&*api.backend.blobs, snapshot).await?;
            manifest.ok_or_else(|| format!("the manifest of snapshot {snapshot} is missing"))
        }
        Err(missing) => Err(missing),
    };
    match manifest {
        Ok(manifest) => {
            judgement.add("snapshot-frozen", Ok(format!("snapshot {}", manifest.digest)));
            let now = api.runtime.clock.now();
            let (workers, list) = futures::try_join!(
                rows::fleet::heartbeats(&*api.backend.store),
                rows::suppression::list(&*api.backend.store)
            )?;
            judgement.late_list = list.body.versions.required(now, SPREAD_WITHIN);
            judge_manifest(api, &mut judgement, campaign, wave, &manifest, &workers, now);
        }
        Err(missing) => judgement.add("snapshot-frozen", Err(missing)),
    }
    Ok(judgement)
}

fn judge_manifest(
    api: &Api,
    judgement: &mut Judgement,
    campaign: &Campaign,
    wave: &Wave,
    manifest: &Manifest,
    workers: &[Heartbeat],
    now: Timestamp,
) {
    let plan = Plan::new(manifest, wave, &api.config.sizes);
    let devices = plan.devices();
    judgement.add(
        "wave-has-devices",
        if devices > 0 { Ok(format!("{devices} devices")) } else { Err(no_devices(wave, manifest)) },
    );
    judgement.add("content-composes", content_composes(campaign, wave, manifest, now));
    let ready: Vec<&Heartbeat> =
        workers.iter().filter(|worker| worker.is_ready(manifest.digest, judgement.late_list, now)).collect();
    judgement.ready_workers = ready.len() as u32;
    let verdict = workers_ready(&ready, workers, manifest.digest, judgement.late_list, now);
    judgement.add("workers-ready", verdict);
    judgement.add("apps-connected", apps_connected(&ready, wave, manifest));
    judgement.plan = Some(plan);
}

fn no_devices(wave: &Wave, manifest: &Manifest) -> String {
    let markets: BTreeSet<&str> = manifest.groups.iter().map(|group| group.market.as_str()).collect();
    let markets: Vec<&str> = markets.into_iter().take(20).collect();
    format!("wave {:?} has no device; the snapshot's markets are {}", wave.name, markets.join(", "))
}

/// Every group's message must compose and fit.
fn content_composes(
    campaign: &Campaign,
    wave: &Wave,
    manifest: &Manifest,
    now: Timestamp,
) -> std::result::Result<String, String> {
    let groups = manifest.groups.iter().filter(|group| wave.includes(group));
    let locales: BTreeSet<&str> = groups.map(|group| group.locale.as_str()).collect();
    let collapse_id = message::compose::collapse_id(LaunchId(0));
    let not_after = now + std::time::Duration::from_secs(u64::from(campaign.policy.time_to_live_s));
    let context = Context { collapse_id, not_after, now };
    let mut faults = BTreeSet::new();
    for locale in &locales {
        if let Err(found) = message::compose(&campaign.content, locale, &context) {
            faults.extend(found.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)));
        }
    }
    if faults.is_empty() {
        return Ok(format!("{} locales", locales.len()));
    }
    Err(faults.into_iter().collect::<Vec<_>>().join("; "))
}

fn workers_ready(
    ready: &[&Heartbeat],
    workers: &[Heartbeat],
    snapshot: Digest,
    late_list: u64,
    now: Timestamp,
) -> std::result::Result<String, String> {
    if !ready.is_empty() {
        return Ok(format!("{} of {} workers", ready.len(), workers.len()));
    }
    if workers.is_empty() {
        return Err("no worker runs".into());
    }
    let reasons: Vec<String> =
        workers.iter().map(|worker| why_not_ready(worker, snapshot, late_list, now)).collect();
    Err(reasons.join("; "))
}

fn why_not_ready(worker: &Heartbeat, snapshot: Digest, late_list: u64, now: Timestamp) -> String {
    let name = &worker.worker;
    let age = now.since(worker.at);
    let failed = worker.failed.iter().find(|(digest, _)| *digest == snapshot);
    if age > rows::fleet::HEARTBEAT_AGE_MAX {
        return format!("{name} was last heard of {:.1} s ago", age.as_secs_f64());
    }
    if let Some((_, why)) = failed {
        return format!("{name} cannot load the snapshot: {why}");
    }
    if !worker.snapshots.contains(&snapshot) {
        return format!("{name} has not loaded the snapshot: prepare the campaign, or wait");
    }
    let held = worker.late_list_of(snapshot);
    if held < late_list {
        return format!(
            "{name} holds version {held} of the late list, {late_list} is wanted: does a resolver run?"
        );
    }
    if worker.clock_error_us > rows::fleet::CLOCK_ERROR_US_MAX {
        return format!("{name} has a clock error of {} ms", worker.clock_error_us / 1_000);
    }
    if worker.pools.is_empty() {
        return format!("{name} has no app configured");
    }
    let cold = worker.pools.iter().filter(|pool| pool.warm == 0);
    let cold: Vec<String> =
        cold.map(|pool| format!("{} {} ({})", pool.platform, pool.app, pool.last_error)).collect();
    format!("{name} has no warm connection to {}", cold.join(", "))
}

/// Every app of the wave needs a warm pool on a ready worker.
fn apps_connected(
    ready: &[&Heartbeat],
    wave: &Wave,
    manifest: &Manifest,
) -> std::result::Result<String, String> {
    let groups = manifest.groups.iter().filter(|group| wave.includes(group));
    let apps: BTreeSet<(Platform, &str)> = groups.map(|group| (group.platform, group.app.as_str())).collect();
    let is_connected = |(platform, app): &(Platform, &str)| {
        let pools = ready.iter().flat_map(|worker| &worker.pools);
        pools.filter(|pool| pool.warm > 0).any(|pool| pool.platform == *platform && pool.app == *app)
    };
    let missing: Vec<String> = apps
        .iter()
        .filter(|app| !is_connected(app))
        .map(|(platform, app)| format!("{platform} {app}"))
        .collect();
    if missing.is_empty() {
        return Ok(format!("{} apps", apps.len()));
    }
    Err(format!("no ready worker has a warm connection for {}", missing.join(", ")))
}

/// Whether a wave may go, and what is missing.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    is_ready: bool,
    /// The campaign's version that was judged: what `If-Match` of Go names.
    version: u64,
    devices: u64,
    ready_workers: u32,
    interlocks: Vec<Interlock>,
}

/// Judge a wave's interlocks without launching it.
#[utoipa::path(get, path = "/v1/campaigns/{id}/waves/{wave}/readiness", tag = "launch",
    params(("id" = String, Path), ("wave" = String, Path)), responses((status = 200, body = Readiness)))]
pub(crate) async fn readiness(
    State(api): State<Api>,
    Place((id, wave)): Place<(CampaignId, String)>,
) -> Result<Json<Readiness>> {
    let row = campaigns::read(&api, id).await?;
    let wave = find_wave(&row.body, &wave)?;
    let judgement = judge(&api, &row.body, wave).await?;
    Ok(Json(Readiness {
        is_ready: judgement.broken().is_empty(),
        version: row.version,
        devices: judgement.plan.as_ref().map_or(0, Plan::devices),
        ready_workers: judgement.ready_workers,
        interlocks: judgement.interlocks,
    }))
}

/// A wave of a campaign by its name.
pub(crate) fn find_wave<'a>(campaign: &'a Campaign, name: &str) -> Result<&'a Wave> {
    let wave = campaign.waves.iter().find(|wave| wave.name == name);
    wave.ok_or_else(|| Problem::not_found(format!("wave {name:?} in campaign {}", campaign.id)))
}
