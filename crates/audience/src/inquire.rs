//! Finds out what is held about one person: devices, the late list, every audience and every launch. One snapshot is open at a
//! time; of those without the person only the file of users is read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use backend::rows::{self, Versioned, audience, campaign, import, inquiry, launch, suppression};
use backend::{Expect, Store};
use device_map::{Position, Snapshot, Users};
use model::audience::UploadRows;
use model::device::is_sandbox;
use model::import::ImportState;
use model::inquiry::{
    Answer, HeldDevice, HeldUpload, InAudience, InLaunch, Inquiry, InquiryState, OnLateList, SentDevice,
    key_hash,
};
use model::selection::Lots;
use model::suppression::{Cause, UserHash};
use model::{
    Audience, AudienceId, Digest, InquiryId, Launch, LaunchId, Manifest, Outcome, OutcomeRuns, Plan,
};
use serde_json::json;

use crate::desk::Desk;
use crate::door::{HELD_BACK, NO_DEVICE, NOT_CHOSEN, SANDBOX, UNKNOWN};
use crate::error::{Error, Failure, Result};
use crate::upload::step;

/// In none of the ways that can still be told, and not in the snapshot.
const NOT_LISTED: &str = "not_listed";
/// A device whose group the wave leaves out.
const NOT_IN_WAVE: &str = "not_in_wave";
/// A device of which no worker has told yet.
const NOT_RECORDED: &str = "not_recorded";

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

/// What is held about `user`.
async fn find_out(desk: &Desk, user: &str, hash: UserHash) -> std::result::Result<Answer, Failure> {
    let (store, directory) = (&*desk.backend.store, &desk.backend.directory);
    let users = [user.to_owned()];
    let devices = directory.devices(&users).await?.into_iter().next().unwrap_or_default();
    let is_known = directory.knows(&users).await?.contains(&true);
    let list = suppression::list(store).await?.body.read(&*desk.backend.blobs).await?;
    let late_list = list.entry(&hash).map(|entry| OnLateList { cause: entry.cause, since: entry.since });
    let mut audiences = audience::all(store).await?;
    audiences.sort_unstable_by_key(|audience| audience.created_at);
    let launches = launches(store).await?;
    let mut found = BTreeMap::new();
    let frozen = audiences.iter().filter_map(Audience::snapshot);
    for snapshot in frozen.chain(launches.iter().map(|launch| launch.snapshot)) {
        if let Entry::Vacant(place) = found.entry(snapshot) {
            place.insert(find_in(desk, snapshot, user).await?);
        }
    }
    let answer = Answer {
        user: user.to_owned(),
        at: desk.now(),
        is_known,
        devices: devices.iter().map(HeldDevice::from).collect(),
        late_list,
        audiences: Vec::new(),
        launches: Vec::new(),
        uploads: held_uploads(desk, &audiences).await?,
    };
    let known = Known { user, answer: &answer, audiences: &audiences, found: &found };
    let audiences = audiences.iter().map(|audience| known.in_audience(audience)).collect();
    let mut sent = Vec::new();
    for launch in &launches {
        sent.extend(in_launch(desk, launch, found.get(&launch.snapshot).and_then(Option::as_ref)).await?);
    }
    let mut answer = Answer { audiences, launches: sent, ..answer };
    answer.note_accepted();
    Ok(answer)
}

/// Every launch, the oldest first.
pub(crate) async fn launches(store: &dyn Store) -> Result<Vec<Launch>> {
    let mut ids: Vec<LaunchId> = launch::open(store).await?;
    for campaign in campaign::all(store).await? {
        ids.extend(campaign::wave_launches(store, campaign.id).await?.into_iter().map(|(_, launch)| launch));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut launches = Vec::with_capacity(ids.len());
    for id in ids {
        launches.extend(launch::get(store, id).await?);
    }
    launches.sort_unstable_by_key(|launch| launch.pressed_at);
    Ok(launches)
}

/// Uploaded files that are still there.
async fn held_uploads(desk: &Desk, audiences: &[Audience]) -> Result<Vec<HeldUpload>> {
    let (store, blobs) = (&*desk.backend.store, &desk.backend.blobs);
    let mut held = Vec::new();
    for audience in audiences {
        if let Some(upload) = &audience.upload
            && blobs.file(&upload.blob).await?.is_some()
        {
            held.push(HeldUpload { of: audience.id.to_string(), since: audience.created_at });
        }
    }
    for import in import::all(store).await? {
        if !matches!(import.state, ImportState::Done { .. } | ImportState::Failed { .. }) {
            held.push(HeldUpload { of: import.id.to_string(), since: import.created_at });
        }
    }
    for parts in rows::upload::all(store).await? {
        if blobs.grown(&rows::upload::object(parts.id)).await?.is_some() {
            held.push(HeldUpload { of: parts.id.to_string(), since: parts.created_at });
        }
    }
    Ok(held)
}

/// Somebody's devices in a snapshot.
struct Found {
    manifest: Manifest,
    devices: Vec<(Position, HeldDevice)>,
}

/// The files of a snapshot, unless it is gone or going.
pub(crate) async fn files(desk: &Desk, snapshot: Digest) -> Result<Option<(PathBuf, PathBuf)>> {
    let blobs = &desk.backend.blobs;
    let map = blobs.file(&audience::snapshot_blob(snapshot)).await?;
    Ok(map.zip(blobs.file(&audience::users_blob(snapshot)).await?))
}

/// The devices of `user` in a snapshot; `None` when it is gone.
async fn find_in(desk: &Desk, snapshot: Digest, user: &str) -> std::result::Result<Option<Found>, Failure> {
    let manifest = audience::manifest(&*desk.backend.blobs, snapshot).await?;
    let Some((manifest, (map, users))) = manifest.zip(files(desk, snapshot).await?) else { return Ok(None) };
    let user = user.to_owned();
    let devices = step(move || devices_of(&map, &users, snapshot, &user)).await?;
    Ok(Some(Found { manifest, devices }))
}

fn devices_of(
    map: &Path,
    users: &Path,
    digest: Digest,
    user: &str,
) -> std::result::Result<Vec<(Position, HeldDevice)>, Failure> {
    let ordinal = Users::open(users, Snapshot::read_users_digest(map)?)?.find(user);
    let Some(ordinal) = ordinal else { return Ok(Vec::new()) };
    let snapshot = Snapshot::open(map, digest)?;
    let held = |position: Position| {
        let group = snapshot.groups().get(position.group as usize)?;
        let key = snapshot.device(position)?.text();
        let device = HeldDevice {
            platform: group.platform,
            app: group.app.clone(),
            locale: group.locale.clone(),
            market: group.market.clone(),
            key_hash: key_hash(&key),
            key: Some(key),
            registered_at: None,
            last_accepted: None,
        };
        Some((position, device))
    };
    Ok(snapshot.devices_of(ordinal).filter_map(held).collect())
}

/// What was found out so far, for judging how somebody stands to an audience.
struct Known<'a> {
    user: &'a str,
    answer: &'a Answer,
    audiences: &'a [Audience],
    found: &'a BTreeMap<Digest, Option<Found>>,
}

impl Known<'_> {
    fn in_audience(&self, audience: &Audience) -> InAudience {
        let snapshot = audience.snapshot();
        let found = snapshot.and_then(|snapshot| self.found.get(&snapshot)).and_then(Option::as_ref);
        let devices: Vec<HeldDevice> = found
            .map(|found| found.devices.iter().map(|(_, device)| device.clone()).collect())
            .unwrap_or_default();
        let is_in = !devices.is_empty();
        let why = match (snapshot, found) {
            (None, _) => Some("not_frozen".to_owned()),
            (Some(_), None) => Some("snapshot_gone".to_owned()),
            // In it, and nothing is sent to the person all the same.
            (Some(_), Some(_)) if is_in => self.late(),
            (Some(_), Some(_)) => Some(self.why_not_in(audience)),
        };
        let (name, id) = (audience.name.clone(), audience.id);
        InAudience { audience: id, name, snapshot, is_in, devices, why }
    }

    fn late(&self) -> Option<String> {
        self.answer.late_list.as_ref().map(|late| late.cause.name().to_owned())
    }

    /// The reason as whoever froze it would find it today, in the order in which it is looked for.
    fn why_not_in(&self, audience: &Audience) -> String {
        let is_of_users = audience.sample.is_none() && audience.rows != Some(UploadRows::Devices);
        let is_erased = self.answer.late_list.as_ref().is_some_and(|late| late.cause == Cause::Erased);
        if is_of_users && self.answer.devices.is_empty() && !is_erased {
            return if self.answer.is_known { NO_DEVICE } else { UNKNOWN }.to_owned();
        }
        if let Some(cause) = self.late() {
            return cause;
        }
        let is_of_sandbox = |device: &HeldDevice| is_sandbox(&device.app);
        if is_of_users && !audience.sandbox && self.answer.devices.iter().all(is_of_sandbox) {
            return SANDBOX.to_owned();
        }
        let is_held_back = |control: &model::selection::Control| {
            control.holds_back(Lots::of_control(control.seed).draw(self.user))
        };
        if audience.control.as_ref().is_some_and(is_held_back) {
            return HELD_BACK.to_owned();
        }
        let is_of_theirs = |id: AudienceId| {
            let of = self.audiences.iter().find(|audience| audience.id == id);
            let found =
                of.and_then(Audience::snapshot).and_then(|snapshot| self.found.get(&snapshot)?.as_ref());
            found.is_some_and(|found| !found.devices.is_empty())
        };
        if audience.sample.as_ref().is_some_and(|sample| is_of_theirs(sample.of)) {
            return NOT_CHOSEN.to_owned();
        }
        NOT_LISTED.to_owned()
    }
}

/// What became of somebody's devices in a launch; nothing when none was in its snapshot.
async fn in_launch(
    desk: &Desk,
    launch: &Launch,
    found: Option<&Found>,
) -> std::result::Result<Option<InLaunch>, Failure> {
    let devices = match found {
        None => None,
        Some(found) if found.devices.is_empty() => return Ok(None),
        Some(found) => Some(sent(&*desk.backend.store, launch, found).await?),
    };
    Ok(Some(InLaunch {
        launch: launch.id,
        campaign: launch.campaign,
        campaign_name: launch.campaign_name.clone(),
        wave: launch.wave.name.clone(),
        pressed_at: launch.pressed_at,
        devices,
    }))
}

async fn sent(store: &dyn Store, launch: &Launch, found: &Found) -> Result<Vec<SentDevice>> {
    let plan = Plan::new(&found.manifest, &launch.wave, &launch.sizes);
    let mut slices: BTreeMap<u16, BTreeMap<u32, OutcomeRuns>> = BTreeMap::new();
    let mut sent = Vec::with_capacity(found.devices.len());
    for (position, device) in &found.devices {
        let holds = |shard: &&model::ShardSpec| {
            shard.group == position.group
                && (shard.start..shard.start + shard.count).contains(&position.device)
        };
        let Some(shard) = plan.shards().iter().find(holds) else {
            sent.push(told(device, Err(NOT_IN_WAVE)));
            continue;
        };
        let slice = plan.slice_of(shard.number);
        let outcomes = match slices.entry(slice) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(place) => place.insert(rows::outcome::of_slice(store, launch.id, slice).await?),
        };
        let place = (position.device - shard.start) as usize;
        let outcome = outcomes.get(&shard.number).and_then(|outcomes| outcomes.iter().nth(place));
        sent.push(told(device, outcome.ok_or(NOT_RECORDED)));
    }
    Ok(sent)
}

fn told(device: &HeldDevice, outcome: std::result::Result<Outcome, &str>) -> SentDevice {
    let device = device.clone();
    match outcome {
        Ok(outcome) => SentDevice {
            device,
            outcome: outcome.class().name().to_owned(),
            reason: outcome.reason().text().to_owned(),
            is_resent: outcome.is_resent(),
        },
        Err(word) => SentDevice { device, outcome: word.to_owned(), reason: String::new(), is_resent: false },
    }
}
