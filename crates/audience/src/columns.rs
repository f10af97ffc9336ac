//! The columns of an upload: their names, and what the header of a CSV file says.

use std::borrow::Cow;

use model::audience::{Defaults, UploadRows};

use crate::cause::{Cause, Unreadable};
use crate::fields::Fields;
use crate::taking::Texts;

/// Every column there is. The number is its place in a [`Texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    User = 0,
    Platform = 1,
    Key = 2,
    App = 3,
    Locale = 4,
    Market = 5,
    RegisteredAt = 6,
    Environment = 7,
}

impl Column {
    pub(crate) const ALL: [Column; 8] = [
        Column::User,
        Column::Platform,
        Column::Key,
        Column::App,
        Column::Locale,
        Column::Market,
        Column::RegisteredAt,
        Column::Environment,
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
            Column::Environment => "environment",
        }
    }

    /// The word for a row in which it is missing.
    pub(crate) const fn missing(self) -> &'static str {
        match self {
            Column::User => "user_missing",
            Column::Platform => "platform_missing",
            Column::Key => "key_missing",
            Column::App => "app_missing",
            Column::Locale => "locale_missing",
            Column::Market => "market_missing",
            Column::RegisteredAt => "registered_at_missing",
            Column::Environment => "environment_missing",
        }
    }

    /// Whether a device of some provider needs it.
    fn is_required(self, defaults: &Defaults) -> bool {
        match self {
            Column::User | Column::Key => true,
            Column::Platform => defaults.platform.is_none(),
            Column::App => defaults.apns_app.is_none() && defaults.fcm_app.is_none(),
            Column::Locale => defaults.locale.is_none(),
            Column::Market => defaults.market.is_none(),
            Column::RegisteredAt | Column::Environment => false,
        }
    }
}

/// What a CSV header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What stands in each column; `None`: nothing that is needed.
    pub(crate) columns: Vec<Option<Column>>,
    pub(crate) rows: UploadRows,
}

impl Header {
    /// Reads the header in line `line`.
    pub(crate) fn of_line(
        line: u64,
        text: &str,
        columns_max: usize,
        defaults: &Defaults,
    ) -> Result<Self, Unreadable> {
        let names = names(line, text, columns_max)?;
        Self::of(line, names.iter().map(|name| &**name), defaults)
    }

    /// Of columns with these names.
    pub(crate) fn of<'a>(
        line: u64,
        names: impl Iterator<Item = &'a str>,
        defaults: &Defaults,
    ) -> Result<Self, Unreadable> {
        let names: Vec<&str> = names.collect();
        let find = |name: &str| Column::ALL.into_iter().find(|column| column.name() == name);
        let is_header = names.iter().any(|name| find(name).is_some());
        let mut columns = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let column = find(name).ok_or_else(|| unknown(line, index + 1, name, is_header))?;
            if columns.contains(&Some(column)) {
                return Err(Unreadable::ColumnTwice { line, name: column.name() });
            }
            columns.push(Some(column));
        }
        if columns == [Some(Column::User)] {
            return Ok(Self { columns, rows: UploadRows::Users });
        }
        let is_missing = |column: &Column| column.is_required(defaults) && !columns.contains(&Some(*column));
        match Column::ALL.into_iter().find(is_missing) {
            Some(column) => Err(Unreadable::ColumnMissing { line, name: column.name() }),
            None => Ok(Self { columns, rows: UploadRows::Devices }),
        }
    }

    /// The texts of a row, into `texts`.
    pub(crate) fn read<'a>(&self, row: &'a str, texts: &mut Texts<'a>) -> Result<(), Cause> {
        let mut found = 0;
        for field in Fields::new(row) {
            let field = field?;
            if let Some(Some(column)) = self.columns.get(found) {
                texts[*column as usize] = Some(field);
            }
            found += 1;
        }
        let wanted = self.columns.len();
        if found == wanted { Ok(()) } else { Err(Cause::Fields { found, wanted }) }
    }
}

/// The names in the header in line `line`.
pub(crate) fn names(line: u64, text: &str, columns_max: usize) -> Result<Vec<Cow<'_, str>>, Unreadable> {
    let names: Result<Vec<_>, Cause> = Fields::new(text).take(columns_max.saturating_add(1)).collect();
    let names = names.map_err(|cause| Unreadable::Header { line, cause })?;
    if names.len() > columns_max {
        Err(Unreadable::TooManyColumns { line, most: columns_max })
    } else {
        Ok(names)
    }
}

/// A file without a header shows its first row here, which may name a person or a key: only what looks like a name, beside names
/// that are known, is repeated.
fn unknown(line: u64, column: usize, field: &str, is_header: bool) -> Unreadable {
    const NAME_BYTES_MAX: usize = 20;
    let is_name_byte = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b' ');
    let is_name = is_header && field.len() <= NAME_BYTES_MAX && field.bytes().all(is_name_byte);
    let name = if is_name { format!(" {field:?}") } else { String::new() };
    let known: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
    let is_known = |name: &str| known.contains(&name.trim().to_ascii_lowercase().as_str());
    let hint = match field {
        _ if field.split([';', '\t', '|']).count() > 1 && field.split([';', '\t', '|']).any(is_known) => {
            ": these are separated otherwise"
        }
        // A name that is known but for its case or blanks.
        _ if is_known(field) => ", in small letters and without blanks",
        _ => "",
    };
    Unreadable::UnknownColumn { line, column, name, known: known.join(", "), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Header, Unreadable> {
        Header::of_line(1, text, 10, &Defaults::default())
    }

    fn fault(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn the_header_says_what_the_rows_are() {
        assert_eq!(read("user").unwrap().rows, UploadRows::Users);
        let devices = read("key,platform,app,market,\"locale\",user").unwrap();
        assert_eq!((devices.rows, devices.columns.len()), (UploadRows::Devices, 6));
        assert!(read("user,platform,key,app,locale,market,registered_at,environment").is_ok());
    }

    #[test]
    fn wrong_columns_are_named() {
        assert!(fault("user,email").starts_with("line 1, the header: column 2 \"email\" is none of user, "));
        assert!(fault("user,user").contains("user stands twice"));
        assert!(fault("user,platform,key,app,market").contains("column locale is missing"));
        assert!(fault("platform").contains("column user is missing"));
        assert!(fault("anna").ends_with("the first line must name the columns, separated by commas"));
        for (text, hint) in [
            ("user;platform;key", "separated by commas: these are separated otherwise"),
            ("user\tplatform", "these are separated otherwise"),
            ("User", "in small letters and without blanks"),
            ("user, platform", "in small letters and without blanks"),
        ] {
            assert!(fault(text).ends_with(hint), "{}", fault(text));
        }
    }

    #[test]
    fn a_column_with_a_default_may_be_missing() {
        let defaults = Defaults {
            platform: Some(model::Platform::Fcm),
            fcm_app: Some("p".into()),
            locale: Some("en".into()),
            ..Defaults::default()
        };
        let read = |text| Header::of_line(1, text, 10, &defaults);
        assert_eq!(read("user,key,market").unwrap().rows, UploadRows::Devices);
        assert!(read("user,key").unwrap_err().to_string().contains("column market is missing"));
        assert_eq!(read("user").unwrap().rows, UploadRows::Users);
    }

    #[test]
    fn ten_thousand_columns_are_refused_by_their_number() {
        let names: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
        let fault =
            Header::of_line(1, &names.join(","), 1_000, &Defaults::default()).unwrap_err().to_string();
        assert_eq!(fault, "line 1, the header: there are more than 1000 columns (uploads.columns_max)");
    }

    #[test]
    fn a_key_in_place_of_a_header_is_not_repeated() {
        let fault = fault("dGhpc2lzYWZpZHRva2VuMQ");
        assert!(fault.contains("column 1 is none of") && !fault.contains("dGh"), "{fault}");
    }
}
