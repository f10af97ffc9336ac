//! What an answer of a provider means: for its device, and beyond it.

use std::time::Duration;

use model::{Class, Outcome, Reason, Timestamp};

/// An answer, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What became of the device, were this its last attempt.
    pub outcome: Outcome,
    /// What it means beyond the device.
    pub effect: Effect,
    /// What it says about the device's key.
    pub key: KeyState,
    /// How long the provider asks to wait before this device is tried again.
    pub retry_after: Option<Duration>,
}

impl Verdict {
    /// Accepted.
    pub const ACCEPTED: Verdict =
        Verdict { outcome: Outcome::ACCEPTED, effect: Effect::None, key: KeyState::Alive, retry_after: None };

    /// Rejected for `reason`, nothing beyond.
    pub const fn rejected(reason: Reason) -> Verdict {
        let outcome = Outcome::new(Class::Rejected, reason);
        Verdict { outcome, effect: Effect::None, key: KeyState::Alive, retry_after: None }
    }

    /// An answer that no table knows: the provider may have taken the message.
    pub const fn not_understood() -> Verdict {
        let outcome = Outcome::new(Class::Unknown, Reason::AnswerNotUnderstood);
        Verdict { outcome, effect: Effect::None, key: KeyState::Alive, retry_after: None }
    }

    /// Judged by a status whose body did not arrive, or not wholly: a connection may end behind the status. One such
    /// answer does not stop a launch; where the fault is everybody's, the next one says so in full.
    pub(crate) fn unless_cut(self, body: &[u8]) -> Verdict {
        let stops = matches!(self.effect, Effect::StopLaunch(_));
        if stops && is_cut(body) { self.with_effect(Effect::Alarm) } else { self }
    }

    pub(crate) const fn with_effect(mut self, effect: Effect) -> Verdict {
        self.effect = effect;
        self
    }

    pub(crate) const fn with_key(mut self, key: KeyState) -> Verdict {
        self.key = key;
        self
    }
}

/// Whether it is the beginning of a JSON text, or nothing.
fn is_cut(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err_and(|error| error.is_eof())
}

/// What an answer means beyond its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The provider no longer takes the token: a new one is needed, then the device is sent again. APNs keeps such a
    /// connection wedged, so it is replaced.
    RenewToken {
        /// Whether the connection takes no further request.
        closes_connection: bool,
    },
    /// The connection was idle for too long: reconnect and send the device again.
    Reconnect,
    /// This server goes away: replace the connection; the outcome stands.
    ReplaceConnection,
    /// Tokens were renewed too often: mint none, keep the older one.
    KeepToken,
    /// The project's quota is used up: the whole fleet pauses this long.
    PauseQuota(Duration),
    /// The same fault would meet every device: stop the launch.
    StopLaunch(Fault),
    /// People should look; the launch goes on.
    Alarm,
}

/// Whose fault stops a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// What is sent.
    Message,
    /// Who sends it.
    Credentials,
}

/// What an answer says about a device's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Nothing against it.
    Alive,
    /// Dead for this topic or project. With a time: dead unless it was registered after it.
    Dead(Option<Timestamp>),
}
