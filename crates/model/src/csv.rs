//! CSV as Fanfare writes it: RFC 4180, and nothing in it that a spreadsheet would run.

use std::io::{self, Write};

/// Fields, each with the comma behind it.
pub fn write_fields<const N: usize>(texts: [&str; N], out: &mut impl Write) -> io::Result<()> {
    for text in texts {
        write_field(text, out)?;
        out.write_all(b",")?;
    }
    Ok(())
}

/// A field, quoted where it must be. What a spreadsheet would take for a formula gets an apostrophe in front (OWASP,
/// "CSV Injection"); so does what has one already, which takes every doubt out of reading it back.
pub fn write_field(text: &str, out: &mut impl Write) -> io::Result<()> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']);
    if !is_formula && !text.contains([',', '"', '\n', '\r']) {
        return out.write_all(text.as_bytes());
    }
    out.write_all(if is_formula { b"\"'" } else { b"\"" })?;
    out.write_all(text.replace('"', "\"\"").as_bytes())?;
    out.write_all(b"\"")
}
