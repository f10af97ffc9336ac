//! What is done with an upload that is whole: an import is made of it, or it becomes the list of an audience. The rows, the
//! audit and, where it came in parts, the upload's own row change in one transaction; before it the blob is there, so that a
//! process killed in between loses nothing, and does the same once more.

use axum::Json;
use axum::response::{IntoResponse, Response};
use backend::blobs::Growing;
use backend::rows::Versioned;
use backend::rows::audit::Event;
use backend::rows::upload::{Parts, PartsState, Target};
use backend::{Expect, Write, rows};
use http::{HeaderValue, StatusCode, header};
use model::audience::Upload;
use model::import::{Destination, Import, ImportState};
use model::queued::{Resolve, TakeIn, ToResolver};
use model::{Audience, AudienceId, AudienceState, ImportId};

use super::{discard, now};
use crate::Api;
use crate::change::{audited, event};
use crate::idempotency::{Found, Slot};
use crate::problem::{Problem, Result};
use crate::routes::audiences;
use crate::routes::imports::{enqueue, uploaded};

/// An upload and what it is for.
pub(crate) struct Order {
    pub(crate) target: Target,
    pub(crate) actor: String,
    pub(crate) upload: Upload,
    pub(crate) idempotency_key: Option<String>,
    /// Its row, where it came in parts.
    pub(crate) parts: Option<Versioned<Parts>>,
}

/// What became of an upload.
pub(crate) struct Outcome {
    status: StatusCode,
    location: String,
    body: serde_json::Value,
}

impl Outcome {
    fn new(status: StatusCode, target: Target, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_value(body).expect("rows are plain structs, which always serialize");
        Self { status, location: target.path(), body }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let location = HeaderValue::from_str(&self.location).expect("a path of ids is visible ASCII");
        let headers = [(header::LOCATION, location.clone()), (header::CONTENT_LOCATION, location)];
        (self.status, headers, Json(self.body)).into_response()
    }
}

/// The bytes of an upload on their way into its blob.
struct Bytes<'a> {
    api: &'a Api,
    /// `None` once they are the blob, and when another's blob is used.
    growing: Option<Box<dyn Growing>>,
}

impl Bytes<'_> {
    async fn keep(&mut self, blob: &str) -> Result<()> {
        match self.growing.take() {
            Some(growing) => Ok(growing.keep(blob).await.map(drop)?),
            None => Ok(()),
        }
    }

    /// Leaves nothing behind, in whichever form it is there.
    async fn drop(&mut self, blob: &str) -> Result<()> {
        match self.growing.take() {
            Some(growing) => discard(growing).await,
            None => self.api.backend.blobs.delete(blob).await?,
        }
        Ok(())
    }
}

/// Does what an upload is for; `growing` is `None` when its blob is there already.
pub(crate) async fn carry_out(api: &Api, order: Order, growing: Option<Box<dyn Growing>>) -> Result<Outcome> {
    let bytes = Bytes { api, growing };
    match order.target {
        Target::Import(id) => make_import(api, order, id, Destination::Directory, bytes).await,
        Target::LateList { import, cause } => {
            make_import(api, order, import, Destination::LateList(cause), bytes).await
        }
        Target::Audience(id) => fill_audience(api, order, id, bytes).await,
    }
}

impl Order {
    /// The write that says that this upload came to its end, where it has a row.
    fn end(&self, state: PartsState) -> Option<Write> {
        let row = self.parts.as_ref()?;
        let parts = Parts { state, ..row.body.clone() };
        Some(rows::upload::put(&parts, Expect::Version(row.version)))
    }

    /// Stores that nothing is kept of it; the problem to answer with.
    async fn refuse(&self, api: &Api, bytes: &mut Bytes<'_>, problem: Problem) -> Result<Outcome> {
        if let Some(write) = self.end(PartsState::Refused { why: problem.detail.clone() }) {
            api.backend.store.write(vec![write]).await?;
        }
        bytes.drop(&self.upload.blob).await?;
        Err(problem)
    }

    /// Does what makes it count; the positions of writes whose condition did not hold.
    async fn transact(
        &self,
        api: &Api,
        writes: Vec<Write>,
        event: Event,
        bytes: &mut Bytes<'_>,
    ) -> Result<Vec<usize>> {
        let result = audited(api, writes, event).await;
        // On a full disk nothing was written. What came in parts is there still when there is room again.
        let is_lost = matches!(&result, Err(problem) if problem.is_storage()) && self.parts.is_none();
        if is_lost {
            bytes.drop(&self.upload.blob).await?;
        }
        result
    }

    /// Stores that there is nothing to do for it.
    async fn done(&self, api: &Api) -> Result<()> {
        if let Some(write) = self.end(PartsState::Done) {
            api.backend.store.write(vec![write]).await?;
        }
        Ok(())
    }
}

async fn make_import(
    api: &Api,
    order: Order,
    id: ImportId,
    into: Destination,
    mut bytes: Bytes<'_>,
) -> Result<Outcome> {
    let slot = order.idempotency_key.as_deref().map(Slot::of);
    let import = Import {
        id,
        into,
        upload: order.upload.clone(),
        state: ImportState::Uploaded,
        report: None,
        created_at: now(api),
        worked_at: None,
    };
    // Another blob of the same bytes is the same request.
    let request = ("import", into, Upload { blob: String::new(), ..order.upload.clone() });
    let action = match into {
        Destination::Directory => "devices.uploaded",
        Destination::LateList(_) => "suppression.uploaded",
    };
    loop {
        let mut writes = vec![rows::import::put(&import, Expect::Absent)];
        writes.extend(order.end(PartsState::Done));
        let slot_at = writes.len();
        if let Some(slot) = &slot {
            match slot.find::<Import>(api, &request).await {
                Ok(Found::Nothing(expect)) => writes.push(slot.keep(api, expect, &request, &import)?),
                Ok(Found::Answer(import)) => {
                    order.done(api).await?;
                    bytes.drop(&order.upload.blob).await?;
                    return Ok(Outcome::new(StatusCode::ACCEPTED, Target::Import(import.id), &import));
                }
                Err(problem) if problem.is_refusal() => return order.refuse(api, &mut bytes, problem).await,
                Err(problem) => return Err(problem),
            }
        }
        bytes.keep(&order.upload.blob).await?;
        let event = event(api, &order.actor, action, id, uploaded(&import.upload));
        let conflicts = order.transact(api, writes, event, &mut bytes).await?;
        if conflicts.contains(&0) {
            // An earlier call took effect though its answer was lost.
            let row = rows::import::get(&*api.backend.store, id).await?;
            let row = row.ok_or_else(|| Problem::not_found(format!("import {id}")))?;
            return Ok(Outcome::new(StatusCode::ACCEPTED, order.target, &row.body));
        }
        if conflicts.contains(&slot_at) {
            continue;
        }
        if !conflicts.is_empty() {
            return Err(written_meanwhile());
        }
        api.metrics.uploaded(order.upload.bytes);
        announce(api, &ToResolver::TakeIn(TakeIn { import: id })).await;
        return Ok(Outcome::new(StatusCode::ACCEPTED, order.target, &import));
    }
}

async fn fill_audience(api: &Api, order: Order, id: AudienceId, mut bytes: Bytes<'_>) -> Result<Outcome> {
    loop {
        let row = match audiences::read(api, id).await {
            Ok(row) => row,
            // It was deleted meanwhile.
            Err(problem) if problem.is_refusal() => return order.refuse(api, &mut bytes, problem).await,
            Err(problem) => return Err(problem),
        };
        match judge(&row.body, &order.upload) {
            Judged::Same => {
                order.done(api).await?;
                // What was handed over before its process was killed is this upload itself.
                if row.body.upload.as_ref().is_none_or(|upload| upload.blob != order.upload.blob) {
                    bytes.drop(&order.upload.blob).await?;
                }
                return Ok(Outcome::new(StatusCode::OK, order.target, &row.body));
            }
            Judged::Refused(problem) => return order.refuse(api, &mut bytes, problem).await,
            Judged::Free => {}
        }
        bytes.keep(&order.upload.blob).await?;
        // The list that failed, and that of its bad rows.
        let upload =
            row.body.upload.clone().map(|upload| upload.blob).filter(|blob| *blob != order.upload.blob);
        let bad_rows = row.body.report.clone().and_then(|report| report.read.bad_rows_blob);
        let before = [upload, bad_rows].into_iter().flatten();
        let audience = Audience {
            upload: Some(order.upload.clone()),
            state: AudienceState::Uploaded,
            report: None,
            ..row.body
        };
        let mut writes = vec![rows::audience::put(&audience, Expect::Version(row.version))];
        writes.extend(order.end(PartsState::Done));
        let event = event(api, &order.actor, "audience.uploaded", id, uploaded(&order.upload));
        let conflicts = order.transact(api, writes, event, &mut bytes).await?;
        if conflicts.contains(&0) {
            continue;
        }
        if !conflicts.is_empty() {
            return Err(written_meanwhile());
        }
        api.metrics.uploaded(order.upload.bytes);
        delete(api, before).await;
        announce(api, &ToResolver::Resolve(Resolve { audience: id })).await;
        return Ok(Outcome::new(StatusCode::ACCEPTED, order.target, &audience));
    }
}

/// Whether an audience takes an upload.
enum Judged {
    Free,
    /// It has the same already.
    Same,
    Refused(Problem),
}

fn judge(audience: &Audience, upload: &Upload) -> Judged {
    let is_same = audience.upload.as_ref().is_some_and(|before| *upload == with_blob_of(before, upload));
    match &audience.state {
        AudienceState::Empty | AudienceState::Failed { .. } => Judged::Free,
        _ if is_same => Judged::Same,
        _ => Judged::Refused(refusal(audience)),
    }
}

fn with_blob_of(before: &Upload, upload: &Upload) -> Upload {
    Upload { blob: upload.blob.clone(), ..before.clone() }
}

/// Refuses at once what is known to be another upload than the one that the audience has: by its length.
pub(crate) fn check_uploadable(audience: &Audience, bytes: Option<u64>) -> Result<()> {
    if let Some(sample) = &audience.sample {
        let detail = format!("it is a sample of audience {}: make another audience", sample.of);
        return Err(Problem::conflict("/problems/sample", "A sample takes no upload", detail));
    }
    let is_taken = !matches!(audience.state, AudienceState::Empty | AudienceState::Failed { .. });
    let before = audience.upload.as_ref().map(|upload| upload.bytes);
    let is_other = bytes.zip(before).is_some_and(|(bytes, before)| bytes != before) || before.is_none();
    if is_taken && is_other { Err(refusal(audience)) } else { Ok(()) }
}

/// What is said to whoever comes with another list than an audience has.
fn refusal(audience: &Audience) -> Problem {
    let has = audience.upload.as_ref().map_or_else(String::new, |upload| {
        format!(", which has {} bytes and the digest {}", upload.bytes, upload.digest)
    });
    match &audience.state {
        AudienceState::Frozen { snapshot, .. } => {
            let detail =
                format!("it is frozen as snapshot {snapshot} of another upload{has}: make another audience");
            Problem::conflict("/problems/frozen", "A frozen audience does not change", detail)
        }
        _ => {
            let detail =
                format!("another upload is being resolved{has}: wait until it is frozen or has failed");
            Problem::conflict("/problems/being-resolved", "Another upload came first", detail)
        }
    }
}

fn written_meanwhile() -> Problem {
    Problem::not_known(
        "the upload was written meanwhile: ask for its offset, which says whether it is complete",
    )
}

/// Removes blobs that nothing names any more; one that stays is nobody's.
async fn delete(api: &Api, blobs: impl Iterator<Item = String>) {
    for blob in blobs {
        if let Err(error) = api.backend.blobs.delete(&blob).await {
            tracing::warn!(%error, blob, "what a failed upload left could not be deleted");
        }
    }
}

/// Hands work to a resolver. If that fails, a resolver finds the row that says what there is to do.
async fn announce(api: &Api, message: &ToResolver) {
    if let Err(problem) = enqueue(api, message).await {
        tracing::warn!(detail = problem.detail, "an upload waits until a resolver looks for forgotten work");
    }
}
