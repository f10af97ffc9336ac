//! All known devices, by user.

mod bulk;

use std::sync::Arc;

use async_trait::async_trait;
use model::{Device, Platform, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::bulk::{Holding, Holdings, Label, UserIds};
use crate::error::Result;

/// Most devices of one user. More are no person's: a column was mistaken, or "anonymous" stands for many.
pub const USER_DEVICES_MAX: usize = 10_000;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Devices that were not known.
    pub added: u64,
    /// Devices that were known and changed.
    pub changed: u64,
    /// Devices that were known as they are.
    pub unchanged: u64,
}

/// A token that a provider called dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadDevice {
    /// Owner.
    pub user: String,
    /// Provider.
    pub platform: Platform,
    /// Topic or project.
    pub app: String,
    /// Key, as the directory writes it.
    pub key: String,
    /// Remove it unless it was registered after this.
    pub dead_since: Timestamp,
}

/// The directory. A device is named by user, platform, app and key.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Adds or changes devices (any number, already checked). The latest of the same device in one call wins. Acknowledged means
    /// that it survives the death of the process. More than [`USER_DEVICES_MAX`] for a user are refused as
    /// [`Invalid`](crate::ErrorKind::Invalid), when devices of others may have been taken.
    async fn import(&self, devices: Vec<Device>) -> Result<Imported>;

    /// The devices of each user, by position in `users`; none for a user who is not known.
    async fn holdings(&self, users: Arc<UserIds>) -> Result<Holdings>;

    /// The same for a few users, in the order of `users`.
    async fn devices(&self, users: &[String]) -> Result<Vec<Vec<Device>>> {
        let ids = Arc::new(users.iter().collect::<UserIds>());
        let holdings = self.holdings(ids).await?;
        let devices = |(position, user): (usize, &String)| {
            holdings.of(position).map(|holding| holding.device(user)).collect()
        };
        Ok(users.iter().enumerate().map(devices).collect())
    }

    /// Whether each user is known, in the order of `users`: whoever has devices, or had some that were pruned. A user who was
    /// deleted is not.
    async fn knows(&self, users: &[String]) -> Result<Vec<bool>>;

    /// Forgets users and their devices; returns how many devices that were.
    async fn delete_users(&self, users: &[String]) -> Result<u64>;

    /// Forgets users, and lets go of every byte that is stored of them, and of what was forgotten or replaced before; returns how
    /// many devices there were. Once for many users: it may write the whole directory anew.
    async fn erase_users(&self, users: &[String]) -> Result<u64>;

    /// Removes dead devices; returns how many were there and old enough.
    async fn prune(&self, dead: Vec<DeadDevice>) -> Result<u64>;

    /// Users and devices.
    async fn count(&self) -> Result<(u64, u64)>;
}
