//! Who is at an upload in parts: one request at a time. A later one ends an earlier one of this process, whose client has most
//! likely gone; one of another process is waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backend::blobs::Growing;
use backend::rows::Versioned;
use backend::rows::upload::{self, Parts};
use model::UploadId;
use tokio_util::sync::CancellationToken;

use crate::Api;
use crate::problem::{Problem, Result};

/// How long a later request waits for an earlier one to end.
const WAIT_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The requests of this process that are at an upload.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<HashMap<UploadId, Arc<CancellationToken>>>);

impl Holders {
    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<CancellationToken>>> {
        // A poisoned lock only says that another request panicked; the map is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the holders, given up when dropped.
struct Place<'a> {
    holders: &'a Holders,
    id: UploadId,
    taken_over: Arc<CancellationToken>,
}

impl<'a> Place<'a> {
    /// Takes the place of whoever had it.
    fn take(holders: &'a Holders, id: UploadId) -> Self {
        let taken_over = Arc::new(CancellationToken::new());
        if let Some(before) = holders.lock().insert(id, Arc::clone(&taken_over)) {
            before.cancel();
        }
        Self { holders, id, taken_over }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut holders = self.holders.lock();
        if holders.get(&self.id).is_some_and(|holder| Arc::ptr_eq(holder, &self.taken_over)) {
            holders.remove(&self.id);
        }
    }
}

/// An upload that nobody else is at, and its row as it is now.
pub(crate) struct Hold<'a> {
    pub(crate) growing: Box<dyn Growing>,
    pub(crate) row: Versioned<Parts>,
    place: Place<'a>,
}

impl Hold<'_> {
    /// Cancelled when a later request comes.
    pub(crate) fn taken_over(&self) -> &CancellationToken {
        &self.place.taken_over
    }
}

/// Takes hold of an upload.
pub(crate) async fn hold(api: &Api, id: UploadId) -> Result<Hold<'_>> {
    // Before anything is made in its name.
    read(api, id).await?;
    let place = Place::take(&api.holders, id);
    let clock = &api.runtime.clock;
    let began = clock.monotonic();
    loop {
        if let Some(growing) = api.backend.blobs.grow(&upload::object(id)).await? {
            return match upload::get(&*api.backend.store, id).await? {
                Some(row) => Ok(Hold { growing, row, place }),
                // It was deleted meanwhile, and the object is new.
                None => {
                    super::discard(growing).await;
                    Err(not_found(id))
                }
            };
        }
        if place.taken_over.is_cancelled() {
            return Err(Problem::taken_over());
        }
        if clock.monotonic().since(began) >= WAIT_MAX {
            return Err(Problem::upload_busy());
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// An upload as its row says it.
pub(crate) async fn read(api: &Api, id: UploadId) -> Result<Versioned<Parts>> {
    upload::get(&*api.backend.store, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: UploadId) -> Problem {
    Problem::not_found(format!("upload {id}: it was never begun, was deleted, or stood still for too long"))
}
