//! The tables, and what makes a file one of ours.

use std::path::Path;

use rusqlite::Connection;

use crate::error::Error;

/// The database's file in the folder.
pub(crate) const FILE: &str = "fanfare.db";
/// What `application_id` must say: `FANF`.
const APPLICATION: i64 = 0x4641_4e46;
/// What `user_version` must say; a change of the tables raises it.
const VERSION: i64 = 1;

/// Rows have ids, so that rows written one after the other share pages: a commit writes whole pages. Messages are found by time, FIFO
/// messages by group too. A receipt is a message's `id` and `nonce`. `activity` tells every process when something was last
/// done that survives power.
const TABLES: &str = "
    CREATE TABLE rows (
        id INTEGER PRIMARY KEY,
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        version INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE UNIQUE INDEX rows_by_key ON rows (partition, sort);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        queue TEXT NOT NULL,
        visible_at INTEGER NOT NULL,
        receives INTEGER NOT NULL,
        nonce INTEGER NOT NULL,
        grp TEXT,
        body TEXT NOT NULL
    );
    CREATE INDEX messages_by_time ON messages (queue, visible_at);
    CREATE INDEX messages_by_group ON messages (queue, grp, id) WHERE grp IS NOT NULL;
    CREATE TABLE deduplications (
        queue TEXT NOT NULL,
        id TEXT NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (queue, id)
    ) WITHOUT ROWID;
    CREATE TABLE activity (at INTEGER NOT NULL);
    INSERT INTO activity VALUES (0);
";

/// Checks that the database is ours and of this version; makes the tables when it is new.
pub(crate) fn check_or_make(connection: &Connection, path: &Path) -> Result<(), Error> {
    let failed = Error::database(path);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(&failed)?;
    let found = number("user_version").map_err(&failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(&failed)?;
    if (application, found, tables) == (0, 0, 0) {
        return make(connection).map_err(&failed);
    }
    if application != APPLICATION {
        return Err(Error::Foreign { path: path.to_path_buf() });
    }
    if found != VERSION {
        return Err(Error::Version { path: path.to_path_buf(), found, wanted: VERSION });
    }
    Ok(())
}

fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         BEGIN IMMEDIATE;
         {TABLES}
         PRAGMA application_id = {APPLICATION};
         PRAGMA user_version = {VERSION};
         COMMIT;"
    ))
}
