//! Whether an installation reaches phones is fixed at its first start, in its own store: no configuration edited later
//! can turn a demo into the real thing, or the other way round.

use anyhow::{Result, bail};
use backend::store::Written;
use backend::{Expect, Key, Store, Write};

use crate::config::InstallationKind;

/// Fixes the kind at the first start, and refuses another one ever after.
pub(crate) async fn fix(store: &dyn Store, kind: InstallationKind) -> Result<()> {
    let key = Key::new("installation", "kind");
    let write = Write::put(key, Expect::Absent, kind.name().into());
    let fixed = match store.write(vec![write]).await?.into_iter().next() {
        Some(Written::Conflict(Some(row))) => String::from_utf8_lossy(&row.body).into_owned(),
        _ => return Ok(()),
    };
    if fixed != kind.name() {
        bail!(
            "this installation was made {fixed} and stays so; the configuration says {}: \
             use another backend.folder, or installation.kind = {fixed:?}",
            kind.name()
        );
    }
    Ok(())
}
