//! What only one of the platforms knows about a message; all of it optional.

use serde::{Deserialize, Serialize};

/// How much a notification may interrupt (iOS 15 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterruptionLevel {
    /// Into the list, without a sound or lighting the screen.
    Passive,
    /// The default.
    Active,
    /// Through scheduled summaries and Focus; the app needs an entitlement, and marketing may not use it.
    TimeSensitive,
    /// Through the mute switch; needs an entitlement that Apple grants for health and safety.
    Critical,
}

/// Fields of iOS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apple {
    /// See [`InterruptionLevel`].
    pub interruption_level: Option<InterruptionLevel>,
    /// Place in the notification summary, 0 to 100: the highest of the app's is featured.
    pub relevance_percent: Option<u8>,
    /// Notifications with the same one are grouped.
    pub thread_id: Option<String>,
    /// Which actions the app offers.
    pub category: Option<String>,
    /// Which window a tap brings forward.
    pub target_content_id: Option<String>,
    /// What a Focus filter is matched against.
    pub filter_criteria: Option<String>,
}

/// Fields of Android.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Android {
    /// Notification channel (Android 8 and later): decides sound and importance there.
    pub channel_id: Option<String>,
    /// Colour of the icon, `#rrggbb`.
    pub color: Option<String>,
}
