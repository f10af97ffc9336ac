//! The directory in a database of its own, so that a bulk import never waits for a launch, nor a launch for it.

use std::path::Path;

use async_trait::async_trait;
use backend::directory::{DeadDevice, Imported};
use backend::{Directory, Result};
use model::{Device, Platform, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::database::Database;
use crate::error::Error;
use crate::jobs::Survives;
use crate::schema;

/// The users of a database.
pub(crate) struct Users {
    database: Database,
}

impl Users {
    pub(crate) fn open(folder: Option<&Path>) -> std::result::Result<Self, Error> {
        Ok(Self { database: Database::open(folder, &schema::DIRECTORY)? })
    }
}

#[async_trait]
impl Directory for Users {
    async fn import(&self, devices: Vec<Device>) -> Result<Imported> {
        let run = move |database: &Connection| {
            let mut last = std::collections::BTreeMap::new();
            for device in &devices {
                last.insert((&device.user, device.platform, &device.app, &device.key), device);
            }
            let mut imported = Imported::default();
            for device in last.values() {
                put(database, device, &mut imported)?;
            }
            Ok(imported)
        };
        self.database.write("directory.import", Survives::Processes, run, |_| {}).await
    }

    async fn devices(&self, users: &[String]) -> Result<Vec<Vec<Device>>> {
        self.database.read("directory.devices", |database| {
            let mut select = database.prepare_cached(
                "SELECT user, platform, app, key, locale, market, registered_at FROM devices WHERE user = ?1",
            )?;
            users.iter().map(|user| select.query_map([user], device)?.collect()).collect()
        })
    }

    async fn delete_users(&self, users: &[String]) -> Result<u64> {
        let users = users.to_vec();
        let run = move |database: &Connection| {
            let mut delete = database.prepare_cached("DELETE FROM devices WHERE user = ?1")?;
            users.iter().map(|user| delete.execute([user])).sum::<rusqlite::Result<usize>>()
        };
        Ok(self.database.write("directory.delete_users", Survives::Processes, run, |_| {}).await? as u64)
    }

    async fn prune(&self, dead: Vec<DeadDevice>) -> Result<u64> {
        let run = move |database: &Connection| {
            let sql = "DELETE FROM devices WHERE user = ?1 AND platform = ?2 AND app = ?3 AND key = ?4 AND registered_at <= ?5";
            let mut delete = database.prepare_cached(sql)?;
            let mut prune = |one: &DeadDevice| {
                delete.execute(params![
                    one.user,
                    one.platform.index() as i64,
                    one.app,
                    one.key,
                    one.dead_since.as_micros() as i64
                ])
            };
            dead.iter().map(&mut prune).sum::<rusqlite::Result<usize>>()
        };
        Ok(self.database.write("directory.prune", Survives::Processes, run, |_| {}).await? as u64)
    }

    async fn count(&self) -> Result<(u64, u64)> {
        self.database.read("directory.count", |database| {
            database.query_row("SELECT count(DISTINCT user), count(*) FROM devices", [], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
        })
    }
}

fn put(database: &Connection, device: &Device, imported: &mut Imported) -> rusqlite::Result<()> {
    let Device { user, platform, key, app, locale, market, registered_at } = device;
    let select = "SELECT locale, market, registered_at FROM devices WHERE user = ?1 AND platform = ?2 AND app = ?3 AND key = ?4";
    let known = database
        .prepare_cached(select)?
        .query_row(params![user, platform.index() as i64, app, key], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, Timestamp(row.get::<_, i64>(2)? as u64)))
        })
        .optional()?;
    match known {
        Some((l, m, r)) if (&l, &m, &r) == (locale, market, registered_at) => {
            imported.unchanged += 1;
            return Ok(());
        }
        Some(_) => imported.changed += 1,
        None => imported.added += 1,
    }
    let sql = "INSERT OR REPLACE INTO devices VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let registered_at = registered_at.as_micros() as i64;
    database
        .prepare_cached(sql)?
        .execute(params![user, platform.index() as i64, app, key, locale, market, registered_at])
        .map(drop)
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        user: row.get(0)?,
        platform: Platform::ALL[row.get::<_, i64>(1)? as usize % Platform::ALL.len()],
        app: row.get(2)?,
        key: row.get(3)?,
        locale: row.get(4)?,
        market: row.get(5)?,
        registered_at: Timestamp(row.get::<_, i64>(6)? as u64),
    })
}
