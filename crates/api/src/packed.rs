//! Lists that are stored packed, a line of JSON each, and told plain.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use tokio::sync::mpsc;

const PART_BYTES: usize = 64 << 10;
/// Parts that wait for whoever reads.
const PARTS_MAX: usize = 4;

/// How a list is told.
#[derive(Clone, Copy)]
pub(crate) enum Told {
    /// Line by line as it is stored.
    AsItIs,
    /// With another line in front, and each line changed by a function that appends it.
    Changed(&'static str, fn(&[u8], &mut Vec<u8>) -> io::Result<()>),
}

/// The unpacked list at `path`, read while it is sent.
pub(crate) fn body(path: PathBuf, told: Told) -> Body {
    let (sender, parts) = mpsc::channel(PARTS_MAX);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(&path, told, &sender) {
            // Nobody may be there any more to be told.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Body::from_stream(futures::stream::unfold(parts, async |mut parts| Some((parts.recv().await?, parts))))
}

/// Sends part by part, until nobody reads any more.
fn send(path: &Path, told: Told, parts: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let file = BufReader::new(std::fs::File::open(path)?);
    let mut lines = BufReader::with_capacity(PART_BYTES, zstd::stream::read::Decoder::with_buffer(file)?);
    let (mut part, mut line) = (Vec::with_capacity(PART_BYTES), Vec::new());
    if let Told::Changed(head, _) = told {
        part.extend_from_slice(head.as_bytes());
    }
    loop {
        let is_over = match told {
            Told::AsItIs => lines.by_ref().take(PART_BYTES as u64).read_to_end(&mut part)? == 0,
            Told::Changed(_, change) => {
                line.clear();
                let is_over = lines.read_until(b'\n', &mut line)? == 0;
                if !is_over {
                    change(&line, &mut part)?;
                }
                is_over
            }
        };
        let is_full = part.len() >= PART_BYTES || (is_over && !part.is_empty());
        if is_full && parts.blocking_send(Ok(std::mem::take(&mut part).into())).is_err() {
            return Ok(());
        }
        if is_over {
            return Ok(());
        }
    }
}
