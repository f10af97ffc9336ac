//! A change of state and its audit entry: one transaction, so that neither is there without the other.

use backend::Write;
use backend::rows::audit::{self, Event};
use backend::store::Transacted;
use serde_json::Value;

use crate::problem::Result;
use crate::{Api, upload};

/// What `actor` did just now to `subject`.
pub(crate) fn event(api: &Api, actor: &str, action: &str, subject: impl ToString, detail: Value) -> Event {
    let (at, subject) = (upload::now(api), subject.to_string());
    Event { at, actor: actor.to_owned(), action: action.to_owned(), subject, detail }
}

/// Does `writes` and their audit entry, again when nothing but another entry came first. The positions of those writes whose
/// condition did not hold; none when everything is done.
pub(crate) async fn audited(api: &Api, writes: Vec<Write>, event: Event) -> Result<Vec<usize>> {
    let store = &*api.backend.store;
    loop {
        let mut all = writes.clone();
        all.extend(audit::append(store, event.clone()).await?);
        let Transacted::Conflict(mut places) = store.transact(all).await? else { return Ok(Vec::new()) };
        places.retain(|place| *place < writes.len());
        if !places.is_empty() {
            return Ok(places);
        }
    }
}
