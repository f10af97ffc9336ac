//! What a worker publishes of its launches while they change.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use backend::Write;
use backend::rows::{fleet, launch};
use push::Side;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Worker;
use crate::launches::Active;

impl<S: Side> Worker<S> {
    /// Publishes every launch that changed, until `shutdown`.
    pub(crate) async fn keep_publishing(&self, shutdown: &CancellationToken) {
        while self.rest(self.config.progress_every, shutdown).await {
            self.publish(&self.launches.all()).await;
        }
    }

    /// Publishes those that changed. What fails is published at the next turn, all figures are cumulative.
    pub(crate) async fn publish(&self, actives: &[Arc<Active<S>>]) {
        let writes: Vec<Write> = actives.iter().flat_map(|active| self.news(active)).collect();
        if writes.is_empty() {
            return;
        }
        if let Err(failure) = self.backend.store.write(writes).await {
            warn!(error = &failure as &dyn std::error::Error, "progress is not published");
            actives.iter().for_each(|active| active.counted().is_dirty = true);
        }
    }

    fn news(&self, active: &Active<S>) -> Vec<Write> {
        let mut counted = active.counted();
        if !std::mem::take(&mut counted.is_dirty) {
            return Vec::new();
        }
        let in_flight = active.in_flight.load(Ordering::Relaxed);
        let progress = &mut counted.progress;
        progress.updated_at = self.now();
        progress.shards_in_flight = in_flight;
        progress.clock_error_us = self.machine.clock_error().as_micros() as u64;
        let mut writes = vec![fleet::put_progress(active.id(), &self.config.name, progress.encode())];
        if in_flight == 0 {
            // Where the time went is for afterwards.
            writes.push(launch::put_stages(active.id(), &self.config.name, counted.stages.encode()));
        }
        writes
    }
}
