//! Who of an audience comes into its snapshot: nobody on the late list, and nobody of the control group.

use backend::rows::suppression;
use model::device::is_sandbox;
use model::selection::{Control, Lots};
use model::suppression::{Cause, HashKey, Suppressed};

use crate::desk::Desk;
use crate::error::Result;

/// The reason of those whom the directory does not know.
pub(crate) const UNKNOWN: &str = "unknown";
/// The reason of those who have no device any more.
pub(crate) const NO_DEVICE: &str = "no_device";
/// The reason of the control group.
pub(crate) const HELD_BACK: &str = "held_back";
/// The reason of those whom a sample did not choose.
pub(crate) const NOT_CHOSEN: &str = "not_chosen";
/// The reason of those who asked to be forgotten.
pub(crate) const ERASED: &str = Cause::Erased.name();
/// The reason of devices that others have, and of those who have no other device.
pub(crate) const DUPLICATE_KEY: &str = "duplicate_key";

/// The reason of devices of APNs' sandbox, and of those who have no other device.
pub(crate) const SANDBOX: &str = "sandbox";

/// Judges people one after the other.
pub(crate) struct Door {
    /// Nothing when nobody is on it.
    late_list: Option<(Suppressed, HashKey)>,
    control: Option<(Control, Lots)>,
    takes_sandbox: bool,
}

impl Door {
    /// As the late list stands now.
    pub(crate) async fn open(desk: &Desk, control: Option<Control>) -> Result<Self> {
        let (store, blobs) = (&*desk.backend.store, &*desk.backend.blobs);
        let people = suppression::current(store, blobs).await?.people;
        let late_list = if people.is_empty() {
            None
        } else {
            Some((people, suppression::hash_key(store, &*desk.runtime.randomness).await?))
        };
        let control = control.map(|control| (control, Lots::of_control(control.seed)));
        Ok(Self { late_list, control, takes_sandbox: false })
    }

    /// Whether somebody asked to be forgotten, and must not be written down anew.
    pub(crate) fn is_erased(&self, user: &str) -> bool {
        let on_list = self.late_list.as_ref().and_then(|(people, key)| people.find(&key.user(user)));
        on_list == Some(Cause::Erased)
    }

    /// The same for whom devices of APNs' sandbox come in too, if so it is.
    pub(crate) fn taking_sandbox(self, takes_sandbox: bool) -> Self {
        Self { takes_sandbox, ..self }
    }

    /// Why somebody does not come in.
    pub(crate) fn turns_away(&self, user: &str) -> Option<&'static str> {
        let on_list = self.late_list.as_ref().and_then(|(people, key)| people.find(&key.user(user)));
        if let Some(cause) = on_list {
            return Some(cause.name());
        }
        let control = self.control.as_ref();
        control.filter(|(control, lots)| control.holds_back(lots.draw(user))).map(|_| HELD_BACK)
    }

    /// Why a device of an app does not come in, whoever has it.
    pub(crate) fn turns_away_app(&self, app: &str) -> Option<&'static str> {
        (!self.takes_sandbox && is_sandbox(app)).then_some(SANDBOX)
    }
}
