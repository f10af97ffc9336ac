//! What is stored, value by value: for tests that search it for what must not be there. Searching the database's file would miss
//! what is longer than a page.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::schema::FILE;

/// Every value of every table of the database in `folder`: where it stands, and its bytes. Numbers are left out.
pub fn values(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let path = folder.join(FILE);
    let read = || {
        let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut names = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        let tables: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut values = Vec::new();
        for table in tables {
            values.extend(values_of(&database, &table)?);
        }
        Ok(values)
    };
    read().map_err(Error::database(&path))
}

fn values_of(database: &Connection, table: &str) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let mut select = database.prepare(&format!("SELECT * FROM {table}"))?;
    let columns = select.column_count();
    let (mut rows, mut values) = (select.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        // What stands before the value in its row tells which it is.
        let mut place = table.to_owned();
        for column in 0..columns {
            if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(column)? {
                values.push((place.clone(), bytes.to_vec()));
                place = format!("{place}/{:.100}", String::from_utf8_lossy(bytes));
            }
        }
    }
    Ok(values)
}
