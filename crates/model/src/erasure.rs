//! An erasure: a person is forgotten everywhere, and the receipt says where and when. It names the person by a keyed hash only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Digest, ErasureId};
use crate::suppression::UserHash;
use crate::time::Timestamp;

/// Where an erasure stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ErasureState {
    /// The person is on the late list and gets nothing more; not everything is gone yet.
    Suppressed,
    /// Nothing names the person any more.
    Erased {
        /// When the last thing went.
        at: Timestamp,
    },
    /// It cannot be finished. The person gets nothing more; what `cleared` and `snapshots` do not say is still there.
    Failed {
        /// When that was seen.
        at: Timestamp,
        /// Why, and what to do.
        why: String,
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
    /// What is about to go from a place and is counted there already, by name: whoever goes on after a kill counts it no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub going: BTreeMap<Place, BTreeSet<String>>,
    /// When everything but snapshots was gone, the request's own record of the user id included.
    pub cleared_at: Option<Timestamp>,
    /// Snapshots that name the person. In them the person is suppressed.
    pub snapshots: Vec<NamingSnapshot>,
}

/// Where somebody can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl Place {
    /// Every place.
    pub const ALL: [Place; 4] = [Place::Directory, Place::Uploads, Place::Exports, Place::Inquiries];
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

/// Names that are remembered of what is about to go from a place: those of everything that one person can have at a time.
const GOING_MAX: usize = 15_000;

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
            going: BTreeMap::new(),
            cleared_at: None,
            snapshots: Vec::new(),
        }
    }

    /// Counts what is about to go from a place, once for each name; to be stored before anything of it goes.
    pub fn count(&mut self, place: Place, at: Timestamp, names: impl IntoIterator<Item = String>) {
        let going = self.going.entry(place).or_default();
        if going.len() >= GOING_MAX {
            going.clear();
        }
        let before = going.len();
        going.extend(names);
        let things = (going.len() - before) as u64;
        self.note(place, at, things);
    }

    /// Whether something is counted already and about to go.
    pub fn is_going(&self, place: Place, name: &str) -> bool {
        self.going.get(&place).is_some_and(|going| going.contains(name))
    }

    /// Notes that what was counted is gone.
    pub fn note_gone(&mut self, place: Place, at: Timestamp) {
        self.going.remove(&place);
        self.note(place, at, 0);
    }

    fn note(&mut self, place: Place, at: Timestamp, things: u64) {
        match self.cleared.iter_mut().find(|cleared| cleared.place == place) {
            Some(cleared) => (cleared.at, cleared.things) = (at, cleared.things + things),
            None => self.cleared.push(Cleared { place, at, things }),
        }
    }

    /// Whether every place was seen to, and nothing that was counted there is left.
    pub fn was_cleared(&self) -> bool {
        let is_clear = |place| self.cleared.iter().any(|cleared| cleared.place == place);
        self.going.is_empty() && Place::ALL.into_iter().all(is_clear)
    }

    /// Whether a snapshot still names the person.
    pub fn is_named(&self) -> bool {
        self.snapshots.iter().any(|naming| naming.gone_at.is_none())
    }

    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        !matches!(self.state, ErasureState::Suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suppression::UserHash;

    fn asked() -> Erasure {
        Erasure::asked(ErasureId(1), UserHash([1; 16]), "ann".into(), Timestamp(1))
    }

    fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| number.to_string()).collect()
    }

    fn things(erasure: &Erasure) -> Vec<(Place, u64)> {
        erasure.cleared.iter().map(|cleared| (cleared.place, cleared.things)).collect()
    }

    #[test]
    fn what_is_counted_twice_before_it_is_gone_counts_once() {
        let mut erasure = asked();
        erasure.count(Place::Uploads, Timestamp(2), names(0..3));
        erasure.count(Place::Directory, Timestamp(3), names(0..2));
        erasure.count(Place::Uploads, Timestamp(4), names(1..4));
        assert!(erasure.is_going(Place::Uploads, "3") && !erasure.is_going(Place::Directory, "3"));
        assert_eq!(things(&erasure), [(Place::Uploads, 4), (Place::Directory, 2)]);
        let json = serde_json::to_string(&erasure).unwrap();
        assert_eq!(serde_json::from_str::<Erasure>(&json).unwrap(), erasure);
        erasure.note_gone(Place::Uploads, Timestamp(5));
        erasure.count(Place::Uploads, Timestamp(6), names(3..4));
        assert_eq!(
            things(&erasure),
            [(Place::Uploads, 5), (Place::Directory, 2)],
            "one of that name came again"
        );
    }

    #[test]
    fn names_of_what_goes_never_outgrow_a_row() {
        let mut erasure = asked();
        (0..5).for_each(|round| {
            erasure.count(Place::Directory, Timestamp(2), names(round * 10_000..(round + 1) * 10_000))
        });
        assert!(erasure.going[&Place::Directory].len() < 30_000);
        assert_eq!(things(&erasure), [(Place::Directory, 50_000)]);
    }

    #[test]
    fn nothing_of_what_goes_is_stored_once_it_is_gone() {
        let mut erasure = asked();
        erasure.count(Place::Exports, Timestamp(2), names(0..1));
        erasure.note_gone(Place::Exports, Timestamp(3));
        assert!(!serde_json::to_string(&erasure).unwrap().contains("going"));
    }
}
