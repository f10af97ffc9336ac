//! `fanfare bench audience`: devices imported over HTTP, fresh and as an upsert beside calls for one device each, users
//! uploaded, resolved and frozen, outcomes exported, by the real API and resolver on an embedded installation of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use backend::rows::shard::{Claim, ShardName, ShardRow};
use backend::store::Transacted;
use backend::{Backend, Expect, rows};
use clap::Args;
use model::campaign::{Content, Policy, Wave};
use model::launch::Finish;
use model::runtime::{Clock, Randomness};
use model::{
    Audience, AudienceId, AudienceState, CampaignId, Launch, LaunchId, Manifest, Outcome, OutcomeRuns, Plan,
    Purpose, ShardSizes, Timestamp,
};
use report::{Part, Positions, ShardRecord};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::lists::{self, List, Uploaded};
use super::singles::{self, Singles};
use crate::config::{Config, InstallationKind};
use crate::demo::client::Client;
use crate::demo::population::Population;
use crate::demo::preparation::{Engineer, text};
use crate::machine;
use crate::roles::{RoleName, Service};
use crate::runtime::{self, SystemClock};

/// What has not got any further for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Records written in one call.
const RECORDS: usize = 64;

/// Measure importing, uploading, resolving, exporting, comparing, and suppressing.
#[derive(Args)]
pub(crate) struct AudienceBench {
    /// Devices, half of them iPhones; users are two thirds of that.
    #[arg(long, default_value_t = 6_000_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    devices: u64,
    /// Decides the population.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// What was measured. Seconds are of the wall clock, from the request to the end of the work, with whoever sends the rows, and in
/// imports makes them, on the same cores.
#[derive(Serialize)]
struct Figures {
    devices: u64,
    users: u64,
    import_fresh_s: f64,
    import_fresh_per_second: f64,
    import_upsert_s: f64,
    import_upsert_per_second: f64,
    /// Calls for one device each, beside the upsert.
    singles: Singles,
    /// Users sent until they are stored, on the disk and digested.
    upload_s: f64,
    upload_rows_per_second: f64,
    upload_mb_per_second: f64,
    upload_and_resolve_s: f64,
    export_s: f64,
    export_per_second: f64,
    export_bytes: u64,
    /// As many bytes written one after the other, in the same run, and how often that fits into the export.
    plain_write_s: f64,
    export_per_plain_write: f64,
    peak_bytes: u64,
    /// The difference between all of them and a tenth less, and the most memory meanwhile.
    difference_s: f64,
    difference_per_second: f64,
    difference_peak_bytes: u64,
    /// A quarter of the users put on the late list by a file.
    late_list_users: u64,
    late_list_s: f64,
    late_list_per_second: f64,
}

impl AudienceBench {
    pub(crate) fn run(&self) -> Result<()> {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let folder =
            tempfile::Builder::new().prefix("fanfare-bench-").tempdir().context("temporary folder")?;
        let figures = tokio.block_on(Box::pin(self.measure(folder.path())))?;
        if self.json {
            println!("{}", serde_json::to_string(&figures)?);
        } else {
            print!("{}", figures.table());
        }
        Ok(())
    }

    async fn measure(&self, folder: &Path) -> Result<Figures> {
        let mut config = Config::load(None, std::iter::empty())?;
        config.installation.kind = InstallationKind::Simulated;
        config.backend.folder = folder.to_owned();
        config.api.listen = "127.0.0.1:0".parse()?;
        let service = Service::start(&config, &[RoleName::Api, RoleName::Resolver]).await?;
        let address = service.address().context("the api has no address")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let client = Client::new(&format!("http://{address}"), "eve", Arc::clone(&clock))?;
        let registered_at = Timestamp::from_secs(1_700_000_000);
        let population = Population { seed: self.seed, devices: self.devices, registered_at, only: None };
        let engineer =
            Engineer { client: client.clone(), clock: Arc::clone(&clock), population, patience: PATIENCE };
        machine::forget_peak();
        let fresh = engineer.import().await?;
        // Every device again, registered a day later: each is changed.
        let again = Population { registered_at: registered_at + Duration::from_secs(86_400), ..population };
        let again = Engineer {
            client: client.clone(),
            clock: Arc::clone(&clock),
            population: again,
            patience: PATIENCE,
        };
        let done = CancellationToken::new();
        let upsert = async {
            // Dropped also when the import fails.
            let _done = done.clone().drop_guard();
            again.import().await
        };
        let beside = client.acting_as("app")?;
        let (upsert, singles) = futures::join!(upsert, singles::run(&beside, &*clock, &done));
        let (upsert, singles) = (upsert?, singles?);
        let list = List::of(population.listed_users());
        let uploaded = list.audience(&client, &*clock).await?;
        let audience: Audience = client.get(&format!("/v1/audiences/{}", uploaded.id)).await?;
        let audience_id = audience.id;
        let snapshot = audience.snapshot().context("the audience is not frozen")?;
        let launch = write_launch(service.backend(), snapshot).await?;
        let start = clock.monotonic();
        let asked = json!({ "format": "csv" });
        let bytes = export(&client, &*clock, &format!("/v1/launches/{launch}/exports"), &asked).await?;
        let exporting = clock.monotonic().since(start);
        let plain = lists::write_plainly(folder, bytes, &*clock)?;
        let peak_bytes = machine::peak_bytes();
        let users = audience.report.context("a frozen audience without report")?.users;
        let sample = sample(&client, &*clock, audience_id, users - users / 10).await?;
        machine::forget_peak();
        let start = clock.monotonic();
        let asked =
            json!({ "what": "difference", "audience": audience_id, "against": sample, "format": "csv" });
        export(&client, &*clock, "/v1/exports", &asked).await?;
        let difference = clock.monotonic().since(start);
        let difference_peak_bytes = machine::peak_bytes();
        let gone = List::of(population.listed_users().step_by(4));
        let suppressed = gone.suppress(&client, &*clock).await?;
        let times = [fresh, upsert, exporting, plain, difference];
        let figures = self.figures(times, (&list, &uploaded), (&gone, &suppressed), bytes, singles);
        service.stop().await?;
        Ok(Figures { users, peak_bytes, difference_peak_bytes, ..figures })
    }

    fn figures(
        &self,
        times: [Duration; 5],
        (list, uploaded): (&List, &Uploaded),
        (gone, suppressed): (&List, &Uploaded),
        export_bytes: u64,
        singles: Singles,
    ) -> Figures {
        let [fresh, upsert, export, plain, difference] = times.map(|time| time.as_secs_f64());
        let (upload, late_list) = (uploaded.stored.as_secs_f64(), suppressed.over.as_secs_f64());
        let devices = self.devices as f64;
        Figures {
            devices: self.devices,
            users: 0,
            import_fresh_s: fresh,
            import_fresh_per_second: devices / fresh,
            import_upsert_s: upsert,
            import_upsert_per_second: devices / upsert,
            singles,
            upload_s: upload,
            upload_rows_per_second: list.rows as f64 / upload,
            upload_mb_per_second: list.bytes() as f64 / 1e6 / upload,
            upload_and_resolve_s: uploaded.over.as_secs_f64(),
            export_s: export,
            export_per_second: devices / export,
            export_bytes,
            plain_write_s: plain,
            export_per_plain_write: export / plain,
            peak_bytes: 0,
            difference_s: difference,
            // Both have all but a tenth.
            difference_per_second: devices * 1.9 / difference,
            difference_peak_bytes: 0,
            late_list_users: gone.rows,
            late_list_s: late_list,
            late_list_per_second: gone.rows as f64 / late_list,
        }
    }
}

/// A launch that is over, everybody accepted: an export needs its rows.
async fn write_launch(backend: &Backend, snapshot: model::Digest) -> Result<LaunchId> {
    let runtime = runtime::real();
    let manifest = rows::audience::manifest(&*backend.blobs, snapshot).await?.context("no manifest")?;
    let launch = launch(&manifest, &*runtime.randomness, runtime.clock.now());
    let (store, plan) = (&*backend.store, Plan::new(&manifest, &launch.wave, &launch.sizes));
    if store.transact(rows::launch::create(&launch)).await? != Transacted::Done {
        bail!("the launch could not be written");
    }
    for shards in plan.shards().chunks(RECORDS) {
        let mut writes = Vec::new();
        for shard in shards {
            let name = ShardName {
                launch: launch.id,
                slice: plan.slice_of(shard.number),
                shard: shard.number,
                attempt: 0,
            };
            let part = Part {
                worker: "bench".into(),
                positions: Positions::all(shard.count),
                outcomes: OutcomeRuns::uniform(Outcome::ACCEPTED, shard.count),
                ..Part::default()
            };
            let record = ShardRecord::new(launch.id, shard.number, 0, shard.count, 1, part)?;
            let claim =
                Claim { owner: 1, epoch: 1, attempts: 1, lease_until: Timestamp(0), is_started: false };
            let row = ShardRow { claim, record: Some(record.encode()), is_open: false };
            writes.push(rows::shard::put(&name, &row, Expect::Absent));
        }
        store.write(writes).await?;
    }
    let finish = Finish { at: launch.pressed_at, late_over_at: Some(launch.pressed_at) };
    store
        .write(vec![
            rows::launch::put_finish(launch.id, &finish, Expect::Absent),
            rows::launch::close(launch.id),
        ])
        .await?;
    Ok(launch.id)
}

fn launch(manifest: &Manifest, randomness: &dyn Randomness, now: Timestamp) -> Launch {
    let (wave, sizes) = (Wave { name: "all".into(), markets: Vec::new() }, ShardSizes::default());
    let plan = Plan::new(manifest, &wave, &sizes);
    Launch {
        id: LaunchId::random(randomness),
        campaign: CampaignId::random(randomness),
        campaign_name: "bench".into(),
        campaign_version: 1,
        wave,
        purpose: Purpose::Live,
        snapshot: manifest.digest,
        content: Content::default(),
        policy: Policy::default(),
        sizes,
        slices: plan.slices(),
        shards: plan.shards().len() as u32,
        devices: plan.devices(),
        pressed_by: "bench".into(),
        pressed_at: now,
        not_after: now,
        ready_workers: 0,
        late_list: 0,
    }
}

/// Has a sample drawn; its id.
async fn sample(client: &Client, clock: &dyn Clock, of: AudienceId, users: u64) -> Result<AudienceId> {
    let asked = json!({ "name": "nine tenths", "sample": { "of": of, "users": users } });
    let made: Audience =
        serde_json::from_value(client.call(Method::POST, "/v1/audiences", Some(&asked)).await?)?;
    loop {
        let audience: Audience = client.get(&format!("/v1/audiences/{}", made.id)).await?;
        match audience.state {
            AudienceState::Frozen { .. } => return Ok(made.id),
            AudienceState::Failed { why } => bail!("the sample failed: {why}"),
            _ => clock.sleep(LOOK_EVERY).await,
        }
    }
}

/// Has something exported; how many bytes that were.
async fn export(client: &Client, clock: &dyn Clock, path: &str, asked: &Value) -> Result<u64> {
    let made = client.call(Method::POST, path, Some(asked)).await?;
    let path = format!("/v1/exports/{}", text(&made, "id")?);
    loop {
        let export: Value = client.get(&path).await?;
        match text(&export, "state")? {
            "done" => return export["bytes"].as_u64().context("an export without bytes"),
            "failed" => bail!("the export failed: {}", export["why"]),
            _ => clock.sleep(LOOK_EVERY).await,
        }
    }
}

impl Figures {
    fn table(&self) -> String {
        let rows = [
            (
                "import, fresh",
                format!("{:.1} s, {:.0} devices/s", self.import_fresh_s, self.import_fresh_per_second),
            ),
            (
                "import again, all changed",
                format!("{:.1} s, {:.0} devices/s", self.import_upsert_s, self.import_upsert_per_second),
            ),
            (
                "one device a call, beside that",
                format!(
                    "{} calls, {:.0} a second; p50 {:.1}, p99 {:.1}, max {:.1} ms",
                    self.singles.calls,
                    self.singles.per_second,
                    self.singles.p50_ms,
                    self.singles.p99_ms,
                    self.singles.max_ms
                ),
            ),
            (
                "users uploaded",
                format!(
                    "{:.2} s, {:.0} MB/s, {:.0} rows/s",
                    self.upload_s, self.upload_mb_per_second, self.upload_rows_per_second
                ),
            ),
            ("users uploaded, resolved and frozen", format!("{:.1} s", self.upload_and_resolve_s)),
            (
                "every outcome exported as CSV",
                format!("{:.1} s, {:.0} devices/s", self.export_s, self.export_per_second),
            ),
            (
                "as many bytes written plainly",
                format!(
                    "{:.2} s for {:.0} MB; the export took {:.1} times as long",
                    self.plain_write_s,
                    self.export_bytes as f64 / 1e6,
                    self.export_per_plain_write
                ),
            ),
            ("most memory resident", format!("{:.0} MB", self.peak_bytes as f64 / 1e6)),
            (
                "the difference to nine tenths of them",
                format!("{:.1} s, {:.0} devices/s", self.difference_s, self.difference_per_second),
            ),
            ("most memory resident meanwhile", format!("{:.0} MB", self.difference_peak_bytes as f64 / 1e6)),
            (
                "users put on the late list by a file",
                format!(
                    "{} in {:.1} s, {:.0} users/s",
                    self.late_list_users, self.late_list_s, self.late_list_per_second
                ),
            ),
        ];
        let lines = rows.iter().map(|(what, figure)| format!("  {what:<38} {figure}\n"));
        format!("{} devices of {} users\n{}", self.devices, self.users, lines.collect::<String>())
    }
}
