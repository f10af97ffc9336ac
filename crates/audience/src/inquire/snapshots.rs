//! Somebody's devices in a snapshot.

use std::path::{Path, PathBuf};

use backend::rows::audience;
use device_map::{Position, Snapshot, Users};
use model::inquiry::{HeldDevice, key_hash};
use model::{Digest, Manifest};

use crate::desk::Desk;
use crate::error::{Failure, Result};
use crate::upload::step;

/// What a snapshot has of somebody.
pub(super) enum Found {
    /// These devices, perhaps none.
    Here(Manifest, Vec<(Position, HeldDevice)>),
    /// Nobody can tell: it is deleted.
    Gone,
    /// Nobody can tell: it is damaged, or the disk is.
    Unreadable,
}

impl Found {
    /// The devices that are known to be in it.
    pub(super) fn devices(&self) -> impl Iterator<Item = &HeldDevice> {
        let devices = match self {
            Found::Here(_, devices) => devices.as_slice(),
            Found::Gone | Found::Unreadable => &[],
        };
        devices.iter().map(|(_, device)| device)
    }
}

/// The files of a snapshot, unless it is gone or going.
pub(crate) async fn files(desk: &Desk, snapshot: Digest) -> Result<Option<(PathBuf, PathBuf)>> {
    let blobs = &desk.backend.blobs;
    let map = blobs.file(&audience::snapshot_blob(snapshot)).await?;
    Ok(map.zip(blobs.file(&audience::users_blob(snapshot)).await?))
}

/// The devices of `user` in a snapshot.
pub(super) async fn find_in(
    desk: &Desk,
    snapshot: Digest,
    user: &str,
) -> std::result::Result<Found, Failure> {
    let manifest = audience::manifest(&*desk.backend.blobs, snapshot).await?;
    let Some((manifest, (map, users))) = manifest.zip(files(desk, snapshot).await?) else {
        return Ok(Found::Gone);
    };
    let user = user.to_owned();
    let devices = step(move || devices_of(&map, &users, snapshot, &user)).await?;
    Ok(Found::Here(manifest, devices))
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
