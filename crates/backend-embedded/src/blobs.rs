//! Blobs as files of one folder: written under a temporary name, synced, then linked to their own name, which fails when that is
//! taken. A name's `/` is `+` on the disk, so that `a` and `a/b` can both be there.

mod growing;

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use backend::blobs::{Growing, NAME_BYTES_MAX, NAME_PARTS_MAX, Stored};
use backend::{Blobs, Result};
use model::Timestamp;

use crate::error::{Error, invalid, of_file};
use crate::files::{Temporary, make_folder, private};

/// How long a file may be on its way.
const STAGED_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The blobs in a folder.
pub(crate) struct Files {
    place: Arc<Folders>,
    /// In memory every call runs at once, so that calls keep their order under one seed.
    is_inline: bool,
}

struct Folders {
    blobs: PathBuf,
    staging: PathBuf,
    growing: PathBuf,
    /// Goes with the last user when there is no folder of ours.
    _temporary: Option<Temporary>,
}

impl Files {
    /// Opens the blobs below `folder`, or in a temporary folder that is removed at the end.
    pub(crate) fn open(folder: Option<&Path>, now: Timestamp) -> std::result::Result<Self, Error> {
        let temporary = match folder {
            Some(_) => None,
            None => Some(Temporary::make()?),
        };
        let root = folder.or(temporary.as_ref().map(Temporary::path)).expect("one of the two is there");
        let [blobs, staging, growing] = ["blobs", "staging", "growing"].map(|name| root.join(name));
        for folder in [&blobs, &staging, &growing] {
            make_folder(folder)?;
        }
        sweep(&staging, now);
        let place = Arc::new(Folders { blobs, staging, growing, _temporary: temporary });
        Ok(Self { place, is_inline: folder.is_none() })
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Folders) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.place);
        run(self.is_inline, operation, move || work(&place)).await
    }
}

/// Runs `work` on a thread that may block, or here.
async fn run<T: Send + 'static>(
    is_inline: bool,
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if is_inline {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let message = format!("the call did not finish: {error}");
        Err(backend::Error::new(backend::ErrorKind::AnswerLost, operation, message))
    })
}

#[async_trait]
impl Blobs for Files {
    fn staging(&self) -> &Path {
        &self.place.staging
    }

    async fn put_file(&self, name: &str, file: &Path) -> Result<Stored> {
        const PUT: &str = "blobs.put_file";
        check_name(PUT, name)?;
        let (name, file) = (name.to_owned(), file.to_path_buf());
        self.run(PUT, move |place| {
            let target = place.path(&name);
            match adopt(&file, &target) {
                Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                    let copy = place.temporary_name();
                    let stored = fs::copy(&file, &copy).and_then(|_| adopt(&copy, &target));
                    // The caller's file may stay; our copy must not, least of all on a disk that it filled.
                    let _ = fs::remove_file(&copy);
                    stored.map_err(of_file(PUT, &target))
                }
                stored => stored.map_err(of_file(PUT, &file)),
            }
        })
        .await
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<Stored> {
        const PUT: &str = "blobs.put";
        check_name(PUT, name)?;
        let name = name.to_owned();
        self.run(PUT, move |place| {
            let temporary = place.temporary_name();
            let written = write(&temporary, &bytes).and_then(|()| adopt(&temporary, &place.path(&name)));
            let _ = fs::remove_file(&temporary);
            written.map_err(of_file(PUT, &place.path(&name)))
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        const GET: &str = "blobs.get";
        check_name(GET, name)?;
        let name = name.to_owned();
        self.run(GET, move |place| {
            let path = place.path(&name);
            present(fs::read(&path)).map_err(of_file(GET, &path))
        })
        .await
    }

    async fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        const FILE: &str = "blobs.file";
        check_name(FILE, name)?;
        let path = self.place.path(name);
        let found = present(fs::metadata(&path)).map_err(of_file(FILE, &path))?;
        Ok(found.map(|_| path))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        const LIST: &str = "blobs.list";
        let prefix = prefix.to_owned();
        self.run(LIST, move |place| {
            let mut names = names(&place.blobs).map_err(of_file(LIST, &place.blobs))?;
            names.retain(|name| name.starts_with(&prefix));
            Ok(names)
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        const DELETE: &str = "blobs.delete";
        check_name(DELETE, name)?;
        let name = name.to_owned();
        self.run(DELETE, move |place| {
            let path = place.path(&name);
            present(fs::remove_file(&path)).map_err(of_file(DELETE, &path)).map(drop)
        })
        .await
    }

    async fn grow(&self, name: &str) -> Result<Option<Box<dyn Growing>>> {
        const GROW: &str = "blobs.grow";
        check_name(GROW, name)?;
        let (name, is_inline) = (name.to_owned(), self.is_inline);
        let place = Arc::clone(&self.place);
        let held = run(is_inline, GROW, move || {
            let path = on_disk(&place.growing, &name);
            growing::hold(place, path.clone(), is_inline).map_err(of_file(GROW, &path))
        });
        Ok(held.await?.map(|held| Box::new(held) as Box<dyn Growing>))
    }

    async fn grown(&self, name: &str) -> Result<Option<u64>> {
        const GROWN: &str = "blobs.grown";
        check_name(GROWN, name)?;
        let path = on_disk(&self.place.growing, name);
        let found = present(fs::metadata(&path)).map_err(of_file(GROWN, &path))?;
        Ok(found.map(|metadata| metadata.len()))
    }

    async fn growing(&self) -> Result<Vec<String>> {
        const GROWING: &str = "blobs.growing";
        self.run(GROWING, |place| names(&place.growing).map_err(of_file(GROWING, &place.growing))).await
    }
}

/// The names in a folder, in order.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        // A file whose name is no text is none of ours.
        let Ok(file_name) = entry?.file_name().into_string() else { continue };
        names.push(file_name.replace('+', "/"));
    }
    names.sort_unstable();
    Ok(names)
}

fn on_disk(folder: &Path, name: &str) -> PathBuf {
    folder.join(name.replace('/', "+"))
}

impl Folders {
    fn path(&self, name: &str) -> PathBuf {
        on_disk(&self.blobs, name)
    }

    /// A name in staging that no other call uses, of this process or another.
    fn temporary_name(&self) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.staging.join(format!("put-{}-{number}", std::process::id()))
    }
}

/// Removes what killed processes left in staging a day ago or longer.
fn sweep(staging: &Path, now: Timestamp) {
    let is_old = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let modified = modified.ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        modified.is_some_and(|since| Timestamp(since.as_micros() as u64) + STAGED_MAX < now)
    };
    // What cannot be removed is tried again at the next start.
    let entries = fs::read_dir(staging).into_iter().flatten().filter_map(io::Result::ok);
    entries.filter(is_old).for_each(|entry| drop(fs::remove_file(entry.path())));
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private().create(true).truncate(true).open(path)?;
    file.write_all(bytes)
}

/// Makes `file` durable under the name `target` too, unless that is taken; `file` itself goes.
fn adopt(file: &Path, target: &Path) -> io::Result<Stored> {
    let opened = File::open(file)?;
    opened.set_permissions(Permissions::from_mode(0o600))?;
    opened.sync_all()?;
    let stored = match fs::hard_link(file, target) {
        Ok(()) => Stored::New,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Stored::AlreadyThere,
        Err(error) => return Err(error),
    };
    // Whoever was first may not have come to this yet, and the answer says that the blob is durable.
    File::open(target.parent().expect("a blob lies in a folder"))?.sync_all()?;
    fs::remove_file(file)?;
    Ok(stored)
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn check_name(operation: &'static str, name: &str) -> Result<()> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_fine);
    let fits = name.len() <= NAME_BYTES_MAX
        && name.split('/').count() <= NAME_PARTS_MAX
        && name.split('/').all(is_part);
    if fits {
        return Ok(());
    }
    let name: String = name.chars().take(80).collect();
    Err(invalid(operation, format!("{name:?} is no name of a blob")))
}
