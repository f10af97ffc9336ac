//! The columns of an upload: their names, and what the header of a CSV file says.

use model::audience::UploadRows;

use crate::cause::{Cause, Unreadable};
use crate::fields::Fields;

/// Every column there is. The number is its place in a [`Texts`](crate::rows::Texts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    User = 0,
    Platform = 1,
    Key = 2,
    App = 3,
    Locale = 4,
    Market = 5,
    RegisteredAt = 6,
}

impl Column {
    pub(crate) const ALL: [Column; 7] = [
        Column::User,
        Column::Platform,
        Column::Key,
        Column::App,
        Column::Locale,
        Column::Market,
        Column::RegisteredAt,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Column::User => "user",
            Column::Platform => "platform",
            Column::Key => "key",
            Column::App => "app",
            Column::Locale => "locale",
            Column::Market => "market",
            Column::RegisteredAt => "registered_at",
        }
    }

    /// Whether a device needs it.
    const fn is_required(self) -> bool {
        !matches!(self, Column::RegisteredAt)
    }
}

/// What a CSV header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: UploadRows,
}

impl Header {
    /// Reads the header in line `line`.
    pub(crate) fn read(line: u64, text: &str) -> Result<Self, Unreadable> {
        let mut columns = Vec::new();
        for (index, field) in Fields::new(text).enumerate() {
            let field = field.map_err(|cause| Unreadable::Header { line, cause })?;
            let column = Column::ALL.into_iter().find(|column| column.name() == field);
            let column = column.ok_or_else(|| unknown(line, index + 1, &field))?;
            if columns.contains(&column) {
                return Err(Unreadable::ColumnTwice { line, name: column.name() });
            }
            columns.push(column);
        }
        if columns == [Column::User] {
            return Ok(Self { columns, rows: UploadRows::Users });
        }
        let missing =
            Column::ALL.into_iter().find(|column| column.is_required() && !columns.contains(column));
        match missing {
            Some(column) => Err(Unreadable::ColumnMissing { line, name: column.name() }),
            None => Ok(Self { columns, rows: UploadRows::Devices }),
        }
    }

    /// The number of fields that a row must have.
    pub(crate) const fn len(&self) -> usize {
        self.columns.len()
    }
}

/// A file without a header shows its first row here, which may hold a key: only what looks like a name is repeated.
fn unknown(line: u64, column: usize, field: &str) -> Unreadable {
    const NAME_BYTES_MAX: usize = 20;
    let is_name_byte = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b' ');
    let is_name = field.len() <= NAME_BYTES_MAX && field.bytes().all(is_name_byte);
    let name = if is_name { format!(" {field:?}") } else { String::new() };
    let known: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
    Unreadable::UnknownColumn { line, column, name, known: known.join(", ") }
}

/// What the fields of a JSON object say their kind is wrong about.
pub(crate) fn check_kind(rows: UploadRows, is_device: bool) -> Result<(), Cause> {
    match (rows, is_device) {
        (UploadRows::Users, true) => Err(Cause::DeviceAmongUsers),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_the_rows_are() {
        assert_eq!(Header::read(1, "user").unwrap().rows, UploadRows::Users);
        let devices = Header::read(1, "key,platform,app,market,\"locale\",user").unwrap();
        assert_eq!((devices.rows, devices.len()), (UploadRows::Devices, 6));
        assert!(Header::read(1, "user,platform,key,app,locale,market,registered_at").is_ok());
    }

    #[test]
    fn wrong_columns_are_named() {
        let fault = |text| Header::read(1, text).unwrap_err().to_string();
        assert!(fault("user,email").starts_with("line 1, the header: column 2 \"email\" is none of user, "));
        assert!(fault("user,user").contains("user stands twice"));
        assert!(fault("user,platform,key,app,market").contains("column locale is missing"));
        assert!(fault("platform").contains("column user is missing"));
    }

    #[test]
    fn a_key_in_place_of_a_header_is_not_repeated() {
        let fault = Header::read(1, "dGhpc2lzYWZpZHRva2VuMQ").unwrap_err().to_string();
        assert!(fault.contains("column 1 is none of") && !fault.contains("dGh"), "{fault}");
    }
}
