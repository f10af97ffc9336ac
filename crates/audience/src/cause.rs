//! What is wrong with a row or a file. No message shows what stood there: it may be a key.

use model::device::DeviceError;
use model::time::TimestampError;

/// Why a row cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error("the line is longer than {0} bytes")]
    TooLong(usize),
    #[error("the line is not UTF-8 from its byte {0} on")]
    NotUtf8(usize),
    #[error("the row has {found} fields, the header {wanted}")]
    Fields { found: usize, wanted: usize },
    #[error("a quoted field is not closed on its line")]
    OpenQuote,
    #[error("a quote stands where none may: quote the whole field and double the quotes in it")]
    StrayQuote,
    #[error("the line is not a JSON object")]
    NotAnObject,
    #[error("the line is not JSON from its byte {0} on")]
    NotJson(usize),
    #[error(
        "a field that nobody knows, or one with a value that is no text, stands before byte {0} of the line"
    )]
    Field(usize),
    #[error("field {0} stands twice in the object")]
    Twice(&'static str),
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error("the row has fields of a device, the rows before it name users only")]
    DeviceAmongUsers,
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("registered_at is {0}")]
    Time(#[from] TimestampError),
}

impl Cause {
    /// The same as a word that never changes.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Cause::TooLong(_) => "line_too_long",
            Cause::NotUtf8(_) => "not_utf8",
            Cause::Fields { .. } => "field_count",
            Cause::OpenQuote => "open_quote",
            Cause::StrayQuote => "stray_quote",
            Cause::NotAnObject => "not_an_object",
            Cause::NotJson(_) => "not_json",
            Cause::Field(_) => "field",
            Cause::Twice(_) => "field_twice",
            Cause::Missing(_) => "field_missing",
            Cause::DeviceAmongUsers => "device_among_users",
            Cause::Device(error) => error.word(),
            Cause::Time(_) => "registered_at",
        }
    }
}

/// Why a file cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the file is empty")]
    Empty,
    #[error("the file is {0}; upload plain CSV or NDJSON")]
    Packed(&'static str),
    #[error("line {line}, the header: {cause}")]
    Header { line: u64, cause: Cause },
    #[error("line {line}, the header: column {column}{name} is none of {known}")]
    UnknownColumn { line: u64, column: usize, name: String, known: String },
    #[error("line {line}, the header: column {name} stands twice")]
    ColumnTwice { line: u64, name: &'static str },
    #[error(
        "line {line}, the header: column {name} is missing; a list of users has the column user, a list of devices \
             user, platform, key, app, locale, market and, if known, registered_at"
    )]
    ColumnMissing { line: u64, name: &'static str },
    #[error("this program reads no {0}")]
    NotBuiltIn(&'static str),
    #[error("the rows are {found}, announced were {wanted}")]
    OtherRows { found: &'static str, wanted: &'static str },
}
