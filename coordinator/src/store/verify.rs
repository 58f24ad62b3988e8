//! Opening the database only when all of it is what was written: every page is compared with its checksum.
//!
//! redb verifies pages when it has reason to doubt them and not when it reads them, so a card that forgot a page would go unnoticed.
//! What the walk costs is in `docs/design/store.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::{StoreOptions, open::OpenError};

/// The database in `backend`, verified from the newest commit that is durable on.
pub(super) fn open_verified(
    options: &StoreOptions,
    backend: impl StorageBackend,
) -> Result<Database, OpenError> {
    let opening = AssertUnwindSafe(|| -> Result<Database, DatabaseError> {
        let mut database = Builder::new().set_cache_size(options.cache_bytes).create_with_backend(backend)?;
        if !database.check_integrity()? {
            // Whether what is left is what was acknowledged, the log tells.
            tracing::warn!(path = %options.path.display(), "the database of the store was repaired");
        }
        Ok(database)
    });
    match catch_unwind(opening) {
        Ok(opened) => opened.map_err(|source| options.database_error(source.into())),
        // redb asserts about what it reads where its own checksums do not reach.
        Err(_) => {
            Err(options
                .damaged("its database is malformed in a way that its library does not expect".to_owned()))
        }
    }
}
