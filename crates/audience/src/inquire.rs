//! Finds out what is held about one person: devices, the late list, every audience and every launch, and the files that name the
//! person. One snapshot is open at a time; of those without the person only the file of users is read.

mod held;
mod sent;
mod snapshots;
mod standing;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error as StdError;

use backend::Expect;
use backend::rows::{Versioned, audience, inquiry, suppression};
use model::inquiry::{Answer, HeldDevice, Inquiry, InquiryState, OnLateList};
use model::suppression::UserHash;
use model::{Audience, Digest, InquiryId};
use serde_json::json;

use self::held::{held_uploads, naming_files};
use self::sent::in_launch;
pub(crate) use self::sent::launches;
pub(crate) use self::snapshots::files;
use self::snapshots::{Found, find_in};
use self::standing::Known;
use crate::desk::Desk;
use crate::error::{Error, Failure, Result};
use crate::search::{Needles, Search};

/// Does what a message asks for; begun `receives` times, this time included.
pub(crate) async fn run(desk: &Desk, id: InquiryId, receives: u32) -> Result<()> {
    let Some(row) = inquiry::get(&*desk.backend.store, id).await? else { return Ok(()) };
    if row.body.state.is_over() {
        // Whoever ended it may have been killed before this was gone.
        return Ok(desk.backend.blobs.delete(&inquiry::user_blob(id)).await?);
    }
    let was_begun = matches!(row.body.state, InquiryState::Looking);
    if was_begun && !desk.is_abandoned(inquiry::key(id), row.version).await? {
        return Err(Error::Overtaken);
    }
    let mut work = Work { desk, row };
    if receives > desk.config.attempts_max {
        return work.end(failed(format!("it was begun {} times and never finished", receives - 1))).await;
    }
    match work.find_out().await {
        Ok(done) => work.end(done).await,
        Err(Failure::Refused(why)) => work.end(failed(why)).await,
        Err(Failure::Broken(error)) => match desk.gives_up(&error, receives) {
            Some(why) => work.end(failed(why)).await,
            None => Err(error),
        },
    }
}

const fn failed(why: String) -> InquiryState {
    InquiryState::Failed { why }
}

struct Work<'a> {
    desk: &'a Desk,
    row: Versioned<Inquiry>,
}

impl Work<'_> {
    async fn find_out(&mut self) -> std::result::Result<InquiryState, Failure> {
        let (desk, id) = (self.desk, self.row.body.id);
        self.save(InquiryState::Looking).await?;
        let blob = inquiry::user_blob(id);
        let user = desk.backend.blobs.get(&blob).await?.ok_or_else(|| Error::Missing(blob))?;
        let user = String::from_utf8(user).map_err(|_| Failure::Refused("the user id is no text".into()))?;
        let answer = {
            let mut finding = std::pin::pin!(find_out(desk, &user, self.row.body.user));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut finding => break answer?,
                    () = desk.runtime.clock.sleep(desk.config.progress_every) => self.save(InquiryState::Looking).await?,
                }
            }
        };
        let bytes =
            serde_json::to_vec_pretty(&answer).expect("an answer is plain values, which always serialize");
        let (blob, at) = (inquiry::answer_blob(id, desk.runtime.randomness.u64()), desk.now());
        let done = InquiryState::Done {
            blob: blob.clone(),
            bytes: bytes.len() as u64,
            digest: Digest::of(&bytes),
            at,
        };
        desk.backend.blobs.put(&blob, bytes).await?;
        Ok(done)
    }

    async fn save(&mut self, state: InquiryState) -> Result<()> {
        self.row.body.state = state;
        let write = inquiry::put(&self.row.body, Expect::Version(self.row.version));
        self.row.version = self.desk.put(write).await?;
        Ok(())
    }

    /// Stores the end; then what the person is called goes, which the answer says by itself.
    async fn end(&mut self, state: InquiryState) -> Result<()> {
        let action = match state {
            InquiryState::Done { .. } => "inquiry.answered",
            _ => "inquiry.failed",
        };
        self.row.body.state = state;
        let write = inquiry::put(&self.row.body, Expect::Version(self.row.version));
        let detail = json!({ "user": self.row.body.user });
        self.desk.put_audited(write, Vec::new(), action, detail).await?;
        Ok(self.desk.backend.blobs.delete(&inquiry::user_blob(self.row.body.id)).await?)
    }
}

/// What is held about `user`. What of snapshots, records and files cannot be read is named; all else must be.
async fn find_out(desk: &Desk, user: &str, hash: UserHash) -> std::result::Result<Answer, Failure> {
    let (store, directory) = (&*desk.backend.store, &desk.backend.directory);
    let users = [user.to_owned()];
    let devices = directory.devices(&users).await?.into_iter().next().unwrap_or_default();
    let is_known = directory.knows(&users).await?.contains(&true);
    let list = suppression::current(store, &*desk.backend.blobs).await?.people;
    let late_list = list.entry(&hash).map(|entry| OnLateList { cause: entry.cause, since: entry.since });
    let mut audiences = audience::all(store).await?;
    audiences.sort_unstable_by_key(|audience| audience.created_at);
    let launches = launches(store).await?;
    let (mut unread, mut found) = (Unread::default(), BTreeMap::new());
    let frozen = audiences.iter().filter_map(Audience::snapshot);
    for snapshot in frozen.chain(launches.iter().map(|launch| launch.snapshot)) {
        if let Entry::Vacant(place) = found.entry(snapshot) {
            let here =
                unread.or_note(&format!("snapshot {snapshot}"), find_in(desk, snapshot, user).await)?;
            place.insert(here.unwrap_or(Found::Unreadable));
        }
    }
    let devices: Vec<HeldDevice> = devices.iter().map(HeldDevice::from).collect();
    let uploads = held_uploads(desk, &audiences).await?;
    let answer = Answer {
        user: user.to_owned(),
        at: desk.now(),
        is_known,
        devices,
        late_list,
        uploads,
        ..Answer::default()
    };
    let known = Known { user, answer: &answer, audiences: &audiences, found: &found };
    let standing = audiences.iter().map(|audience| known.in_audience(audience)).collect();
    let mut sent = Vec::new();
    for launch in &launches {
        sent.extend(in_launch(desk, launch, found.get(&launch.snapshot), &mut unread).await?);
    }
    let keys = answer.devices.iter().chain(found.values().flat_map(Found::devices));
    let whom = Search::new(&[Needles::new(user, keys.filter_map(|device| device.key.as_deref()))]);
    let files = naming_files(desk, &audiences, whom, &mut unread).await?;
    let mut answer = Answer { audiences: standing, launches: sent, files, unreadable: unread.0, ..answer };
    answer.note_accepted();
    Ok(answer)
}

/// What could not be read, by name.
#[derive(Default)]
struct Unread(Vec<String>);

impl Unread {
    /// What was read. That it cannot be is noted, unless a later try may do better.
    fn or_note<T>(&mut self, what: &str, read: std::result::Result<T, Failure>) -> Result<Option<T>> {
        match read.map_err(Failure::broken) {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                let error = &error as &dyn StdError;
                tracing::warn!(what, error, "an inquiry is answered without what cannot be read");
                self.0.push(what.to_owned());
                Ok(None)
            }
        }
    }
}
