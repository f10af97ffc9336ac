//! What is wrong with a row or a file. No message shows what stood there: it may be a key.

use std::io;

use model::device::DeviceError;
use model::time::TimestampError;

use crate::columns::Column;

/// Why a row cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error("the line is longer than {0} bytes")]
    TooLong(usize),
    #[error("the line is not UTF-8 from its byte {0} on: save the file as UTF-8")]
    NotUtf8(usize),
    #[error("the row has {found} fields, the header {wanted}")]
    Fields { found: usize, wanted: usize },
    #[error("a quoted field is not closed")]
    OpenQuote,
    #[error("a quote stands where none may: quote the whole field and double the quotes in it")]
    StrayQuote,
    #[error("the line is not a JSON object")]
    NotAnObject,
    #[error("the line is not JSON from its byte {0} on")]
    NotJson(usize),
    #[error("a field that nobody knows stands before byte {0} of the line")]
    Field(usize),
    #[error("field {0} is no text before byte {1} of the line: put its value in quotes")]
    NotText(&'static str, usize),
    #[error("field {0} stands twice in the object")]
    Twice(&'static str),
    #[error("{} is missing, and there is no default for it", .0.name())]
    Missing(Column),
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
            Cause::Field(_) | Cause::NotText(..) => "field",
            Cause::Twice(_) => "field_twice",
            Cause::Missing(column) => column.missing(),
            Cause::DeviceAmongUsers => "device_among_users",
            Cause::Device(error) => error.word(),
            Cause::Time(_) => "registered_at",
        }
    }
}

/// Why a file cannot be read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the file is empty")]
    Empty,
    #[error("the file is {0}: upload the list that is in it, plain or packed once by gzip or zstd")]
    Foreign(&'static str),
    #[error("the file is UTF-16 text: save it as UTF-8 and upload that")]
    Utf16,
    #[error("the file was said to be packed by {0} and does not begin as such a file does")]
    NotPacked(&'static str),
    #[error(
        "the file ends in the middle of what {packing} packed, at its byte {byte}: it was cut off; upload it whole"
    )]
    CutOff { packing: &'static str, byte: u64 },
    #[error("what {packing} packed is damaged at or before byte {byte} of the file")]
    Damaged { packing: &'static str, byte: u64 },
    #[error(
        "to unpack the file zstd would have to look back further than the 128 MiB that it may: pack it with --long=27 at most"
    )]
    Window,
    #[error("the file has more than {0} bytes when unpacked (uploads.unpacked_bytes_max)")]
    TooManyBytes(u64),
    #[error(
        "the first {packed} bytes of the file unpack to {unpacked}, more than {ratio_max} times as many \
             (uploads.unpacked_ratio_max)"
    )]
    Bomb { unpacked: u64, packed: u64, ratio_max: u64 },
    #[error("the file has more than {0} rows (uploads.rows_max)")]
    TooManyRows(u64),
    #[error("line {line}, the header: there are more than {most} columns (uploads.columns_max)")]
    TooManyColumns { line: u64, most: usize },
    #[error("line {line}, the header: {cause}")]
    Header { line: u64, cause: Cause },
    #[error(
        "line {line}, the header: column {column}{name} is none of {known}; the first line must name the columns, separated by \
             commas{hint}"
    )]
    UnknownColumn { line: u64, column: usize, name: String, known: String, hint: &'static str },
    #[error("line {line}, the header: column {name} stands twice")]
    ColumnTwice { line: u64, name: &'static str },
    #[error(
        "line {line}, the header: column {name} is missing, and there is no default for it; a list of users has the \
             column user, a list of devices user, platform, key, app, locale, market and, if known, registered_at"
    )]
    ColumnMissing { line: u64, name: &'static str },
    #[error(
        "line {line}, the header: an export of Pinpoint has ChannelType and Address, this file has not both"
    )]
    NotPinpoint { line: u64 },
    #[error("the file is {found}, announced was {wanted}: say another format, or upload another file")]
    OtherFormat { found: &'static str, wanted: &'static str },
    #[error("the rows do not say everything of a device: say {missing} for all of them")]
    NoDefaults { missing: String },
    #[cfg(feature = "parquet")]
    #[error("the file is no Parquet that is read here: {0}")]
    Parquet(String),
    #[error("this program was built without reading {0}: upload CSV or NDJSON, or build it with the feature")]
    NotBuiltIn(&'static str),
    #[error("the rows are {found}, and must be {wanted}")]
    OtherRows { found: &'static str, wanted: &'static str },
}

/// Readers pass such an error on through those of the standard library.
impl From<Unreadable> for io::Error {
    fn from(fault: Unreadable) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }
}
