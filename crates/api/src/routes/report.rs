//! The report of a launch: from plan and records only.

use ::report::{LaunchReport, ShardRecord, Stages};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backend::rows;
use http::{HeaderMap, header};
use model::{LaunchId, Plan};
use serde::Serialize;
use utoipa::ToSchema;

use super::live::Standing;
use crate::Api;
use crate::extract::Place;
use crate::problem::{Problem, Result};

/// The report of a launch, also while it runs. `Accept: text/plain` gives it for reading.
#[utoipa::path(get, path = "/v1/launches/{id}/report", tag = "report", params(("id" = String, Path)),
    responses((status = 200, body = Object)))]
pub(crate) async fn report(
    State(api): State<Api>,
    Place(id): Place<LaunchId>,
    headers: HeaderMap,
) -> Result<Response> {
    let standing = Standing::read(&api, id).await?;
    let report = of(&api, &standing).await?;
    let wants_text = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.trim_start().starts_with("text/plain"));
    if wants_text {
        let text = ::report::text::render(&report);
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    Ok(Json(report).into_response())
}

/// Everything that plan and records say.
pub(crate) async fn of(api: &Api, standing: &Standing) -> Result<LaunchReport> {
    let launch = &standing.launch;
    let manifest = rows::audience::manifest(&*api.backend.blobs, launch.snapshot).await?;
    let manifest = manifest.ok_or_else(|| Problem::not_found(format!("manifest of {}", launch.snapshot)))?;
    let plan = Plan::new(&manifest, &launch.wave, &launch.sizes);
    let mut records = Vec::new();
    for slice in 0..plan.slices() {
        for is_late in [false, true] {
            let rows = rows::shard::of_slice(&*api.backend.store, launch.id, slice, is_late).await?;
            // While it runs, what is known of a shard that somebody still sends is no record of it.
            let stored = rows.into_iter().filter(|stored| is_late || stored.row.is_recorded());
            let stored = stored.filter_map(|stored| stored.row.record);
            records.extend(stored.filter_map(|bytes| {
                // A record that cannot be read is missing from the report, and I2 then says so.
                ShardRecord::decode(&bytes)
                    .inspect_err(
                        |error| tracing::error!(%error, launch = %launch.id, "a record cannot be read"),
                    )
                    .ok()
            }));
        }
    }
    let troubles = rows::launch::troubles(&*api.backend.store, launch.id).await?;
    let report = LaunchReport::new(launch, &plan, &manifest, records).with_troubles(troubles);
    Ok(report.with_state(&standing.control, standing.finish.as_ref()))
}

/// When a stage was reached, in microseconds since the press.
#[derive(Serialize, ToSchema)]
pub(crate) struct StageView {
    stage: &'static str,
    count: u64,
    min_us: u64,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// Where the time of a launch went, stage by stage.
#[utoipa::path(get, path = "/v1/launches/{id}/stages", tag = "report", params(("id" = String, Path)),
    responses((status = 200, body = Vec<StageView>)))]
pub(crate) async fn stages(
    State(api): State<Api>,
    Place(id): Place<LaunchId>,
) -> Result<Json<Vec<StageView>>> {
    Standing::read(&api, id).await?;
    let mut stages = Stages::default();
    for bytes in rows::launch::stages(&*api.backend.store, id).await? {
        match Stages::decode(&bytes) {
            Ok(seen) => stages.merge(&seen),
            Err(error) => tracing::warn!(%error, launch = %id, "stages cannot be read"),
        }
    }
    let view = |(stage, times): (::report::Stage, ::report::Quantiles)| StageView {
        stage: stage.name(),
        count: times.count,
        min_us: times.min_us,
        p50_us: times.p50_us,
        p95_us: times.p95_us,
        p99_us: times.p99_us,
        max_us: times.max_us,
    };
    Ok(Json(stages.quantiles().map(view).collect()))
}
