//! What nobody names any more is marked first and deleted a day later, so that nothing is lost to a look at the wrong moment. A
//! snapshot can come back meanwhile, when the same audience is frozen again: whoever freezes takes the mark away in the same
//! transaction in which the snapshot gets its name, and a snapshot that is being deleted cannot be named.

use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Versioned, encode, read};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write};

/// How far something is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mark")]
pub enum Mark {
    /// Nobody named it then.
    Marked {
        /// When.
        at: Timestamp,
    },
    /// It is being deleted: there is no way back.
    Deleting,
}

fn key(name: &str) -> Key {
    Key::new("garbage", name.replace('/', "+"))
}

/// The name under which a snapshot is marked.
pub fn snapshot_name(snapshot: Digest) -> String {
    format!("snapshot/{snapshot}")
}

/// The mark of what is called `name`.
pub async fn mark(store: &dyn Store, name: &str) -> Result<Option<Versioned<Mark>>> {
    read(store, key(name)).await
}

/// Marks it if `expect` holds.
pub fn put_mark(name: &str, mark: Mark, expect: Expect) -> Write {
    Write::put(key(name), expect, encode(&mark))
}

/// Takes the mark away if `expect` holds.
pub fn delete_mark(name: &str, expect: Expect) -> Write {
    Write::delete(key(name), expect)
}

/// Holds as long as there is no mark.
pub fn check_unmarked(name: &str) -> Write {
    Write::check(key(name), Expect::Absent)
}
