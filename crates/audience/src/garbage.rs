//! Snapshots, uploads and exports that nobody names any more go, and so does what was kept long enough. A crash in the middle
//! leaves something for the next time, never a name without what it stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backend::rows::garbage::{self, Mark};
use backend::rows::upload::{self, PartsState};
use backend::rows::{audience, campaign, erasure, export, fleet, import, inquiry, launch, suppression};
use backend::store::Written;
use backend::{Expect, Write};
use model::erasure::NamingSnapshot;
use model::export::ExportState;
use model::{Audience, AudienceState, Digest, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;
use crate::erase;
use crate::error::Result;

/// What one collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(crate) marked: usize,
    pub(crate) snapshots: usize,
    pub(crate) blobs: usize,
}

/// Collects again and again until `shutdown`.
pub(crate) async fn keep(desk: &Desk, shutdown: &CancellationToken) {
    let work = async || {
        let Collected { marked, snapshots, blobs } = Box::pin(collect(desk)).await?;
        if snapshots + blobs > 0 {
            tracing::info!(marked, snapshots, blobs, "what nobody needs any more is deleted");
        }
        Ok(())
    };
    desk.keep(shutdown, desk.config.collect_every, "garbage stays until the next time", work).await;
}

/// Everything that is named somewhere.
#[derive(Default)]
struct Named {
    snapshots: BTreeSet<Digest>,
    blobs: BTreeSet<String>,
}

/// How names of blobs begin that somebody has to name.
const PREFIXES: [&str; 7] =
    ["uploads/", "imports/", "exports/", "suppression/", "suppressed/", "inquiries/", "erasures/"];

/// Marks what nobody names, and deletes what was marked long ago and is still not named.
pub(crate) async fn collect(desk: &Desk) -> Result<Collected> {
    let mut collected = Collected::default();
    for row in inquiry::all(&*desk.backend.store).await? {
        if desk.now().since(row.body.created_at) >= desk.config.inquiries_kept {
            erase::forget_inquiry(desk, row.body.id).await?;
            collected.blobs += 1;
        }
    }
    let named = named(desk).await?;
    for snapshot in stored_snapshots(desk).await? {
        collect_snapshot(desk, snapshot, &named, &mut collected).await?;
    }
    for prefix in PREFIXES {
        for blob in desk.backend.blobs.list(prefix).await? {
            if !named.blobs.contains(&blob) {
                collect_blob(desk, &blob, &mut collected).await?;
            }
        }
    }
    erase::settle_named(desk).await?;
    Ok(collected)
}

/// Every snapshot of which something is stored.
pub(crate) async fn stored_snapshots(desk: &Desk) -> Result<BTreeSet<Digest>> {
    let blobs = desk.backend.blobs.list("snapshots/").await?;
    let digest = |name: &String| name.strip_prefix("snapshots/")?.split('.').next()?.parse().ok();
    Ok(blobs.iter().filter_map(digest).collect())
}

/// Snapshots that name somebody who is forgotten, and whose time is over; each with when that person was.
#[derive(Default)]
struct Released(BTreeMap<Digest, Timestamp>);

impl Released {
    fn add(&mut self, naming: &[NamingSnapshot], cleared_at: Timestamp, now: Timestamp) {
        for naming in naming.iter().filter(|naming| naming.gone_at.is_none() && naming.released_at <= now) {
            let at = self.0.entry(naming.snapshot).or_insert(cleared_at);
            *at = cleared_at.max(*at);
        }
    }

    /// Whether what has had a snapshot since `at` keeps it no longer. Behind the erasure only whoever came back gets in again.
    fn has(&self, snapshot: Digest, at: Timestamp) -> bool {
        self.0.get(&snapshot).is_some_and(|cleared_at| at <= *cleared_at)
    }
}

async fn named(desk: &Desk) -> Result<Named> {
    let store = &*desk.backend.store;
    let (now, config) = (desk.now(), &desk.config);
    let is_kept = |since: Timestamp, kept: Duration| now.since(since) < kept;
    let mut named = Named::default();
    // They name people who asked to be forgotten long ago: only what is being sent, or is about to be, keeps them.
    let mut released = Released::default();
    for row in erasure::open(store).await? {
        named.blobs.insert(erasure::user_blob(row.body.id));
    }
    for row in erasure::named(store).await? {
        if let Some(at) = row.body.cleared_at {
            released.add(&row.body.snapshots, at, now);
        }
    }
    for row in inquiry::all(store).await? {
        named.blobs.extend(desk.backend.blobs.list(&inquiry::blobs(row.body.id)).await?);
    }
    for row in audience::all(store).await? {
        if let AudienceState::Frozen { snapshot, at } = &row.state
            && !released.has(*snapshot, *at)
        {
            named.snapshots.insert(*snapshot);
        }
        let over_at = match &row.state {
            AudienceState::Frozen { at, .. } => Some(*at),
            AudienceState::Failed { .. } => Some(row.worked_at.unwrap_or(row.created_at)),
            _ => None,
        };
        if over_at.is_none_or(|at| is_kept(at, config.uploads_kept)) {
            named.blobs.extend(row.blobs().map(str::to_owned));
        }
    }
    for row in import::all(store).await? {
        if !row.state.is_over() {
            named.blobs.insert(row.upload.blob);
        } else if is_kept(row.created_at, config.uploads_kept) {
            named.blobs.extend(row.report.and_then(|report| report.read.bad_rows_blob));
        }
    }
    // Complete, and not handed over to its audience or import yet.
    for row in upload::all(store).await? {
        if let PartsState::Received { upload } = row.state {
            named.blobs.insert(upload.blob);
        }
    }
    for row in export::all(store).await? {
        if !row.state.is_over() {
            named.snapshots.extend(row.subject.snapshots());
        }
        if let ExportState::Done { blob, at, .. } = row.state
            && is_kept(at, config.exports_kept)
        {
            named.blobs.insert(blob);
        }
    }
    let mut launches: BTreeSet<_> = launch::open(store).await?.into_iter().collect();
    let open = launches.clone();
    for campaign in campaign::all(store).await? {
        launches
            .extend(campaign::wave_launches(store, campaign.id).await?.into_iter().map(|(_, launch)| launch));
    }
    for id in launches {
        let launch = launch::get(store, id).await?;
        let kept = launch.filter(|launch| {
            let is_released = released.has(launch.snapshot, launch.pressed_at);
            open.contains(&id) || (!is_released && is_kept(launch.pressed_at, config.snapshots_kept))
        });
        named.snapshots.extend(kept.map(|launch| launch.snapshot));
    }
    named.snapshots.extend(fleet::wanted(store).await?.into_iter().map(|wanted| wanted.snapshot));
    name_suppression(desk, &mut named).await?;
    Ok(named)
}

async fn name_suppression(desk: &Desk, named: &mut Named) -> Result<()> {
    let store = &*desk.backend.store;
    named.blobs.extend(suppression::list(store).await?.body.blob().map(str::to_owned));
    let snapshots: Vec<Digest> = stored_snapshots(desk).await?.into_iter().collect();
    for part in snapshots.chunks(100) {
        for row in suppression::applied(store, part).await?.into_iter().flatten() {
            named.blobs.extend(row.body.bits.map(|bits| bits.blob));
        }
    }
    Ok(())
}

async fn collect_snapshot(
    desk: &Desk,
    snapshot: Digest,
    before: &Named,
    collected: &mut Collected,
) -> Result<()> {
    let store = &*desk.backend.store;
    let name = garbage::snapshot_name(snapshot);
    let mark = garbage::mark(store, &name).await?;
    let is_named = before.snapshots.contains(&snapshot);
    let version = match mark {
        None if is_named => return Ok(()),
        None => {
            let at = desk.now();
            try_write(desk, garbage::put_mark(&name, Mark::Marked { at }, Expect::Absent)).await?;
            collected.marked += 1;
            return Ok(());
        }
        Some(row) if is_named && row.body != Mark::Deleting => {
            try_write(desk, garbage::delete_mark(&name, Expect::Version(row.version))).await?;
            return Ok(());
        }
        Some(row) => match row.body {
            Mark::Marked { at } if desk.now().since(at) < desk.config.garbage_kept => return Ok(()),
            Mark::Marked { .. } => {
                let write = garbage::put_mark(&name, Mark::Deleting, Expect::Version(row.version));
                let Some(version) = try_write(desk, write).await? else { return Ok(()) };
                version
            }
            Mark::Deleting => row.version,
        },
    };
    // From here on nobody can name it; somebody may have, a moment before.
    if Box::pin(named(desk)).await?.snapshots.contains(&snapshot) {
        try_write(desk, garbage::delete_mark(&name, Expect::Version(version))).await?;
        return Ok(());
    }
    release_audiences(desk, snapshot).await?;
    let applied = suppression::applied(store, &[snapshot]).await?.into_iter().flatten().next();
    let blobs = &desk.backend.blobs;
    // The manifest first: without it nobody takes the rest for whole.
    let parts = [
        audience::manifest_blob(snapshot),
        audience::snapshot_blob(snapshot),
        audience::users_blob(snapshot),
    ];
    for blob in parts.iter().chain(applied.iter().filter_map(|row| Some(&row.body.bits.as_ref()?.blob))) {
        blobs.delete(blob).await?;
    }
    store.write(vec![suppression::delete_applied(snapshot)]).await?;
    try_write(desk, garbage::delete_mark(&name, Expect::Version(version))).await?;
    tracing::info!(%snapshot, "snapshot is deleted: nobody names it any more");
    collected.snapshots += 1;
    Ok(())
}

/// Tells audiences that still name a snapshot that it goes.
async fn release_audiences(desk: &Desk, snapshot: Digest) -> Result<()> {
    let store = &*desk.backend.store;
    let naming = audience::all(store).await?.into_iter().filter(|row| row.snapshot() == Some(snapshot));
    for id in naming.map(|row| row.id) {
        let Some(row) = audience::get(store, id).await? else { continue };
        let why = "its snapshot named somebody who asked to be forgotten, and is gone: upload the list again"
            .to_owned();
        let released = Audience { state: AudienceState::Failed { why: why.clone() }, ..row.body };
        let write = audience::put(&released, Expect::Version(row.version));
        let detail = serde_json::json!({ "why": why, "snapshot": snapshot });
        desk.put_audited(write, Vec::new(), "audience.released", detail).await?;
    }
    Ok(())
}

/// A blob whose name is random: once nobody names it, nobody ever will. The mark gives time to whoever stores it first and
/// names it afterwards.
async fn collect_blob(desk: &Desk, blob: &str, collected: &mut Collected) -> Result<()> {
    let mark = garbage::mark(&*desk.backend.store, blob).await?;
    match mark.map(|row| (row.version, row.body)) {
        None => {
            let at = desk.now();
            try_write(desk, garbage::put_mark(blob, Mark::Marked { at }, Expect::Absent)).await?;
            collected.marked += 1;
        }
        Some((_, Mark::Marked { at })) if desk.now().since(at) < desk.config.garbage_kept => {}
        Some((version, _)) => {
            desk.backend.blobs.delete(blob).await?;
            try_write(desk, garbage::delete_mark(blob, Expect::Version(version))).await?;
            collected.blobs += 1;
        }
    }
    Ok(())
}

/// The new version; `None` when somebody else was there first.
async fn try_write(desk: &Desk, write: Write) -> Result<Option<u64>> {
    let written = desk.backend.store.write(vec![write]).await?;
    Ok(match written.into_iter().next() {
        Some(Written::Done(version)) => Some(version),
        _ => None,
    })
}
