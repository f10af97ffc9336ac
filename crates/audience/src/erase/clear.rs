//! Clears every place but the snapshots of people, all of them together. Of each thing the receipt counts it before it goes, so that
//! a kill in between makes no count wrong.

use std::path::Path;
use std::sync::Arc;

use backend::rows::{audience, import, inquiry, suppression};
use device_map::{Snapshot, Users};
use model::erasure::Place;
use model::{AudienceState, Device, Digest};

use super::{Person, forget_inquiry};
use crate::desk::Desk;
use crate::error::{Failure, Result};
use crate::garbage::stored_snapshots;
use crate::inquire::files;
use crate::search::{Needles, Search, search};
use crate::upload::step;

/// Blobs that were written here and may name people, by their beginnings and endings.
const WRITTEN_HERE: [(&str, &str); 2] = [("exports/", ""), ("uploads/", ".left-out")];
/// Things that are counted, and then removed, at once.
const PART: usize = 500;

/// Something that goes: its name, and for which of the people.
type Thing = (String, Vec<bool>);

/// Clears every place but the snapshots.
pub(super) async fn clear(desk: &Desk, people: &mut [Person]) -> Result<()> {
    let directory = &desk.backend.directory;
    let users: Vec<String> = people.iter().map(|person| person.user.clone()).collect();
    let devices = directory.devices(&users).await?;
    // The files first: once the directory knows no key any more, a round that begins anew cannot look for it.
    let written = written(desk, &users, &devices).await?;
    remove(desk, people, Place::Exports, written).await?;
    let uploads = uploads(desk, people.len()).await?;
    remove(desk, people, Place::Uploads, uploads).await?;
    let inquiries = inquiries(desk, people).await?;
    remove(desk, people, Place::Inquiries, inquiries).await?;
    let key = suppression::hash_key(&*desk.backend.store, &*desk.runtime.randomness).await?;
    for (person, devices) in people.iter_mut().zip(&devices) {
        let names = devices.iter().map(|device| key.device(device));
        count(desk, person, Place::Directory, names.collect()).await?;
    }
    directory.erase_users(&users).await?;
    note_gone(desk, people, Place::Directory).await
}

/// Stores that these things of a person are about to go.
async fn count(desk: &Desk, person: &mut Person, place: Place, names: Vec<String>) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    person.change(desk, |erasure| erasure.count(place, desk.now(), names)).await
}

/// Stores of each person that what was counted is gone.
async fn note_gone(desk: &Desk, people: &mut [Person], place: Place) -> Result<()> {
    for person in people {
        person.change(desk, |erasure| erasure.note_gone(place, desk.now())).await?;
    }
    Ok(())
}

/// Removes things from a place, a part of them at a time.
async fn remove(desk: &Desk, people: &mut [Person], place: Place, mut things: Vec<Thing>) -> Result<()> {
    let is_going = |name: &str| people.iter().any(|person| person.row.body.is_going(place, name));
    // What was counted before a kill first: once a part is gone, its names are.
    things.sort_by_key(|(name, _)| !is_going(name));
    for part in things.chunks(PART) {
        for (at, person) in people.iter_mut().enumerate() {
            let theirs = part.iter().filter(|(_, whose)| whose[at]).map(|(name, _)| name.clone());
            count(desk, person, place, theirs.collect()).await?;
        }
        for (name, _) in part {
            match place {
                Place::Inquiries => {
                    forget_inquiry(desk, name.parse().expect("an id that was written as text")).await?
                }
                _ => desk.backend.blobs.delete(name).await?,
            }
        }
        note_gone(desk, people, place).await?;
    }
    // Where there was nothing, the receipt says so.
    if things.is_empty() { note_gone(desk, people, place).await } else { Ok(()) }
}

/// Files that were written here and name any of these people.
async fn written(desk: &Desk, users: &[String], devices: &[Vec<Device>]) -> Result<Vec<Thing>> {
    let blobs = &desk.backend.blobs;
    let needles = users
        .iter()
        .zip(devices)
        .map(|(user, devices)| Needles::new(user, devices.iter().map(|device| device.key.as_str())));
    let whom = Arc::new(Search::new(&needles.collect::<Vec<_>>()));
    let mut things = Vec::new();
    for (prefix, ending) in WRITTEN_HERE {
        for blob in blobs.list(prefix).await?.into_iter().filter(|blob| blob.ends_with(ending)) {
            let Some(path) = blobs.file(&blob).await? else { continue };
            let whom = Arc::clone(&whom);
            let found = step(move || search(&path, &whom)).await.map_err(Failure::broken)?;
            if found.contains(&true) {
                things.push((blob, found));
            }
        }
    }
    Ok(things)
}

/// Uploaded files that nobody has to read any more. They are in any shape that people upload, so that none is searched: all go.
async fn uploads(desk: &Desk, people: usize) -> Result<Vec<Thing>> {
    let (store, blobs) = (&*desk.backend.store, &desk.backend.blobs);
    let is_over =
        |state: &AudienceState| matches!(state, AudienceState::Frozen { .. } | AudienceState::Failed { .. });
    let audiences = audience::all(store).await?.into_iter().filter(|row| is_over(&row.state));
    let imports = import::all(store).await?.into_iter().filter(|row| row.state.is_over());
    let uploads = audiences.filter_map(|row| row.upload).chain(imports.map(|row| row.upload));
    let mut things = Vec::new();
    for upload in uploads {
        if blobs.file(&upload.blob).await?.is_some() {
            things.push((upload.blob, vec![true; people]));
        }
    }
    Ok(things)
}

/// Inquiries about any of these people.
async fn inquiries(desk: &Desk, people: &[Person]) -> Result<Vec<Thing>> {
    let over = inquiry::all(&*desk.backend.store).await?.into_iter().filter(|row| row.body.state.is_over());
    let thing = |row: backend::rows::Versioned<model::inquiry::Inquiry>| {
        let whose: Vec<bool> = people.iter().map(|person| person.row.body.user == row.body.user).collect();
        whose.contains(&true).then(|| (row.body.id.to_string(), whose))
    };
    Ok(over.filter_map(thing).collect())
}

/// The snapshots that name each person.
pub(super) async fn naming_snapshots(desk: &Desk, people: &[Person]) -> Result<Vec<Vec<Digest>>> {
    let mut naming = vec![Vec::new(); people.len()];
    let users: Arc<Vec<String>> = Arc::new(people.iter().map(|person| person.user.clone()).collect());
    for snapshot in stored_snapshots(desk).await? {
        let is_named = match files(desk, snapshot).await? {
            Some((map, list)) => {
                let users = Arc::clone(&users);
                match step(move || is_in(&map, &list, &users)).await.map_err(Failure::broken) {
                    Ok(is_in) => is_in,
                    Err(error) if error.is_transient() => return Err(error),
                    // Nobody can tell whom a damaged one names.
                    Err(_) => vec![true; people.len()],
                }
            }
            // It is being deleted, and nobody can tell any more whom it named.
            None => vec![true; people.len()],
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
