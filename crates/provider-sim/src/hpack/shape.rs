//! The shape of a header block: bytes that are the same in every request, and the places of the values that are
//! not. Requests of one launch have one shape, and a block of a known shape is read by comparing bytes.

use super::decoder::{Decoder, Text, read_text};
use super::{Corrupt, Name, integer};

/// The shape of a block that changed nothing in the table it was decoded with.
#[derive(Debug)]
pub(crate) struct Shape {
    generation: u64,
    /// Constant bytes, and the name of the value that follows them.
    parts: Vec<(Box<[u8]>, Name)>,
    /// Constant bytes after the last value.
    tail: Box<[u8]>,
}

impl Shape {
    /// The shape of `block`, which `decoder` has just decoded; `None` if it did more than name fields.
    pub(crate) fn of(block: &[u8], decoder: &Decoder) -> Option<Shape> {
        let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
        while let Some(&first) = block.get(at) {
            if first >= 0x80 {
                integer::read(block, &mut at, 7).ok()?;
                continue;
            }
            if first >= 0x20 {
                return None;
            }
            let name = literal_name(block, &mut at, decoder).ok()?;
            parts.push((block[start..at].into(), name));
            read_text(block, &mut at, &mut Vec::new()).ok()?;
            start = at;
        }
        Some(Shape { generation: decoder.generation(), parts, tail: block[start..].into() })
    }

    /// If `block` has this shape, shows its values to `visit`. It may have shown some before it finds that the shape
    /// is another.
    #[inline]
    pub(crate) fn read(
        &self,
        block: &[u8],
        generation: u64,
        scratch: &mut Vec<u8>,
        mut visit: impl FnMut(Name, &[u8]),
    ) -> bool {
        if generation != self.generation {
            return false;
        }
        let mut rest = block;
        for (constant, name) in &self.parts {
            let Some(after) = rest.strip_prefix(&**constant) else { return false };
            let mut length = 0;
            match read_text(after, &mut length, scratch) {
                Ok(Text::Plain(value)) => visit(*name, value),
                Ok(Text::Decoded) => visit(*name, scratch),
                Err(Corrupt) => return false,
            }
            rest = &after[length..];
        }
        *rest == *self.tail
    }
}

fn literal_name(block: &[u8], at: &mut usize, decoder: &Decoder) -> Result<Name, Corrupt> {
    let index = integer::read(block, at, 4)?;
    if index > 0 {
        return decoder.field(index).map(|(name, _)| name);
    }
    let mut scratch = Vec::new();
    Ok(match read_text(block, at, &mut scratch)? {
        Text::Plain(name) => Name::of(name),
        Text::Decoded => Name::of(&scratch),
    })
}
