//! A launch's rows: the launch itself, its control, its slices (the outbox of its triggers), its end, and the
//! list of launches that are not over.

use model::launch::{Control, Finish, Stop};
use model::queued::Trigger;
use model::{Launch, LaunchId, Timestamp};
use report::Trouble;
use serde::{Deserialize, Serialize};

use super::{Versioned, audit, decode, encode, read};
use crate::error::Result;
use crate::store::{Expect, Key, Row, Store, Transacted, Write, query_all};

const OPEN: &str = "open-launches";

fn partition(id: LaunchId) -> String {
    format!("launches/{id}")
}

fn launch_key(id: LaunchId) -> Key {
    Key::new(partition(id), "launch")
}

/// The row that workers read for permission to send.
pub fn control_key(id: LaunchId) -> Key {
    Key::new(partition(id), "control")
}

fn finish_key(id: LaunchId) -> Key {
    Key::new(partition(id), "finish")
}

fn slice_key(trigger: &Trigger) -> Key {
    Key::new(format!("slices/{}", trigger.launch), format!("{:05}", trigger.slice))
}

/// A slice: its trigger may have to be sent until it is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// When a trigger was last sent for it.
    pub triggered_at: Option<Timestamp>,
    /// When a dispatcher had enqueued its shards.
    pub planned_at: Option<Timestamp>,
}

/// The writes that make a launch, to go into one transaction with the wave's row and the audit entry.
pub fn create(launch: &Launch) -> Vec<Write> {
    let absent = |key, body| Write::put(key, Expect::Absent, body);
    let mut writes = vec![
        absent(launch_key(launch.id), encode(launch)),
        absent(control_key(launch.id), encode(&Control::default())),
        absent(Key::new(OPEN, launch.id.to_string()), encode(&launch.pressed_at)),
    ];
    let triggers = (0..launch.slices).map(|slice| Trigger { launch: launch.id, slice });
    writes.extend(triggers.map(|trigger| absent(slice_key(&trigger), encode(&Slice::default()))));
    writes
}

/// A launch, if it is there.
pub async fn get(store: &dyn Store, id: LaunchId) -> Result<Option<Launch>> {
    Ok(read(store, launch_key(id)).await?.map(|row: Versioned<Launch>| row.body))
}

/// A launch's control row.
pub async fn control(store: &dyn Store, id: LaunchId) -> Result<Option<Versioned<Control>>> {
    read(store, control_key(id)).await
}

/// Reads a control row that came with others in one `get`.
pub fn read_control(row: &Row) -> Result<Control> {
    decode(row)
}

/// Puts a launch's control row if `expect` holds.
pub fn put_control(id: LaunchId, control: &Control, expect: Expect) -> Write {
    Write::put(control_key(id), expect, encode(control))
}

/// Aborts a launch, with its audit entry; false when it was aborted already or is no launch.
pub async fn abort(store: &dyn Store, id: LaunchId, stop: Stop) -> Result<bool> {
    loop {
        let Some(row) = control(store, id).await?.filter(|row| row.body.aborted.is_none()) else {
            return Ok(false);
        };
        let aborted = Control { aborted: Some(stop.clone()), ..row.body };
        let event = audit::Event {
            at: stop.at,
            actor: stop.by.clone(),
            action: "launch.aborted".into(),
            subject: id.to_string(),
            detail: serde_json::json!({ "why": stop.why }),
        };
        let mut writes = vec![put_control(id, &aborted, Expect::Version(row.version))];
        writes.extend(audit::append(store, event).await?);
        if store.transact(writes).await? == Transacted::Done {
            return Ok(true);
        }
    }
}

fn stages_partition(id: LaunchId) -> String {
    format!("stages/{id}")
}

/// Puts what one process saw of a launch's stages (`report::Stages`' stored form).
pub fn put_stages(id: LaunchId, process: &str, stages: Vec<u8>) -> Write {
    Write::put(Key::new(stages_partition(id), process), Expect::Anything, stages)
}

/// What each process saw of a launch's stages.
pub async fn stages(store: &dyn Store, id: LaunchId) -> Result<Vec<Vec<u8>>> {
    let rows = query_all(store, &stages_partition(id)).await?;
    Ok(rows.into_iter().map(|row| row.body).collect())
}

fn troubles_partition(id: LaunchId) -> String {
    format!("troubles/{id}")
}

/// Puts what one process met on the way to the providers during a launch; cumulative.
pub fn put_troubles(id: LaunchId, process: &str, troubles: &[Trouble]) -> Write {
    Write::put(Key::new(troubles_partition(id), process), Expect::Anything, encode(&troubles))
}

/// What all processes met on the way to the providers.
pub async fn troubles(store: &dyn Store, id: LaunchId) -> Result<Vec<Trouble>> {
    let rows = query_all(store, &troubles_partition(id)).await?;
    let each = rows.iter().map(decode::<Vec<Trouble>>).collect::<Result<Vec<_>>>()?;
    Ok(each.into_iter().flatten().collect())
}

/// A launch's end, once its burst is over.
pub async fn finish(store: &dyn Store, id: LaunchId) -> Result<Option<Versioned<Finish>>> {
    read(store, finish_key(id)).await
}

/// Puts a launch's end if `expect` holds.
pub fn put_finish(id: LaunchId, finish: &Finish, expect: Expect) -> Write {
    Write::put(finish_key(id), expect, encode(finish))
}

/// Takes a launch off the list of open ones.
pub fn close(id: LaunchId) -> Write {
    Write::delete(Key::new(OPEN, id.to_string()), Expect::Anything)
}

/// Launches that are not over, with the time of their press.
pub async fn open(store: &dyn Store) -> Result<Vec<LaunchId>> {
    let rows = query_all(store, OPEN).await?;
    Ok(rows.iter().filter_map(|row| row.key.sort.parse().ok()).collect())
}

/// Every slice of a launch, by number.
pub async fn slices(store: &dyn Store, id: LaunchId) -> Result<Vec<Versioned<Slice>>> {
    let rows = query_all(store, &format!("slices/{id}")).await?;
    rows.iter().map(super::versioned).collect()
}

/// One slice of a launch, if it is there.
pub async fn slice(store: &dyn Store, trigger: &Trigger) -> Result<Option<Versioned<Slice>>> {
    read(store, slice_key(trigger)).await
}

/// Puts a slice if `expect` holds.
pub fn put_slice(trigger: &Trigger, slice: &Slice, expect: Expect) -> Write {
    Write::put(slice_key(trigger), expect, encode(slice))
}
