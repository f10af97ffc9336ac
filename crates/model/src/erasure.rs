//! An erasure: a person is forgotten everywhere, and the receipt says where and when. It names the person by a keyed hash only.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, ErasureId};
use crate::suppression::UserHash;
use crate::time::Timestamp;

/// Where an erasure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ErasureState {
    /// The person is on the late list and gets nothing more; not everything is gone yet.
    Suppressed,
    /// Nothing names the person any more.
    Erased {
        /// When the last thing went.
        at: Timestamp,
    },
}

/// An erasure as it is stored, and its receipt. Until everything but snapshots is cleared the user id is in a blob of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Identifier.
    pub id: ErasureId,
    /// Who is forgotten.
    pub user: UserHash,
    /// Who asked.
    pub asked_by: String,
    /// When. Since then the person is on the late list.
    pub asked_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: ErasureState,
    /// What was under way, could name the person and is waited for; `None` before anybody looked.
    pub waits_for: Option<Vec<String>>,
    /// Whether what came of that is waited for, too.
    pub is_second_look: bool,
    /// What went where.
    pub cleared: Vec<Cleared>,
    /// When everything but snapshots was gone, the request's own record of the user id included.
    pub cleared_at: Option<Timestamp>,
    /// Snapshots that name the person. In them the person is suppressed.
    pub snapshots: Vec<NamingSnapshot>,
}

/// Where somebody can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Devices in the directory; its file is written anew without them.
    Directory,
    /// Files of audiences and imports. All that nobody needs any more go, whomever they name.
    Uploads,
    /// Files that were written here and name the person: exports and the like.
    Exports,
    /// Answers to inquiries about the person.
    Inquiries,
}

/// What went from a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// Where.
    pub place: Place,
    /// When it was last seen to.
    pub at: Timestamp,
    /// How many things went: devices, files, answers.
    pub things: u64,
}

/// A snapshot that names somebody who is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamingSnapshot {
    /// The snapshot.
    pub snapshot: Digest,
    /// From then on nothing but an open launch and workers that hold it ready keep it.
    pub released_at: Timestamp,
    /// When it is gone at the latest, if neither does.
    pub goes_by: Timestamp,
    /// When it was gone.
    pub gone_at: Option<Timestamp>,
}

impl Erasure {
    /// One that nobody has looked at yet.
    pub const fn asked(id: ErasureId, user: UserHash, asked_by: String, asked_at: Timestamp) -> Self {
        Self {
            id,
            user,
            asked_by,
            asked_at,
            state: ErasureState::Suppressed,
            waits_for: None,
            is_second_look: false,
            cleared: Vec::new(),
            cleared_at: None,
            snapshots: Vec::new(),
        }
    }

    /// Notes that a place was cleared.
    pub fn note(&mut self, place: Place, at: Timestamp, things: u64) {
        match self.cleared.iter_mut().find(|cleared| cleared.place == place) {
            Some(cleared) => (cleared.at, cleared.things) = (at, cleared.things + things),
            None => self.cleared.push(Cleared { place, at, things }),
        }
    }

    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, ErasureState::Erased { .. })
    }
}
