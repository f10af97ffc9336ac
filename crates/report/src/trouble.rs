//! What went wrong between the workers and the providers during a launch, in words. It explains outcomes and counts no
//! device.

use model::Platform;
use serde::{Deserialize, Serialize};

/// Something that went wrong on connections to one app's provider, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Provider.
    pub platform: Platform,
    /// Topic or project.
    pub app: String,
    /// In words.
    pub what: String,
    /// How often, during the launch.
    pub count: u64,
}

/// Adds up what several workers met, the most frequent first.
pub fn merge(all: impl IntoIterator<Item = Trouble>) -> Vec<Trouble> {
    let mut merged: Vec<Trouble> = Vec::new();
    for trouble in all {
        let is_same = |known: &&mut Trouble| {
            (known.platform, &known.app, &known.what) == (trouble.platform, &trouble.app, &trouble.what)
        };
        match merged.iter_mut().find(is_same) {
            Some(known) => known.count = known.count.saturating_add(trouble.count),
            None => merged.push(trouble),
        }
    }
    merged.sort_by(|one, two| {
        let order = |trouble: &Trouble| std::cmp::Reverse(trouble.count);
        order(one).cmp(&order(two)).then_with(|| one.what.cmp(&two.what))
    });
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_met_the_same_are_added_up_and_providers_kept_apart() {
        let trouble =
            |platform, what: &str, count| Trouble { platform, app: "a".into(), what: what.into(), count };
        let all = [
            trouble(Platform::Apns, "closed", 1),
            trouble(Platform::Fcm, "closed", 4),
            trouble(Platform::Apns, "reset", 2),
            trouble(Platform::Apns, "closed", 2),
        ];
        let expected = [
            trouble(Platform::Fcm, "closed", 4),
            trouble(Platform::Apns, "closed", 3),
            trouble(Platform::Apns, "reset", 2),
        ];
        assert_eq!(merge(all), expected);
    }
}
