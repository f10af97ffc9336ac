//! What an engineer does before the day: import the devices, upload the audience, write the campaign, have it prepared.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::runtime::Clock;
use model::{Audience, AudienceState, Timestamp};
use report::text::thousands;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, Parts};
use super::population::{PROJECT, Population};
use super::progress::Progress;

/// How often something that takes its time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The demo's wave.
pub(crate) const WAVE: &str = "everybody";

/// What is said, by language; whoever reads another one gets English.
const TEXTS: [(&str, &str, &str); 6] = [
    ("en", "The answer is here", "You saw it on television. Now open the app."),
    ("es", "La respuesta está aquí", "Lo viste en la televisión. Ahora abre la aplicación."),
    ("pt", "A resposta está aqui", "Você viu na televisão. Agora abra o aplicativo."),
    ("de", "Die Antwort ist da", "Du hast es im Fernsehen gesehen. Jetzt öffne die App."),
    ("fr", "La réponse est là", "Vous l'avez vu à la télévision. Ouvrez maintenant l'application."),
    ("ja", "答えはここに", "テレビで見ましたね。さあ、アプリを開いてください。"),
];

/// A campaign that is ready to go.
pub(crate) struct Prepared {
    pub(crate) population: Population,
    /// `/v1/campaigns/...`.
    pub(crate) campaign: String,
    pub(crate) import: Duration,
    pub(crate) resolve: Duration,
    pub(crate) ready: Duration,
}

/// Somebody who prepares a campaign.
pub(crate) struct Engineer {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) population: Population,
    /// What has not got any further for this long is stuck.
    pub(crate) patience: Duration,
}

impl Engineer {
    /// Everything up to the moment when Go would be granted. `fcm_quota` are the messages per minute that the FCM
    /// simulator grants.
    pub(crate) async fn prepare(&self, fcm_quota: Option<u64>, late_retries_max: u8) -> Result<Prepared> {
        let import = self.import().await?;
        let (audience, resolve) = self.audience().await?;
        let quota = json!({ "quota_per_minute": fcm_quota });
        self.client.call(Method::PUT, &format!("/v1/projects/fcm/{PROJECT}"), Some(&quota)).await?;
        let campaign = self.campaign(&audience, late_retries_max).await?;
        let ready = self.make_ready(&campaign).await?;
        Ok(Prepared { population: self.population, campaign, import, resolve, ready })
    }

    /// Imports every device over HTTP and waits until all are in the directory.
    pub(crate) async fn import(&self) -> Result<Duration> {
        let mut progress = Progress::new(&self.clock, "import devices");
        let population = self.population;
        let written = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&written);
        let upload = self.client.upload(Method::POST, "/v1/imports", "text/csv", move |parts| {
            write_devices(population, parts, &counter)
        });
        let devices = thousands(population.devices);
        let import = self
            .watched(upload, || {
                progress
                    .note(&format!("{} of {devices} uploaded", thousands(written.load(Ordering::Relaxed))))
            })
            .await?;
        let path = format!("/v1/imports/{}", text(&import, "id")?);
        let mut watch = self.watch();
        loop {
            let import: Value = self.client.get(&path).await?;
            match text(&import, "state")? {
                "done" => break,
                "failed" => bail!("the import failed: {}", import["why"]),
                _ => {
                    let rows = import["rows"].as_u64().unwrap_or(0);
                    progress.note(&format!("{} of {devices} imported", thousands(rows)));
                    watch.look(rows, &import).await?;
                }
            }
        }
        Ok(progress.done(&format!("{devices} devices in the directory")))
    }

    /// Makes an audience of everybody, uploads its users and waits until it is frozen: its id, and how long that took.
    pub(crate) async fn audience(&self) -> Result<(String, Duration)> {
        let mut progress = Progress::new(&self.clock, "upload audience");
        let made =
            self.client.call(Method::POST, "/v1/audiences", Some(&json!({ "name": "everybody" }))).await?;
        let id = text(&made, "id")?.to_owned();
        let path = format!("/v1/audiences/{id}");
        let population = self.population;
        let upload = format!("{path}/upload");
        self.client
            .upload(Method::PUT, &upload, "text/csv", move |parts| write_users(population, parts))
            .await?;
        let mut watch = self.watch();
        let audience = loop {
            let audience: Audience = self.client.get(&path).await?;
            match &audience.state {
                AudienceState::Frozen { .. } => break audience,
                AudienceState::Failed { why } => bail!("the audience failed: {why}"),
                AudienceState::Resolving { rows } => {
                    progress.note(&format!("{} users read", thousands(*rows)));
                    watch.look(*rows, &audience.state).await?;
                }
                AudienceState::Empty | AudienceState::Uploaded => watch.look(0, &audience.state).await?,
            }
        };
        let report = audience.report.context("a frozen audience without report")?;
        let took = progress.done(&format!(
            "{} users, {} devices frozen, {} unknown, {} listed twice",
            thousands(report.users),
            thousands(report.devices),
            thousands(report.unknown_users),
            thousands(report.duplicate_users),
        ));
        Ok((id, took))
    }

    async fn campaign(&self, audience: &str, late_retries_max: u8) -> Result<String> {
        let variants: BTreeMap<_, _> = TEXTS
            .into_iter()
            .map(|(locale, title, body)| (locale, json!({ "title": title, "body": body })))
            .collect();
        let campaign = json!({
            "name": "The big game",
            "content": { "variants": variants, "fallback": "en" },
            "audience": audience,
            "waves": [{ "name": WAVE, "markets": [] }],
            "policy": { "late_retries_max": late_retries_max },
        });
        let made = self.client.call(Method::POST, "/v1/campaigns", Some(&campaign)).await?;
        let languages = TEXTS.len();
        eprintln!(
            "  {:<22}\"The big game\" in {languages} languages, one wave of all markets",
            "write campaign"
        );
        Ok(format!("/v1/campaigns/{}", text(&made, "id")?))
    }

    /// Has workers load the snapshot and open their connections, and waits for both; connections that do not come are gone
    /// without, as long as nobody refuses Go for it.
    async fn make_ready(&self, campaign: &str) -> Result<Duration> {
        let mut progress = Progress::new(&self.clock, "prepare");
        self.client.call(Method::PUT, &format!("{campaign}/prepare"), None).await?;
        let readiness = format!("{campaign}/waves/{WAVE}/readiness");
        let mut watch = self.watch();
        loop {
            let judged: Value = self.client.get(&readiness).await?;
            let pools = self.pools().await?;
            let (warm, wanted) = connections(&pools);
            if judged["is_ready"] == true && warm >= wanted {
                return Ok(
                    progress.done(&format!("every interlock holds, {} connections warm", thousands(warm)))
                );
            }
            let missing = what_is_missing(&judged, &pools);
            progress.note(&format!("{warm} of {wanted} connections warm; {missing}"));
            let Err(stuck) = watch.look(warm, &missing).await else { continue };
            if judged["is_ready"] == true {
                let fewer =
                    format!("every interlock holds, only {warm} of {wanted} connections warm; {missing}");
                return Ok(progress.done(&fewer));
            }
            return Err(self.press_in_vain(campaign).await.unwrap_or(stuck));
        }
    }

    /// Presses Go all the same when it never became ready: the refusal, which says why. `None` when there is none.
    async fn press_in_vain(&self, campaign: &str) -> Option<anyhow::Error> {
        let read = self.client.tag(campaign).await.ok()?;
        let refusal = self.client.press(&format!("{campaign}/waves/{WAVE}/launch"), &read).await.err()?;
        Some(refusal.context("Go is refused"))
    }

    /// The pools of all workers.
    async fn pools(&self) -> Result<Vec<WorkerPool>> {
        let workers: Vec<Worker> = self.client.get("/v1/workers").await?;
        Ok(workers.into_iter().flat_map(|worker| worker.pools).collect())
    }

    fn watch(&self) -> Watch {
        let (clock, since) = (Arc::clone(&self.clock), self.clock.monotonic());
        Watch { clock, last: 0, since, patience: self.patience }
    }

    /// Waits for `work`, showing how far it is.
    async fn watched<T>(&self, work: impl Future<Output = Result<T>>, mut show: impl FnMut()) -> Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = self.clock.sleep(LOOK_EVERY) => show(),
            }
        }
    }
}

/// Gives up on what does not get any further.
struct Watch {
    clock: Arc<dyn Clock>,
    last: u64,
    since: model::Monotonic,
    patience: Duration,
}

impl Watch {
    /// Waits a moment, unless `progress` has not changed for too long.
    async fn look(&mut self, progress: u64, state: &impl std::fmt::Debug) -> Result<()> {
        let now = self.clock.monotonic();
        if progress != self.last {
            (self.last, self.since) = (progress, now);
        }
        if now.since(self.since) > self.patience {
            bail!("nothing has happened for {} s: {state:?}", self.patience.as_secs());
        }
        self.clock.sleep(LOOK_EVERY).await;
        Ok(())
    }
}

/// A worker's heartbeat, as far as the demo needs it.
#[derive(Deserialize)]
pub(crate) struct Worker {
    pub(crate) pools: Vec<WorkerPool>,
    pub(crate) snapshot_bytes: u64,
    pub(crate) resident_bytes: u64,
}

/// A pool in a heartbeat.
#[derive(Deserialize)]
pub(crate) struct WorkerPool {
    app: String,
    connections: u64,
    warm: u64,
    last_error: String,
}

/// Warm connections, and how many there should be.
fn connections(pools: &[WorkerPool]) -> (u64, u64) {
    (pools.iter().map(|pool| pool.warm).sum(), pools.iter().map(|pool| pool.connections).sum())
}

/// The interlocks that do not hold; if all do, what keeps connections from becoming warm.
fn what_is_missing(judged: &Value, pools: &[WorkerPool]) -> String {
    let interlocks = judged["interlocks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missing = interlocks.iter().filter(|interlock| interlock["holds"] != true);
    let missing: Vec<_> = missing.map(|interlock| interlock["detail"].as_str().unwrap_or_default()).collect();
    if !missing.is_empty() {
        return missing.join("; ");
    }
    let cold = pools.iter().filter(|pool| pool.warm < pool.connections && !pool.last_error.is_empty());
    cold.map(|pool| format!("{}: {}", pool.app, pool.last_error)).collect::<Vec<_>>().join("; ")
}

/// A text field of an answer.
pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str> {
    answer[field].as_str().with_context(|| format!("the answer has no {field:?}: {answer:.200}"))
}

fn write_devices(population: Population, parts: &mut Parts, written: &AtomicU64) {
    parts.line().extend_from_slice(b"user,platform,key,app,locale,market,registered_at\n");
    let registered_at: Timestamp = population.registered_at;
    let registered_at = registered_at.to_string();
    for device in population.devices() {
        if parts.is_cut() {
            return;
        }
        let platform = device.platform.name();
        for field in [&device.user, platform, &device.key, &device.app, &device.locale, &device.market] {
            let line = parts.line();
            line.extend_from_slice(field.as_bytes());
            line.push(b',');
        }
        // Writing to a vector cannot fail.
        let _ = parts.line().write_all(registered_at.as_bytes());
        parts.line().push(b'\n');
        written.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_users(population: Population, parts: &mut Parts) {
    parts.line().extend_from_slice(b"user\n");
    for user in population.listed_users() {
        if parts.is_cut() {
            return;
        }
        let line = parts.line();
        line.extend_from_slice(user.as_bytes());
        line.push(b'\n');
    }
}
