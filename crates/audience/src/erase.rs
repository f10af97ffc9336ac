//! Forgets people everywhere. The rows are the queue: each round takes everybody who waits, and every step may be done again, so
//! that whoever is killed goes on where another left off. One resolver at a time is at it.
//!
//! What was under way when somebody asked may have met the person before the late list did, and is waited for; so is what comes
//! of it. What begins later leaves the person out by itself.

mod clear;

use std::collections::BTreeSet;

use backend::rows::upload::PartsState;
use backend::rows::{self, Versioned, audience, erasure, export, import, inquiry};
use model::erasure::{Erasure, ErasureState, NamingSnapshot};
use model::suppression::UserHash;
use model::{AudienceState, Digest, InquiryId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::clear::{clear, naming_snapshots};
use crate::desk::Desk;
use crate::error::{Error, Result};
use crate::garbage::stored_snapshots;
use crate::hold;

/// Endings of what stands beside an upload, once its work is over.
const BESIDE: [&str; 2] = [".bad-rows", ".left-out"];
/// People of one round, at most: what it needs memory for.
const PEOPLE_MAX: usize = 1_000;
/// What a receipt says when the record of the user id is gone.
const LOST: &str = "the record of the user id was lost before everything was cleared, and nobody can tell who is to be \
    forgotten; the person stays suppressed: ask for the erasure again";

/// Looks after it until `shutdown`.
pub(crate) async fn keep(desk: &Desk, shutdown: &CancellationToken) {
    let waiting = "people who are to be forgotten wait for the next time";
    desk.keep(shutdown, desk.config.erase_every, waiting, async || Box::pin(round(desk)).await.map(drop))
        .await;
}

/// Somebody who is to be forgotten.
struct Person {
    row: Versioned<Erasure>,
    user: String,
}

impl Person {
    /// Stores what `change` makes of the receipt, if that is another one.
    async fn change(&mut self, desk: &Desk, change: impl FnOnce(&mut Erasure)) -> Result<()> {
        let mut new = self.row.body.clone();
        change(&mut new);
        if new != self.row.body {
            put(desk, &mut self.row, new).await?;
        }
        Ok(())
    }
}

/// Stores another receipt in the place of the one that was read.
async fn put(desk: &Desk, row: &mut Versioned<Erasure>, new: Erasure) -> Result<()> {
    let mut writes = erasure::change(row, &new);
    let write = writes.remove(0);
    if writes.is_empty() {
        desk.put(write).await?;
    } else {
        desk.transact(write, writes, None).await?;
    }
    *row = Versioned { version: row.version + 1, body: new };
    Ok(())
}

/// Goes as far as it goes with everybody, unless another is at it; how many can go on later.
pub(crate) async fn round(desk: &Desk) -> Result<usize> {
    let waiting = erasure::open(&*desk.backend.store).await?.len();
    if waiting == 0 {
        return Ok(0);
    }
    Ok(hold::alone(desk, go_on(desk)).await?.unwrap_or(waiting))
}

async fn go_on(desk: &Desk) -> Result<usize> {
    let open = erasure::open(&*desk.backend.store).await?;
    let (cleared, asked): (Vec<_>, Vec<_>) = open.into_iter().partition(|row| row.body.cleared_at.is_some());
    let mut people = Vec::new();
    for row in asked.into_iter().take(PEOPLE_MAX) {
        people.extend(find(desk, row).await?);
    }
    let cleared_now = if people.is_empty() { Vec::new() } else { clear_all(desk, people).await? };
    let stored = stored_snapshots(desk).await?;
    for row in cleared.into_iter().chain(cleared_now) {
        settle(desk, row, &stored).await?;
    }
    Ok(erasure::open(&*desk.backend.store).await?.len())
}

/// Who is to be forgotten. When nobody can tell any more the erasure ends: others are forgotten all the same.
async fn find(desk: &Desk, mut row: Versioned<Erasure>) -> Result<Option<Person>> {
    let blob = erasure::user_blob(row.body.id);
    match desk.backend.blobs.get(&blob).await {
        Ok(found) => {
            if let Some(user) = found.and_then(|user| String::from_utf8(user).ok()) {
                return Ok(Some(Person { row, user }));
            }
        }
        Err(error) if error.is_transient() => return Err(error.into()),
        Err(error) => {
            // The disk may give it back.
            tracing::error!(erasure = %row.body.id, %error, "it cannot be read who is to be forgotten");
            return Ok(None);
        }
    }
    tracing::error!(erasure = %row.body.id, user = %row.body.user, "it is lost who is to be forgotten: ask again");
    let failed = ErasureState::Failed { at: desk.now(), why: LOST.into() };
    end(desk, &mut row, failed, "person.not_erased").await?;
    desk.backend.blobs.delete(&blob).await?;
    Ok(None)
}

/// Stores the end of an erasure.
async fn end(desk: &Desk, row: &mut Versioned<Erasure>, state: ErasureState, action: &str) -> Result<()> {
    let over = Erasure { state, ..row.body.clone() };
    let detail = json!({ "user": over.user, "cleared": over.cleared, "snapshots": over.snapshots.len() });
    let mut writes = erasure::change(row, &over);
    let write = writes.remove(0);
    desk.put_audited(write, writes, action, detail).await
}

/// Clears what can be cleared; whoever has nothing to wait for any more.
async fn clear_all(desk: &Desk, people: Vec<Person>) -> Result<Vec<Versioned<Erasure>>> {
    let under_way = under_way(desk).await?;
    let (mut ready, mut early) = (Vec::new(), Vec::new());
    for mut person in people {
        let was_cleared = person.row.body.was_cleared();
        person.change(desk, |erasure| look(erasure, &under_way)).await?;
        let is_ready = person.row.body.waits_for.as_ref().is_some_and(Vec::is_empty);
        match (is_ready, was_cleared) {
            (true, _) => ready.push(person),
            // What is not waited for goes now.
            (false, false) => early.push(person),
            (false, true) => {}
        }
    }
    if !early.is_empty() {
        clear(desk, &mut early).await?;
    }
    if ready.is_empty() {
        return Ok(Vec::new());
    }
    clear(desk, &mut ready).await?;
    desk.sweep();
    let naming = naming_snapshots(desk, &ready).await?;
    let mut cleared = Vec::with_capacity(ready.len());
    for (mut person, snapshots) in ready.into_iter().zip(naming) {
        let asked_at = person.row.body.asked_at;
        let snapshots = snapshots.into_iter().map(|snapshot| released(desk, asked_at, snapshot)).collect();
        let body = person.row.body.clone();
        put(desk, &mut person.row, Erasure { cleared_at: Some(desk.now()), snapshots, ..body }).await?;
        cleared.push(person.row);
    }
    Ok(cleared)
}

/// Notes what is waited for, or that it is over.
fn look(erasure: &mut Erasure, under_way: &BTreeSet<String>) {
    match &mut erasure.waits_for {
        None => erasure.waits_for = Some(under_way.iter().cloned().collect()),
        Some(waits_for) if waits_for.is_empty() => {}
        Some(waits_for) => {
            waits_for.retain(|name| under_way.contains(name));
            if waits_for.is_empty() && !erasure.is_second_look {
                // An upload that was under way is an import or an audience by now.
                erasure.is_second_look = true;
                erasure.waits_for = Some(under_way.iter().cloned().collect());
            }
        }
    }
}

/// Work that is not over, and files that nobody named yet: each may hold anybody.
async fn under_way(desk: &Desk) -> Result<BTreeSet<String>> {
    let (store, blobs) = (&*desk.backend.store, &desk.backend.blobs);
    let mut names: BTreeSet<String> = blobs.growing().await?.into_iter().collect();
    let mut stored: BTreeSet<String> = blobs.list("uploads/").await?.into_iter().collect();
    stored.extend(blobs.list("imports/").await?);
    stored.retain(|blob| !BESIDE.iter().any(|ending| blob.ends_with(ending)));
    for row in audience::all(store).await? {
        if matches!(row.state, AudienceState::Uploaded | AudienceState::Resolving { .. }) {
            names.insert(row.id.to_string());
        }
        if let Some(upload) = &row.upload {
            stored.remove(&upload.blob);
        }
    }
    for row in import::all(store).await? {
        if !row.state.is_over() {
            names.insert(row.id.to_string());
        }
        stored.remove(&row.upload.blob);
    }
    for row in rows::upload::all(store).await? {
        if let PartsState::Received { upload } = row.state {
            names.insert(row.id.to_string());
            stored.remove(&upload.blob);
        }
    }
    let exports = export::all(store).await?.into_iter().filter(|row| !row.state.is_over());
    names.extend(exports.map(|row| row.id.to_string()));
    let inquiries = inquiry::all(store).await?.into_iter().filter(|row| !row.body.state.is_over());
    names.extend(inquiries.map(|row| row.body.id.to_string()));
    names.extend(stored);
    Ok(names)
}

/// A snapshot that names somebody, and until when.
fn released(desk: &Desk, asked_at: model::Timestamp, snapshot: Digest) -> NamingSnapshot {
    let config = &desk.config;
    let released_at = asked_at + config.snapshots_kept;
    let goes_by = released_at + config.garbage_kept + 2 * config.collect_every;
    NamingSnapshot { snapshot, released_at, goes_by, gone_at: None }
}

/// Ends what waited for snapshots that are gone by now; to be called whenever some went.
pub(crate) async fn settle_named(desk: &Desk) -> Result<()> {
    let named = erasure::named(&*desk.backend.store).await?;
    let stored = if named.is_empty() { BTreeSet::new() } else { stored_snapshots(desk).await? };
    for row in named {
        match settle(desk, row, &stored).await {
            // Another resolver collects, too.
            Err(Error::Overtaken) => {}
            settled => settled?,
        }
    }
    Ok(())
}

/// Ends what is over: nothing names the person any more.
async fn settle(desk: &Desk, mut row: Versioned<Erasure>, stored: &BTreeSet<Digest>) -> Result<()> {
    desk.backend.blobs.delete(&erasure::user_blob(row.body.id)).await?;
    let mut new = row.body.clone();
    for naming in new.snapshots.iter_mut().filter(|naming| naming.gone_at.is_none()) {
        if !stored.contains(&naming.snapshot) {
            naming.gone_at = Some(desk.now());
        }
    }
    if new != row.body {
        put(desk, &mut row, new).await?;
    }
    // Whoever looked whether somebody is forgotten made a file that names the person.
    if !row.body.is_named() && forget_inquiries(desk, row.body.user).await? {
        end(desk, &mut row, ErasureState::Erased { at: desk.now() }, "person.erased").await?;
        tracing::info!(erasure = %row.body.id, "somebody is forgotten");
    }
    Ok(())
}

/// Deletes what was asked about somebody since; whether nothing of it is under way.
async fn forget_inquiries(desk: &Desk, user: UserHash) -> Result<bool> {
    let mut is_done = true;
    for row in inquiry::all(&*desk.backend.store).await?.into_iter().filter(|row| row.body.user == user) {
        if row.body.state.is_over() {
            forget_inquiry(desk, row.body.id).await?;
        } else {
            is_done = false;
        }
    }
    Ok(is_done)
}

/// Deletes an inquiry with everything that is stored of it; the row last, which is what finds the rest.
pub(crate) async fn forget_inquiry(desk: &Desk, id: InquiryId) -> Result<()> {
    for blob in desk.backend.blobs.list(&inquiry::blobs(id)).await? {
        desk.backend.blobs.delete(&blob).await?;
    }
    desk.backend.store.write(vec![inquiry::delete(id)]).await?;
    Ok(())
}
