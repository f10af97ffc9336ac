//! An inquiry: what is held about one person. The same answer serves whoever helps the person, and the person's right to it.

use serde::{Deserialize, Serialize};

use crate::device::{Device, Market, Platform};
use crate::id::{AudienceId, CampaignId, Digest, InquiryId, LaunchId};
use crate::key_hash::KeyHash;
use crate::outcome::Class;
use crate::suppression::{Cause, UserHash};
use crate::time::Timestamp;

/// Where an inquiry stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum InquiryState {
    /// Asked; a resolver will take it.
    Asked,
    /// A resolver is at it.
    Looking,
    /// The answer is there.
    Done {
        /// Name of its blob: an [`Answer`] as JSON.
        blob: String,
        /// Bytes.
        bytes: u64,
        /// BLAKE3 of the bytes.
        digest: Digest,
        /// When.
        at: Timestamp,
    },
    /// There is no answer.
    Failed {
        /// Why.
        why: String,
    },
}

impl InquiryState {
    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self, InquiryState::Done { .. } | InquiryState::Failed { .. })
    }
}

/// An inquiry as it is stored. The user id is in a blob of its own, which goes with the inquiry: what once stood in a row
/// leaves traces in files that live on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// Identifier.
    pub id: InquiryId,
    /// Whom it is about.
    pub user: UserHash,
    /// Who asked.
    pub asked_by: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: InquiryState,
    /// Asked.
    pub created_at: Timestamp,
}

/// What is held about a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The person.
    pub user: String,
    /// When it was found out.
    pub at: Timestamp,
    /// Whether the directory knows the person, with or without a device.
    pub is_known: bool,
    /// Devices in the directory.
    pub devices: Vec<HeldDevice>,
    /// The person's place on the late list.
    pub late_list: Option<OnLateList>,
    /// Every audience, and how the person stands to it.
    pub audiences: Vec<InAudience>,
    /// Every launch that the person was part of, or whose snapshot is gone.
    pub launches: Vec<InLaunch>,
    /// Files that were written here and name the person.
    #[serde(default)]
    pub files: Vec<NamingFile>,
    /// Uploaded files that are still there and may name the person. They are not searched.
    pub uploads: Vec<HeldUpload>,
    /// What could not be read, by name: it may hold more of the person.
    #[serde(default)]
    pub unreadable: Vec<String>,
}

/// A device, in the directory or in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldDevice {
    /// Provider.
    pub platform: Platform,
    /// APNs topic or FCM project.
    pub app: String,
    /// Language tag.
    pub locale: String,
    /// Market.
    pub market: Market,
    /// The key's hash, as in exports.
    pub key_hash: String,
    /// The key; only the document that is handed to the person shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When the app registered it; absent where only a snapshot knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
    /// Of a device in the directory the press of the last launch in which the provider accepted a message for it, as far as
    /// snapshots reach back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_accepted: Option<Timestamp>,
}

/// The hash of a key as exports show it.
pub fn key_hash(key: &str) -> String {
    KeyHash::of(key.as_bytes()).text().to_owned()
}

impl From<&Device> for HeldDevice {
    fn from(device: &Device) -> Self {
        Self {
            platform: device.platform,
            app: device.app.clone(),
            locale: device.locale.clone(),
            market: device.market.clone(),
            key_hash: key_hash(&device.key),
            key: Some(device.key.clone()),
            registered_at: Some(device.registered_at),
            last_accepted: None,
        }
    }
}

/// Somebody's place on the late list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnLateList {
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
}

/// How a person stands to an audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InAudience {
    /// The audience.
    pub audience: AudienceId,
    /// Its name.
    pub name: String,
    /// Its snapshot, once it is frozen.
    pub snapshot: Option<Digest>,
    /// Whether the person is in it.
    pub is_in: bool,
    /// The person's devices in it.
    pub devices: Vec<HeldDevice>,
    /// Why the person is not in it, or gets nothing though in it, as far as that can be told now.
    pub why: Option<String>,
}

/// How a person stands to a launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InLaunch {
    /// The launch.
    pub launch: LaunchId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// The campaign's name at the press.
    pub campaign_name: String,
    /// Its wave.
    pub wave: String,
    /// Pressed.
    pub pressed_at: Timestamp,
    /// What became of each of the person's devices; `None` when nobody can tell.
    pub devices: Option<Vec<SentDevice>>,
    /// Why nobody can: `snapshot_gone`, `snapshot_unreadable` or `records_unreadable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentDevice {
    /// The device.
    #[serde(flatten)]
    pub device: HeldDevice,
    /// Class of its outcome; `not_in_wave` or `not_recorded` when it has none.
    pub outcome: String,
    /// Reason; empty when the class says it all.
    pub reason: String,
    /// Whether an earlier attempt may have arrived.
    pub is_resent: bool,
}

/// An uploaded file that is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldUpload {
    /// What it is for: an audience, an import or an upload in parts.
    pub of: String,
    /// When it came.
    pub since: Timestamp,
}

/// A file that was written here and names the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamingFile {
    /// What it is: `export`, or `left_out`, the list of those whom an audience's snapshot does not have.
    pub what: String,
    /// The export or the audience.
    pub of: String,
    /// When it was written.
    pub since: Timestamp,
}

impl Answer {
    /// Reads off the launches when each device was last accepted.
    pub fn note_accepted(&mut self) {
        for device in &mut self.devices {
            let is_it = |sent: &&SentDevice| {
                let other = &sent.device;
                (other.platform, &other.app, &other.key_hash)
                    == (device.platform, &device.app, &device.key_hash)
                    && sent.outcome == Class::Accepted.name()
            };
            let accepted = self
                .launches
                .iter()
                .filter(|launch| launch.devices.iter().flatten().any(|sent| is_it(&sent)));
            device.last_accepted = accepted.map(|launch| launch.pressed_at).max();
        }
    }

    /// The same without keys: whoever helps the person needs none.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        let audiences = self.audiences.iter_mut().flat_map(|audience| &mut audience.devices);
        let launches = self.launches.iter_mut().flat_map(|launch| launch.devices.iter_mut().flatten());
        let devices = self.devices.iter_mut().chain(audiences).chain(launches.map(|sent| &mut sent.device));
        devices.for_each(|device| device.key = None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_key_where_none_is_wanted() {
        let device = Device {
            user: "ann".into(),
            platform: Platform::Apns,
            key: "c0ffee".into(),
            app: "a".into(),
            locale: "de".into(),
            market: "at".into(),
            registered_at: Timestamp(1),
        };
        let held = HeldDevice::from(&device);
        let sent = SentDevice {
            device: held.clone(),
            outcome: "accepted".into(),
            reason: String::new(),
            is_resent: false,
        };
        let answer = Answer {
            devices: vec![held.clone()],
            audiences: vec![InAudience {
                audience: AudienceId(1),
                name: "n".into(),
                snapshot: None,
                is_in: true,
                devices: vec![held],
                why: None,
            }],
            launches: vec![InLaunch {
                launch: LaunchId(1),
                campaign: CampaignId(1),
                campaign_name: "c".into(),
                wave: "w".into(),
                pressed_at: Timestamp(2),
                devices: Some(vec![sent]),
                why: None,
            }],
            ..Answer::default()
        };
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(json.matches("c0ffee").count(), 3);
        assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer);
        let mut answer = answer;
        answer.note_accepted();
        assert_eq!(answer.devices[0].last_accepted, Some(Timestamp(2)));
        let shown = serde_json::to_string(&answer.without_keys()).unwrap();
        assert_eq!((shown.matches("c0ffee").count(), shown.matches(&key_hash("c0ffee")).count()), (0, 3));
    }
}
