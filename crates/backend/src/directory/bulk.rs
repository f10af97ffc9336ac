//! Users and their devices in bulk: packed, for as many strings as a list of millions has take longer to make than
//! everything that is done with them.

use model::{Device, Platform, Timestamp};

/// Ids of users, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserIds {
    text: String,
    ends: Vec<usize>,
}

impl UserIds {
    /// Appends an id.
    pub fn push(&mut self, user: &str) {
        self.text.push_str(user);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id at a position below [`UserIds::len`].
    ///
    /// # Panics
    /// At any other.
    pub fn get(&self, position: usize) -> &str {
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[position]]
    }

    /// Every id, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|position| self.get(position))
    }
}

impl<U: AsRef<str>> FromIterator<U> for UserIds {
    fn from_iter<I: IntoIterator<Item = U>>(users: I) -> Self {
        let mut ids = Self::default();
        users.into_iter().for_each(|user| ids.push(user.as_ref()));
        ids
    }
}

/// What a device shares with many others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Provider.
    pub platform: Platform,
    /// Topic or project.
    pub app: String,
    /// Language tag.
    pub locale: String,
    /// Market.
    pub market: String,
}

/// The devices of many users, each user by their position in the call.
#[derive(Default)]
pub struct Holdings {
    labels: Vec<Label>,
    keys: String,
    held: Vec<Held>,
    /// Each user's part of `held`.
    parts: Vec<(u32, u32)>,
}

struct Held {
    label: u32,
    key_end: usize,
    registered_at: Timestamp,
}

/// A device of [`Holdings`].
#[derive(Clone, Copy)]
pub struct Holding<'a> {
    /// Provider, app, locale and market.
    pub label: &'a Label,
    /// APNs token as lower-case hex, FCM registration token or FID.
    pub key: &'a str,
    /// When the app registered it.
    pub registered_at: Timestamp,
}

impl Holding<'_> {
    /// The device in full.
    pub fn device(&self, user: &str) -> Device {
        let Label { platform, app, locale, market } = self.label.clone();
        let (user, key, registered_at) = (user.to_owned(), self.key.to_owned(), self.registered_at);
        Device { user, platform, key, app, locale, market, registered_at }
    }
}

impl Holdings {
    /// Of so many users, of whom none has a device yet.
    pub fn of_users(count: usize) -> Self {
        Self { parts: vec![(0, 0); count], ..Self::default() }
    }

    /// Makes room for a label; its number is good for [`Holdings::add`].
    pub fn label(&mut self, label: Label) -> u32 {
        self.labels.push(label);
        self.labels.len() as u32 - 1
    }

    /// Adds a device of the user at `position`; its key is appended to a text by the closure. A user's devices are added one
    /// after the other, users in any order.
    ///
    /// # Panics
    /// When there is no such position, or other users' devices came between those of this one.
    pub fn add(
        &mut self,
        position: usize,
        label: u32,
        registered_at: Timestamp,
        write_key: impl FnOnce(&mut String),
    ) {
        let at = self.held.len() as u32;
        let part = &mut self.parts[position];
        if part.0 == part.1 {
            *part = (at, at);
        }
        assert_eq!(part.1, at, "a user's devices come one after the other");
        part.1 += 1;
        write_key(&mut self.keys);
        self.held.push(Held { label, key_end: self.keys.len(), registered_at });
    }

    /// The devices of the user at `position`.
    ///
    /// # Panics
    /// When there is no such position.
    pub fn of(&self, position: usize) -> impl ExactSizeIterator<Item = Holding<'_>> {
        let (start, end) = self.parts[position];
        (start as usize..end as usize).map(|at| {
            let held = &self.held[at];
            let key_start = at.checked_sub(1).map_or(0, |before| self.held[before].key_end);
            Holding {
                label: &self.labels[held.label as usize],
                key: &self.keys[key_start..held.key_end],
                registered_at: held.registered_at,
            }
        })
    }

    /// How many users.
    pub const fn users(&self) -> usize {
        self.parts.len()
    }
}

impl std::fmt::Debug for Holdings {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holdings")
            .field("users", &self.parts.len())
            .field("devices", &self.held.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_went_in() {
        let ids: UserIds = ["ann", "", "bö"].into_iter().collect();
        assert_eq!(ids.iter().collect::<Vec<_>>(), ["ann", "", "bö"]);
        assert_eq!((ids.len(), ids.is_empty(), UserIds::default().is_empty()), (3, false, true));
    }

    #[test]
    fn each_user_has_their_own_devices_whatever_the_order_of_adding() {
        let mut holdings = Holdings::of_users(3);
        let label = |app: &str| Label {
            platform: Platform::Fcm,
            app: app.into(),
            locale: "l".into(),
            market: "m".into(),
        };
        let (one, two) = (holdings.label(label("one")), holdings.label(label("two")));
        holdings.add(2, two, Timestamp(1), |text| text.push_str("c1"));
        holdings.add(2, one, Timestamp(2), |text| text.push_str("c22"));
        holdings.add(0, one, Timestamp(3), |text| text.push('a'));
        let seen = |position| {
            let devices = holdings.of(position).map(|held| held.device("u"));
            devices.map(|device| (device.app, device.key, device.registered_at.0)).collect::<Vec<_>>()
        };
        assert_eq!(seen(0), [("one".into(), "a".into(), 3)]);
        assert_eq!(seen(1), []);
        assert_eq!(seen(2), [("two".into(), "c1".into(), 1), ("one".into(), "c22".into(), 2)]);
        assert!(!format!("{holdings:?}").contains("c22"));
    }
}
