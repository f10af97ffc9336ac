//! The tables, and what makes a file one of ours.

use std::path::Path;

use rusqlite::Connection;

use crate::error::Error;

/// A kind of database file.
pub(crate) struct Schema {
    /// File name.
    pub(crate) file: &'static str,
    /// What `application_id` must say.
    pub(crate) application: i64,
    /// What `user_version` must say; a change of the tables raises it.
    pub(crate) version: i64,
    /// What makes it.
    pub(crate) tables: &'static str,
}

/// Rows and queues. Messages are found by time, FIFO messages by group too. A receipt is a message's `id` and `nonce`.
pub(crate) const STATE: Schema = Schema {
    file: "fanfare.db",
    application: 0x4641_4e46,
    version: 1,
    tables: "
        CREATE TABLE rows (
            partition TEXT NOT NULL,
            sort TEXT NOT NULL,
            version INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (partition, sort)
        ) WITHOUT ROWID;
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
    ",
};

/// Devices by user.
pub(crate) const DIRECTORY: Schema = Schema {
    file: "directory.db",
    application: 0x4641_4e44,
    version: 1,
    tables: "
        CREATE TABLE devices (
            user TEXT NOT NULL,
            platform INTEGER NOT NULL,
            app TEXT NOT NULL,
            key TEXT NOT NULL,
            locale TEXT NOT NULL,
            market TEXT NOT NULL,
            registered_at INTEGER NOT NULL,
            PRIMARY KEY (user, platform, app, key)
        ) WITHOUT ROWID;
    ",
};

/// Checks that the database is of this kind and version; makes the tables when it is new.
pub(crate) fn check_or_make(connection: &Connection, schema: &Schema, path: &Path) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => Error::Foreign { path: path.to_path_buf() },
        _ => Error::database(path)(error),
    };
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(failed)?;
    let found = number("user_version").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if (application, found, tables) == (0, 0, 0) {
        return make(connection, schema).map_err(failed);
    }
    if application != schema.application {
        return Err(Error::Foreign { path: path.to_path_buf() });
    }
    if found != schema.version {
        return Err(Error::Version { path: path.to_path_buf(), found, wanted: schema.version });
    }
    Ok(())
}

fn make(connection: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    let Schema { application, version, tables, .. } = schema;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         BEGIN IMMEDIATE;
         {tables}
         PRAGMA application_id = {application};
         PRAGMA user_version = {version};
         COMMIT;"
    ))
}
