//! Forgets people everywhere. The rows are the queue: each round takes everybody who waits, and every step may be done again, so
//! that whoever is killed goes on where another left off.
//!
//! What was under way when somebody asked may have met the person before the late list did, and is waited for; so is what comes
//! of it. What begins later leaves the person out by itself.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::path::Path;

use backend::Expect;
use backend::rows::upload::PartsState;
use backend::rows::{self, Versioned, audience, erasure, export, import, inquiry};
use device_map::{Snapshot, Users};
use model::erasure::{Erasure, ErasureState, NamingSnapshot, Place};
use model::suppression::UserHash;
use model::{AudienceState, Digest};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;
use crate::error::{Error, Failure, Result};
use crate::garbage::stored_snapshots;
use crate::inquire::files;
use crate::search::{Needles, search};
use crate::upload::step;

/// Blobs that were written here and may name people, by their beginnings and endings.
const WRITTEN_HERE: [(&str, &str); 2] = [("exports/", ""), ("uploads/", ".left-out")];
/// Endings of what stands beside an upload, once its work is over.
const BESIDE: [&str; 2] = [".bad-rows", ".left-out"];

/// Looks after it until `shutdown`.
pub(crate) async fn keep(desk: &Desk, shutdown: &CancellationToken) {
    let mut was_failing = false;
    loop {
        let done = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            done = Box::pin(round(desk)) => done,
        };
        let failed = done.err().filter(|error| !matches!(error, Error::Overtaken));
        if let Some(error) = &failed
            && !was_failing
        {
            tracing::warn!(
                error = error as &dyn StdError,
                "people who are to be forgotten wait for the next time"
            );
        }
        was_failing = failed.is_some();
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = desk.runtime.clock.sleep(desk.config.erase_every) => {}
        }
    }
}

/// Somebody who is to be forgotten.
struct Person {
    row: Versioned<Erasure>,
    user: String,
}

/// Goes as far as it goes with everybody; how many are not forgotten yet.
pub(crate) async fn round(desk: &Desk) -> Result<usize> {
    let mut open = erasure::all(&*desk.backend.store).await?;
    open.retain(|row| !row.body.is_over());
    let (cleared, asked): (Vec<_>, Vec<_>) = open.into_iter().partition(|row| row.body.cleared_at.is_some());
    let mut left = asked.len() + cleared.len();
    let mut people = Vec::with_capacity(asked.len());
    for row in asked {
        let blob = erasure::user_blob(row.body.id);
        let user = desk.backend.blobs.get(&blob).await?.and_then(|user| String::from_utf8(user).ok());
        match user {
            Some(user) => people.push(Person { row, user }),
            // Somebody removed it. Others are forgotten all the same.
            None => tracing::error!(blob, "nobody can tell any more who is to be forgotten: ask again"),
        }
    }
    let cleared_now = if people.is_empty() { Vec::new() } else { clear_all(desk, people).await? };
    for row in cleared.into_iter().chain(cleared_now) {
        left -= usize::from(settle(desk, row).await?);
    }
    Ok(left)
}

/// Clears what can be cleared; whoever has nothing to wait for any more.
async fn clear_all(desk: &Desk, people: Vec<Person>) -> Result<Vec<Versioned<Erasure>>> {
    let under_way = under_way(desk).await?;
    let (mut ready, mut early) = (Vec::new(), Vec::new());
    for mut person in people {
        let is_first = person.row.body.waits_for.is_none();
        let before = person.row.body.clone();
        let is_ready = look(&mut person.row.body, &under_way);
        // Unchanged it is left alone: another resolver may be at it.
        if person.row.body != before {
            save(desk, &mut person.row).await?;
        }
        match (is_ready, is_first) {
            (true, _) => ready.push(person),
            // What is not waited for goes now.
            (false, true) => early.push(person),
            (false, false) => {}
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
        let body = &mut person.row.body;
        body.cleared_at = Some(desk.now());
        body.snapshots = snapshots.into_iter().map(|snapshot| released(desk, body, snapshot)).collect();
        save(desk, &mut person.row).await?;
        cleared.push(person.row);
    }
    Ok(cleared)
}

/// Notes what is waited for, or that it is over; whether nothing is any more.
fn look(erasure: &mut Erasure, under_way: &BTreeSet<String>) -> bool {
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
    erasure.waits_for.as_ref().is_some_and(Vec::is_empty)
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

/// Clears every place but the snapshots.
async fn clear(desk: &Desk, people: &mut [Person]) -> Result<()> {
    let directory = &desk.backend.directory;
    let users: Vec<String> = people.iter().map(|person| person.user.clone()).collect();
    let devices = directory.devices(&users).await?;
    let needles = devices
        .iter()
        .zip(&users)
        .map(|(devices, user)| Needles::new(user, devices.iter().map(|device| device.key.as_str())));
    let needles: Vec<Needles> = needles.collect();
    // The files first: once the directory knows no key any more, a round that begins anew cannot look for it.
    let named = clear_written(desk, needles).await?;
    note(desk, people, Place::Exports, named).await?;
    let files = clear_uploads(desk).await?;
    note(desk, people, Place::Uploads, vec![files; users.len()]).await?;
    let answers = clear_inquiries(desk, people).await?;
    note(desk, people, Place::Inquiries, answers).await?;
    directory.erase_users(&users).await?;
    note(desk, people, Place::Directory, devices.iter().map(|devices| devices.len() as u64).collect()).await
}

/// Stores what went of each person from a place.
async fn note(desk: &Desk, people: &mut [Person], place: Place, things: Vec<u64>) -> Result<()> {
    for (person, things) in people.iter_mut().zip(things) {
        person.row.body.note(place, desk.now(), things);
        save(desk, &mut person.row).await?;
    }
    Ok(())
}

async fn save(desk: &Desk, row: &mut Versioned<Erasure>) -> Result<()> {
    row.version = desk.put(erasure::put(&row.body, Expect::Version(row.version))).await?;
    Ok(())
}

/// Deletes files that name any of these people; how many named each.
async fn clear_written(desk: &Desk, mut needles: Vec<Needles>) -> Result<Vec<u64>> {
    let blobs = &desk.backend.blobs;
    let mut named = vec![0; needles.len()];
    for (prefix, ending) in WRITTEN_HERE {
        for blob in blobs.list(prefix).await?.into_iter().filter(|blob| blob.ends_with(ending)) {
            let Some(path) = blobs.file(&blob).await? else { continue };
            let found;
            (needles, found) = step(move || search(&path, needles)).await.map_err(Failure::broken)?;
            named.iter_mut().zip(&found).for_each(|(named, found)| *named += u64::from(*found));
            if found.contains(&true) {
                blobs.delete(&blob).await?;
            }
        }
    }
    Ok(named)
}

/// Deletes uploaded files that nobody has to read any more. They are in any shape that people upload, so that none is searched.
async fn clear_uploads(desk: &Desk) -> Result<u64> {
    let (store, blobs) = (&*desk.backend.store, &desk.backend.blobs);
    let is_over =
        |state: &AudienceState| matches!(state, AudienceState::Frozen { .. } | AudienceState::Failed { .. });
    let audiences = audience::all(store).await?.into_iter().filter(|row| is_over(&row.state));
    let imports = import::all(store).await?.into_iter().filter(|row| row.state.is_over());
    let uploads = audiences.filter_map(|row| row.upload).chain(imports.map(|row| row.upload));
    let mut files = 0;
    for upload in uploads {
        if blobs.file(&upload.blob).await?.is_some() {
            blobs.delete(&upload.blob).await?;
            files += 1;
        }
    }
    Ok(files)
}

/// Deletes inquiries about these people; how many there were about each.
async fn clear_inquiries(desk: &Desk, people: &[Person]) -> Result<Vec<u64>> {
    let inquiries = inquiry::all(&*desk.backend.store).await?;
    let mut answers = vec![0; people.len()];
    for (person, answers) in people.iter().zip(&mut answers) {
        let theirs =
            inquiries.iter().filter(|row| row.body.user == person.row.body.user && row.body.state.is_over());
        for row in theirs {
            forget_inquiry(desk, row.body.id).await?;
            *answers += 1;
        }
    }
    Ok(answers)
}

/// Deletes an inquiry with everything that is stored of it; the row last, which is what finds the rest.
pub(crate) async fn forget_inquiry(desk: &Desk, id: model::InquiryId) -> Result<()> {
    for blob in desk.backend.blobs.list(&inquiry::blobs(id)).await? {
        desk.backend.blobs.delete(&blob).await?;
    }
    desk.backend.store.write(vec![inquiry::delete(id)]).await?;
    Ok(())
}

/// The snapshots that name each person.
async fn naming_snapshots(desk: &Desk, people: &[Person]) -> Result<Vec<Vec<Digest>>> {
    let mut naming = vec![Vec::new(); people.len()];
    let users: Vec<String> = people.iter().map(|person| person.user.clone()).collect();
    for snapshot in stored_snapshots(desk).await? {
        let is_named = match files(desk, snapshot).await? {
            Some((map, list)) => {
                let users = users.clone();
                match step(move || is_in(&map, &list, &users)).await.map_err(Failure::broken) {
                    // Nobody can tell whom a damaged one names.
                    Err(Error::Snapshot(_)) => vec![true; people.len()],
                    is_in => is_in?,
                }
            }
            // It is being deleted, and nobody can tell any more whom it named.
            None => vec![true; users.len()],
        };
        let named = naming.iter_mut().zip(is_named).filter(|(_, is_named)| *is_named);
        named.for_each(|(naming, _)| naming.push(snapshot));
    }
    Ok(naming)
}

fn is_in(map: &Path, list: &Path, users: &[String]) -> std::result::Result<Vec<bool>, Failure> {
    let list = Users::open(list, Snapshot::read_users_digest(map)?)?;
    Ok(users.iter().map(|user| list.find(user).is_some()).collect())
}

/// A snapshot that names somebody, and until when.
fn released(desk: &Desk, erasure: &Erasure, snapshot: Digest) -> NamingSnapshot {
    let config = &desk.config;
    let released_at = erasure.asked_at + config.snapshots_kept;
    let goes_by = released_at + config.garbage_kept + 2 * config.collect_every;
    NamingSnapshot { snapshot, released_at, goes_by, gone_at: None }
}

/// Ends what is over: nothing names the person any more. Whether it is.
async fn settle(desk: &Desk, mut row: Versioned<Erasure>) -> Result<bool> {
    let blobs = &desk.backend.blobs;
    blobs.delete(&erasure::user_blob(row.body.id)).await?;
    let before = row.body.clone();
    for naming in row.body.snapshots.iter_mut().filter(|naming| naming.gone_at.is_none()) {
        if blobs.list(&format!("snapshots/{}", naming.snapshot)).await?.is_empty() {
            naming.gone_at = Some(desk.now());
        }
    }
    let is_unnamed = row.body.snapshots.iter().all(|naming| naming.gone_at.is_some());
    // Whoever looked whether somebody is forgotten made a file that names the person.
    if is_unnamed && forget_inquiries(desk, row.body.user).await? {
        row.body.state = ErasureState::Erased { at: desk.now() };
        let detail = json!({ "user": row.body.user, "cleared": row.body.cleared, "snapshots": row.body.snapshots.len() });
        let write = erasure::put(&row.body, Expect::Version(row.version));
        desk.put_audited(write, Vec::new(), "person.erased", detail).await?;
        tracing::info!(erasure = %row.body.id, "somebody is forgotten");
        return Ok(true);
    }
    if row.body != before {
        save(desk, &mut row).await?;
    }
    Ok(false)
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
