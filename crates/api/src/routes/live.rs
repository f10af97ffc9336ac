//! How a launch looks now, from its rows and the workers' progress.

use backend::rows;
use model::launch::{Control, Finish, LaunchState};
use model::{Launch, LaunchId, Platform};
use report::launch::MarketFigures;
use report::{Counts, LaunchReport, Live, Progress};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::problem::{Problem, Result};

/// A launch and the rows beside it.
pub(crate) struct Standing {
    pub(crate) launch: Launch,
    pub(crate) control: Control,
    pub(crate) finish: Option<Finish>,
}

impl Standing {
    /// Reads a launch's rows.
    pub(crate) async fn read(api: &Api, id: LaunchId) -> Result<Self> {
        let store = &*api.backend.store;
        let missing = || Problem::not_found(format!("launch {id}"));
        let launch = rows::launch::get(store, id).await?.ok_or_else(missing)?;
        let mut standing = Self { launch, control: Control::default(), finish: None };
        standing.refresh(api).await?;
        Ok(standing)
    }

    /// Reads again what changes.
    pub(crate) async fn refresh(&mut self, api: &Api) -> Result<()> {
        let store = &*api.backend.store;
        let id = self.launch.id;
        self.control = rows::launch::control(store, id).await?.map(|row| row.body).unwrap_or_default();
        self.finish = rows::launch::finish(store, id).await?.map(|row| row.body);
        Ok(())
    }

    pub(crate) fn state(&self) -> LaunchState {
        LaunchState::of(&self.control, self.finish.as_ref())
    }
}

/// Live figures: from progress, never averaged; at the end the report's.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Figures {
    #[schema(value_type = String)]
    pub(crate) launch: LaunchId,
    #[schema(value_type = String)]
    pub(crate) state: LaunchState,
    pub(crate) is_over: bool,
    /// Devices of the wave.
    pub(crate) devices: u64,
    /// Devices that have an outcome.
    pub(crate) done: u64,
    /// Accepted or rejected by the provider.
    pub(crate) answered: u64,
    #[schema(value_type = Object)]
    pub(crate) counts: Counts,
    /// Answers in the last full second.
    pub(crate) per_second: u64,
    pub(crate) since_press_ms: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) shards: u32,
    pub(crate) shards_recorded: u64,
    pub(crate) shards_in_flight: u64,
    pub(crate) requests: u64,
    pub(crate) workers: usize,
    /// Accepted answers per 100 ms since the press.
    pub(crate) curve: Vec<u32>,
    #[schema(value_type = Vec<Object>)]
    pub(crate) parts: Vec<Part>,
}

/// One provider's devices in one market.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Part {
    platform: Platform,
    market: String,
    counts: Counts,
}

impl Figures {
    /// The figures of a launch whose shards are all recorded, from the records: a worker that died took its progress with it.
    pub(crate) fn settled(self, report: &LaunchReport) -> Self {
        let answers = &report.answers;
        let ms = |us: u64| (answers.count > 0).then_some(us as f64 / 1_000.0);
        let part = |figures: &MarketFigures| Part {
            platform: figures.platform,
            market: figures.market.to_string(),
            counts: figures.counts,
        };
        Self {
            done: report.counts.devices,
            answered: report.counts.accepted + report.counts.rejected,
            counts: report.counts,
            p50_ms: ms(answers.p50_us),
            p95_ms: ms(answers.p95_us),
            p99_ms: ms(answers.p99_us),
            shards_recorded: u64::from(report.shards_recorded),
            shards_in_flight: 0,
            requests: report.requests,
            curve: report.curve.slots().to_vec(),
            parts: report.by_market.iter().map(part).collect(),
            ..self
        }
    }
}

/// Reads the progress of every worker.
pub(crate) async fn figures(api: &Api, standing: &Standing) -> Result<Figures> {
    let id = standing.launch.id;
    let mut live = Live::default();
    for bytes in rows::fleet::progress(&*api.backend.store, id).await? {
        match Progress::decode(&bytes) {
            Ok(progress) => live.take(progress),
            Err(error) => tracing::warn!(%error, launch = %id, "a progress item cannot be read"),
        }
    }
    let counts = live.total();
    let curve = live.curve();
    let slots = curve.slots();
    let since_press = api.runtime.clock.now().since(standing.launch.pressed_at);
    // The slot of this very moment is not full yet: the ten before it are the last second.
    let full = (since_press.as_millis() / 100) as usize;
    let last_second = slots.get(full.saturating_sub(10).min(slots.len())..full.min(slots.len()));
    let quantile = |quantile| live.latencies().quantile_us(quantile).map(|us| us as f64 / 1_000.0);
    let parts =
        live.by_market().into_iter().map(|((platform, market), counts)| Part { platform, market, counts });
    Ok(Figures {
        launch: id,
        state: standing.state(),
        is_over: standing.state().is_over(),
        devices: standing.launch.devices,
        done: counts.devices,
        answered: counts.accepted + counts.rejected,
        counts,
        per_second: last_second.unwrap_or_default().iter().map(|count| u64::from(*count)).sum(),
        since_press_ms: since_press.as_millis() as u64,
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
        shards: standing.launch.shards,
        shards_recorded: live.shards_recorded(),
        shards_in_flight: live.shards_in_flight(),
        requests: live.requests(),
        workers: live.workers().count(),
        curve: slots.to_vec(),
        parts: parts.collect(),
    })
}
