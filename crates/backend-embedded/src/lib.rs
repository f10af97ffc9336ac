//! The default backend: rows and queues in SQLite, blobs and the directory as files, all in one folder; or everything in
//! memory under a given clock, which is the only double that tests of the stages use.

mod blobs;
mod database;
mod directory;
mod error;
mod files;
#[cfg(feature = "inspect")]
pub mod inspect;
mod jobs;
mod queues;
mod schema;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend::Backend;
use model::runtime::Runtime;

pub use error::Error;

use crate::database::Database;
use crate::queues::Bells;

/// Where a backend lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this process, for as long as somebody holds it; shared by all who hold a clone of the [`Backend`].
    Memory,
    /// In this folder, made when missing; any number of processes may have it open at once.
    Folder(PathBuf),
}

impl Place {
    /// `:memory:`, or a folder.
    pub fn of(path: impl AsRef<Path>) -> Self {
        match path.as_ref() {
            path if path == ":memory:" => Place::Memory,
            path => Place::Folder(path.to_path_buf()),
        }
    }
}

/// An open backend and what ends it.
pub struct Embedded {
    /// The four parts, for the roles.
    pub backend: Backend,
    database: Arc<Database>,
    users: Arc<directory::Users>,
}

impl Embedded {
    /// Ends it: what was acknowledged is written to the files, threads have ended. Calls that come later fail.
    pub async fn close(self) {
        self.users.close().await;
        self.database.close().await;
    }
}

/// Opens the backend at `place`, making what is missing.
pub fn open(place: &Place, runtime: &Runtime) -> Result<Embedded, Error> {
    let folder = match place {
        Place::Memory => None,
        Place::Folder(folder) => {
            files::make_folder(folder)?;
            Some(folder.as_path())
        }
    };
    let _opening = folder.map(files::lock).transpose()?;
    let bells = Arc::new(Bells::new());
    let database = Arc::new(Database::open(folder, Arc::clone(&runtime.clock), bells.clone())?);
    let users = Arc::new(directory::Users::open(folder)?);
    let backend = Backend {
        store: Arc::new(store::Rows::new(Arc::clone(&database))),
        queues: Arc::new(queues::Messages::new(Arc::clone(&database), bells, runtime)),
        blobs: Arc::new(blobs::Files::open(folder, runtime.clock.now())?),
        directory: users.clone(),
    };
    Ok(Embedded { backend, database, users })
}
