//! How somebody stands to an audience, as far as that can be told now.

use std::collections::BTreeMap;

use model::audience::UploadRows;
use model::device::is_sandbox;
use model::inquiry::{Answer, HeldDevice, InAudience};
use model::selection::{Control, Lots};
use model::suppression::Cause;
use model::{Audience, AudienceId, Digest};

use super::snapshots::Found;
use crate::door::{HELD_BACK, NO_DEVICE, NOT_CHOSEN, SANDBOX, UNKNOWN};

/// In none of the ways that can still be told, and not in the snapshot.
const NOT_LISTED: &str = "not_listed";
const NOT_FROZEN: &str = "not_frozen";
/// Nobody can tell.
pub(super) const SNAPSHOT_GONE: &str = "snapshot_gone";
/// Nobody can tell.
pub(super) const SNAPSHOT_UNREADABLE: &str = "snapshot_unreadable";

/// What was found out so far, for judging how somebody stands to an audience.
pub(super) struct Known<'a> {
    pub(super) user: &'a str,
    pub(super) answer: &'a Answer,
    pub(super) audiences: &'a [Audience],
    pub(super) found: &'a BTreeMap<Digest, Found>,
}

impl Known<'_> {
    pub(super) fn in_audience(&self, audience: &Audience) -> InAudience {
        let snapshot = audience.snapshot();
        let found = snapshot.and_then(|snapshot| self.found.get(&snapshot));
        let devices: Vec<HeldDevice> = found.into_iter().flat_map(Found::devices).cloned().collect();
        let is_in = !devices.is_empty();
        let why = match found {
            None => Some(NOT_FROZEN.to_owned()),
            Some(Found::Gone) => Some(SNAPSHOT_GONE.to_owned()),
            Some(Found::Unreadable) => Some(SNAPSHOT_UNREADABLE.to_owned()),
            // In it, and nothing is sent to the person all the same.
            Some(Found::Here(..)) if is_in => self.late(),
            Some(Found::Here(..)) => Some(self.why_not_in(audience)),
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
        let is_held_back =
            |control: &Control| control.holds_back(Lots::of_control(control.seed).draw(self.user));
        if audience.control.as_ref().is_some_and(is_held_back) {
            return HELD_BACK.to_owned();
        }
        match audience.sample.as_ref().map(|sample| self.found_in(sample.of)) {
            Some(Some(Found::Unreadable)) => SNAPSHOT_UNREADABLE,
            Some(Some(Found::Gone)) => SNAPSHOT_GONE,
            Some(Some(found)) if found.devices().next().is_some() => NOT_CHOSEN,
            _ => NOT_LISTED,
        }
        .to_owned()
    }

    /// What the snapshot of another audience has of the person.
    fn found_in(&self, id: AudienceId) -> Option<&Found> {
        let audience = self.audiences.iter().find(|audience| audience.id == id)?;
        self.found.get(&audience.snapshot()?)
    }
}
