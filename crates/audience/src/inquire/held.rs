//! Files that name somebody, or may.

use std::sync::Arc;

use backend::rows::{self, export, import};
use model::export::ExportState;
use model::import::ImportState;
use model::inquiry::{HeldUpload, NamingFile};
use model::{Audience, AudienceState};

use super::Unread;
use crate::desk::Desk;
use crate::error::Result;
use crate::search::{Search, search};
use crate::upload::step;

/// Uploaded files that are still there.
pub(super) async fn held_uploads(desk: &Desk, audiences: &[Audience]) -> Result<Vec<HeldUpload>> {
    let (store, blobs) = (&*desk.backend.store, &desk.backend.blobs);
    let mut held = Vec::new();
    for audience in audiences {
        if let Some(upload) = &audience.upload
            && blobs.file(&upload.blob).await?.is_some()
        {
            held.push(HeldUpload { of: audience.id.to_string(), since: audience.created_at });
        }
    }
    for import in import::all(store).await? {
        if !matches!(import.state, ImportState::Done { .. } | ImportState::Failed { .. }) {
            held.push(HeldUpload { of: import.id.to_string(), since: import.created_at });
        }
    }
    for parts in rows::upload::all(store).await? {
        if blobs.grown(&rows::upload::object(parts.id)).await?.is_some() {
            held.push(HeldUpload { of: parts.id.to_string(), since: parts.created_at });
        }
    }
    Ok(held)
}

/// Files that were written here and name somebody.
pub(super) async fn naming_files(
    desk: &Desk,
    audiences: &[Audience],
    whom: Search,
    unread: &mut Unread,
) -> Result<Vec<NamingFile>> {
    let whom = Arc::new(whom);
    let mut naming = Vec::new();
    for (blob, file) in written_files(desk, audiences).await? {
        let Some(path) = desk.backend.blobs.file(&blob).await? else { continue };
        let whom = Arc::clone(&whom);
        let found = step(move || search(&path, &whom)).await;
        let found = unread.or_note(&format!("{} {}", file.what, file.of), found)?;
        if found.is_some_and(|found| found.contains(&true)) {
            naming.push(file);
        }
    }
    Ok(naming)
}

/// The blob of each file that was written here and names people.
async fn written_files(desk: &Desk, audiences: &[Audience]) -> Result<Vec<(String, NamingFile)>> {
    let mut files = Vec::new();
    for row in export::all(&*desk.backend.store).await? {
        if let ExportState::Done { blob, at, .. } = row.state {
            files.push((blob, NamingFile { what: "export".into(), of: row.id.to_string(), since: at }));
        }
    }
    for audience in audiences {
        let since = match &audience.state {
            AudienceState::Frozen { at, .. } => *at,
            _ => audience.created_at,
        };
        let list = audience.report.as_ref().and_then(|report| report.left_out_list.as_ref());
        files.extend(list.map(|list| {
            (list.blob.clone(), NamingFile { what: "left_out".into(), of: audience.id.to_string(), since })
        }));
    }
    Ok(files)
}
