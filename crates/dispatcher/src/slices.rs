//! Triggers: a slice becomes shard messages, once or more often.

use backend::rows::launch;
use backend::store::Expect;
use backend::{Delivery, Queue};
use futures::future::join_all;
use model::Timestamp;
use model::queued::Trigger;
use report::Stage;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::error::Result;
use crate::{Dispatcher, messages};

/// What becomes of a trigger.
enum Done {
    /// It has done its work.
    Over,
    /// It is given back.
    Again,
    /// It comes again by its visibility until it is a dead letter.
    Never,
}

impl Dispatcher {
    /// Receives triggers and plans their slices, up to ten at a time.
    pub(crate) async fn receive_triggers(&self, shutdown: &CancellationToken) {
        let max = backend::queues::CALL_MESSAGES_MAX;
        while !shutdown.is_cancelled() {
            match self.backend.queues.receive(Queue::Triggers, max, self.config.receive_wait).await {
                Ok(deliveries) => self.take_triggers(deliveries).await,
                Err(failure) => {
                    warn!(error = &failure as &dyn std::error::Error, "triggers cannot be received");
                    self.rest(self.config.retry_every, shutdown).await;
                }
            }
        }
    }

    async fn take_triggers(&self, deliveries: Vec<Delivery>) {
        let done = join_all(deliveries.iter().map(|delivery| self.take_trigger(delivery))).await;
        let (mut over, mut again) = (Vec::new(), Vec::new());
        for (delivery, done) in deliveries.into_iter().zip(done) {
            match done {
                Done::Over => over.push(delivery.receipt),
                Done::Again => again.push(delivery.receipt),
                Done::Never => {}
            }
        }
        let queues = &self.backend.queues;
        let mut results = Vec::new();
        if !over.is_empty() {
            results.push(queues.delete(Queue::Triggers, over).await);
        }
        if !again.is_empty() {
            results.push(queues.give_back(Queue::Triggers, again, self.config.retry_every).await);
        }
        for failure in results.into_iter().filter_map(backend::Result::err) {
            warn!(error = &failure as &dyn std::error::Error, "triggers come again by their visibility");
        }
    }

    async fn take_trigger(&self, delivery: &Delivery) -> Done {
        let Ok(trigger) = serde_json::from_str::<Trigger>(&delivery.body) else {
            error!(bytes = delivery.body.len(), "a message on the trigger queue is no trigger; dropped");
            return Done::Over;
        };
        match self.plan_slice(trigger, self.now()).await {
            Ok(()) => Done::Over,
            Err(failure) => {
                let (launch, slice) = (trigger.launch, trigger.slice);
                warn!(%launch, slice, error = &failure as &dyn std::error::Error, "slice cannot be planned yet");
                if failure.is_final() { Done::Never } else { Done::Again }
            }
        }
    }

    /// Enqueues a slice's shards and marks it planned. Nothing to do when it is planned, and nothing to enqueue when the
    /// launch is aborted or past its time: its shards will be closed.
    pub(crate) async fn plan_slice(&self, trigger: Trigger, received_at: Timestamp) -> Result<()> {
        let store = &*self.backend.store;
        let Some(known) = self.known(trigger.launch).await? else {
            error!(launch = %trigger.launch, "a trigger names no launch; dropped");
            return Ok(());
        };
        let rows = (launch::slice(store, &trigger), launch::control(store, trigger.launch));
        let (slice, control) = futures::try_join!(rows.0, rows.1)?;
        let Some(slice) = slice.filter(|slice| slice.body.planned_at.is_none()) else { return Ok(()) };
        let is_aborted = control.is_some_and(|control| control.body.aborted.is_some());
        if !is_aborted && self.now() <= known.launch.not_after {
            let windows = self.windows(&known).await?;
            known.reach(Stage::Fifo, received_at);
            let now = self.now();
            known.reach(Stage::Plan, now);
            let message = |shard: &model::ShardSpec| {
                messages::burst(&known, shard, windows[shard.number as usize], now)
            };
            self.send(known.plan.slice(trigger.slice).map(message)).await?;
            known.reach(Stage::Enqueue, self.now());
        }
        let planned = launch::Slice { planned_at: Some(self.now()), ..slice.body };
        let stages = launch::put_stages(trigger.launch, &self.config.name, known.stages().encode());
        store.write(vec![launch::put_slice(&trigger, &planned, Expect::Anything), stages]).await?;
        Ok(())
    }
}
