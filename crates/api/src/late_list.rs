//! Who is on the late list, for handlers that ask at each of many requests: read anew only when it has changed.

use std::sync::Arc;

use backend::rows::suppression;
use model::suppression::{Cause, HashKey, Suppressed};
use tokio::sync::Mutex;

use crate::Api;
use crate::problem::Result;

/// The list as it was read last.
#[derive(Default)]
pub(crate) struct LateList(Mutex<Option<Arc<Known>>>);

struct Known {
    key: HashKey,
    version: u64,
    people: Suppressed,
}

impl LateList {
    /// Whether somebody asked to be forgotten; whoever did since the list was read last is not seen.
    pub(crate) async fn was_erased(&self, api: &Api, user: &str) -> Result<bool> {
        let known = self.0.lock().await.clone();
        match known {
            Some(known) if !known.is_erased(user) => Ok(false),
            // Whoever was may be back.
            _ => self.is_erased(api, user).await,
        }
    }

    /// The same as the list stands now.
    pub(crate) async fn is_erased(&self, api: &Api, user: &str) -> Result<bool> {
        Ok(self.refresh(api).await?.is_erased(user))
    }

    /// Lets go of what was read: the list was changed here.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }

    async fn refresh(&self, api: &Api) -> Result<Arc<Known>> {
        let store = &*api.backend.store;
        let mut place = self.0.lock().await;
        let before = match &*place {
            Some(known) => Arc::clone(known),
            None => Arc::new(Known {
                key: suppression::hash_key(store, &*api.runtime.randomness).await?,
                version: 0,
                people: Suppressed::default(),
            }),
        };
        let known = match suppression::newer_list(store, before.version).await? {
            None => before,
            Some(_) => {
                let suppression::Current { row, people } =
                    suppression::current(store, &*api.backend.blobs).await?;
                Arc::new(Known { key: before.key.clone(), version: row.version, people })
            }
        };
        *place = Some(Arc::clone(&known));
        Ok(known)
    }
}

impl Known {
    fn is_erased(&self, user: &str) -> bool {
        self.people.find(&self.key.user(user)) == Some(Cause::Erased)
    }
}
