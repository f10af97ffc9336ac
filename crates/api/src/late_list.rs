//! Who is on the late list, for handlers that ask at each of many requests: read anew only when it has changed.

use std::sync::Arc;

use backend::rows::suppression;
use model::suppression::{Cause, HashKey, Suppressed};
use tokio::sync::Mutex;

use crate::Api;
use crate::problem::Result;

/// The list as it was read last.
#[derive(Default)]
pub(crate) struct LateList(Mutex<Known>);

#[derive(Default)]
struct Known {
    key: Option<Arc<HashKey>>,
    version: u64,
    people: Arc<Suppressed>,
}

impl LateList {
    /// Whether somebody asked to be forgotten, as the list stands now.
    pub(crate) async fn is_erased(&self, api: &Api, user: &str) -> Result<bool> {
        let (key, people) = self.refresh(api).await?;
        Ok(people.find(&key.user(user)) == Some(Cause::Erased))
    }

    async fn refresh(&self, api: &Api) -> Result<(Arc<HashKey>, Arc<Suppressed>)> {
        let store = &*api.backend.store;
        let mut known = self.0.lock().await;
        let key = match &known.key {
            Some(key) => Arc::clone(key),
            None => {
                let key = Arc::new(suppression::hash_key(store, &*api.runtime.randomness).await?);
                known.key = Some(Arc::clone(&key));
                key
            }
        };
        if let Some(row) = suppression::newer_list(store, known.version).await? {
            known.people = Arc::new(row.body.read(&*api.backend.blobs).await?);
            known.version = row.version;
        }
        Ok((key, Arc::clone(&known.people)))
    }
}
