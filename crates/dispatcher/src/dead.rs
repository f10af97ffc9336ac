//! Dead letters: messages that were received too often. Each becomes a decision and is logged once.

use backend::queues::DeadOf;
use backend::rows::shard::{self, ShardName, Standing};
use backend::rows::{audience, export, import, inquiry};
use backend::store::{Expect, Written};
use backend::{Delivery, Queue};
use model::audience::AudienceState;
use model::export::{Export, ExportState};
use model::import::{Import, ImportState};
use model::inquiry::{Inquiry, InquiryState};
use model::queued::{LookUp, Resolve, ShardMessage, TakeIn, ToResolver, Trigger, WriteOut};
use report::{Positions, ShardRecord, record};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::Dispatcher;
use crate::close::Closing;
use crate::decide::exhausted;
use crate::error::Result;

const DEAD: [DeadOf; 6] = [
    DeadOf::Resolve,
    DeadOf::Triggers,
    DeadOf::Shards(model::Platform::Apns),
    DeadOf::Shards(model::Platform::Fcm),
    DeadOf::Delayed(model::Platform::Apns),
    DeadOf::Delayed(model::Platform::Fcm),
];

const FOREIGN: &str = "dropped: no message of ours";

impl Dispatcher {
    /// Empties the dead-letter queues until `shutdown`. A letter that cannot be decided now comes again.
    pub(crate) async fn drain_dead(&self, shutdown: &CancellationToken) {
        let drains = DEAD.iter().map(|&of| self.drain(of, shutdown));
        futures::future::join_all(drains).await;
    }

    async fn drain(&self, of: DeadOf, shutdown: &CancellationToken) {
        let queue = Queue::Dead(of);
        let max = backend::queues::CALL_MESSAGES_MAX;
        while !shutdown.is_cancelled() {
            match self.backend.queues.receive(queue, max, self.config.receive_wait).await {
                Ok(letters) => self.decide_all(of, letters).await,
                Err(failure) => {
                    let queue = queue.name();
                    warn!(
                        queue,
                        error = &failure as &dyn std::error::Error,
                        "dead letters cannot be received"
                    );
                    self.rest(self.config.retry_every, shutdown).await;
                }
            }
        }
    }

    async fn decide_all(&self, of: DeadOf, letters: Vec<Delivery>) {
        let queue = Queue::Dead(of);
        let mut decided = Vec::new();
        for letter in letters {
            match self.decide_letter(of, &letter.body).await {
                Ok(decision) => {
                    // What is none of ours may hold anything.
                    let body = if decision == FOREIGN { "" } else { &*letter.body };
                    let bytes = letter.body.len();
                    error!(queue = queue.name(), letter = body, bytes, decision, "dead letter");
                    decided.push(letter.receipt);
                }
                Err(failure) => {
                    let queue = queue.name();
                    warn!(
                        queue,
                        error = &failure as &dyn std::error::Error,
                        "dead letter is not decided yet"
                    );
                }
            }
        }
        if decided.is_empty() {
            return;
        }
        if let Err(failure) = self.backend.queues.delete(queue, decided).await {
            let queue = queue.name();
            warn!(queue, error = &failure as &dyn std::error::Error, "dead letters cannot be deleted");
        }
    }

    /// What is done about a letter, in words for the log.
    async fn decide_letter(&self, of: DeadOf, body: &str) -> Result<&'static str> {
        match of {
            DeadOf::Resolve => match serde_json::from_str::<ToResolver>(body) {
                Ok(ToResolver::Resolve(resolve)) => self.fail_audience(&resolve).await,
                Ok(ToResolver::TakeIn(take_in)) => self.fail_import(&take_in).await,
                Ok(ToResolver::WriteOut(write_out)) => self.fail_export(&write_out).await,
                Ok(ToResolver::LookUp(look_up)) => self.fail_inquiry(&look_up).await,
                Err(_) => Ok(FOREIGN),
            },
            DeadOf::Triggers => match serde_json::from_str::<Trigger>(body) {
                Ok(trigger) => self.plan_or_stop(trigger).await,
                Err(_) => Ok(FOREIGN),
            },
            DeadOf::Shards(_) | DeadOf::Delayed(_) => match serde_json::from_str::<ShardMessage>(body) {
                Ok(message) => self.give_up(&message).await,
                Err(_) => Ok(FOREIGN),
            },
        }
    }

    async fn fail_audience(&self, resolve: &Resolve) -> Result<&'static str> {
        let store = &*self.backend.store;
        let Some(row) = audience::get(store, resolve.audience).await? else {
            return Ok("dropped: no such audience");
        };
        if !matches!(row.body.state, AudienceState::Uploaded | AudienceState::Resolving { .. }) {
            return Ok("dropped: the audience is not being resolved");
        }
        let state = AudienceState::Failed { why: given_up("resolving") };
        let failed = model::Audience { state, ..row.body };
        store.write(vec![audience::put(&failed, Expect::Version(row.version))]).await?;
        Ok("the audience failed")
    }

    async fn fail_import(&self, take_in: &TakeIn) -> Result<&'static str> {
        let store = &*self.backend.store;
        let Some(row) = import::get(store, take_in.import).await? else {
            return Ok("dropped: no such import");
        };
        if !matches!(row.body.state, ImportState::Uploaded | ImportState::Importing { .. }) {
            return Ok("dropped: the import is not being taken in");
        }
        let failed = Import { state: ImportState::Failed { why: given_up("importing") }, ..row.body };
        let written = store.write(vec![import::put(&failed, Expect::Version(row.version))]).await?;
        if matches!(written.first(), Some(Written::Done(_))) {
            self.backend.blobs.delete(&failed.upload.blob).await?;
        }
        Ok("the import failed")
    }

    async fn fail_export(&self, write_out: &WriteOut) -> Result<&'static str> {
        let store = &*self.backend.store;
        let Some(row) = export::get(store, write_out.export).await? else {
            return Ok("dropped: no such export");
        };
        if !matches!(row.body.state, ExportState::Asked | ExportState::Writing { .. }) {
            return Ok("dropped: the export is not being written");
        }
        let failed = Export { state: ExportState::Failed { why: given_up("writing") }, ..row.body };
        store.write(vec![export::put(&failed, Expect::Version(row.version))]).await?;
        Ok("the export failed")
    }

    async fn fail_inquiry(&self, look_up: &LookUp) -> Result<&'static str> {
        let store = &*self.backend.store;
        let Some(row) = inquiry::get(store, look_up.inquiry).await? else {
            return Ok("dropped: no such inquiry");
        };
        if row.body.state.is_over() {
            return Ok("dropped: the inquiry is over");
        }
        let failed = Inquiry { state: InquiryState::Failed { why: given_up("looking") }, ..row.body };
        let written = store.write(vec![inquiry::put(&failed, Expect::Version(row.version))]).await?;
        if matches!(written.first(), Some(Written::Done(_))) {
            self.backend.blobs.delete(&inquiry::user_blob(failed.id)).await?;
        }
        Ok("the inquiry failed")
    }

    /// A slice whose trigger is dead is planned without one; a launch that cannot be planned is stopped.
    async fn plan_or_stop(&self, trigger: Trigger) -> Result<&'static str> {
        match self.plan_slice(trigger, self.now()).await {
            Ok(()) => Ok("the slice is planned without its trigger"),
            Err(failure) if !failure.is_final() => Err(failure),
            Err(failure) => {
                self.stop(trigger.launch, &failure.to_string()).await?;
                Ok("the launch is stopped: it cannot be planned")
            }
        }
    }

    /// Closes a shard that was received too often, unless somebody holds it.
    async fn give_up(&self, message: &ShardMessage) -> Result<&'static str> {
        let Some(known) = self.known(message.launch).await? else { return Ok("dropped: no such launch") };
        let Some(spec) = known.plan.shards().get(message.shard as usize) else {
            return Ok("dropped: no such shard");
        };
        let slice = known.plan.slice_of(spec.number);
        let name = |attempt| ShardName { launch: message.launch, slice, shard: spec.number, attempt };
        let names: Vec<ShardName> = (0..=message.attempt).map(name).collect();
        let mut rows = shard::get(&*self.backend.store, &names).await?;
        let row = rows.pop().flatten();
        let before = match Standing::of(row.as_ref().map(|row| &row.row), self.now(), self.config.clock_error)
        {
            Standing::Recorded => return Ok("dropped: the shard is recorded"),
            Standing::Held(_) => return Ok("dropped: a worker holds the shard"),
            Standing::Free(before) => before,
        };
        let mut outcome = exhausted(before);
        let mut positions = Positions::all(spec.count);
        if message.attempt > 0 {
            let earlier: Vec<ShardRecord> = rows
                .into_iter()
                .flatten()
                .filter_map(|row| row.row.read_record().transpose())
                .collect::<backend::Result<_>>()?;
            let late: Vec<&ShardRecord> = earlier.iter().skip(1).collect();
            let Some(burst) = earlier.first() else { return Ok("dropped: the burst's record is missing") };
            positions = record::retryable(burst, &late);
            outcome = outcome.with_resent(before.is_started);
        }
        let name = name(message.attempt);
        let closing = Closing { name, row, positions, devices: spec.count, outcome };
        let is_closed = self.close(&known, &[closing]).await?.first() == Some(&true);
        Ok(if is_closed { "the shard is closed" } else { "dropped: the shard changed hands meanwhile" })
    }
}

fn given_up(what: &str) -> String {
    format!("{what} was given up after {} attempts", backend::queues::RECEIVES_MAX)
}
