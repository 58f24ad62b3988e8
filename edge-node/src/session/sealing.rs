//! The key that a node's Secrets are sealed to, kept beside its identity.

use std::path::Path;

use dunlin_link::sealed::SealingKey;
use tracing::warn;

use super::identity::{Folder, IdentityError};

/// The node's sealing key, made when there is none. One that is damaged is replaced: what was sealed to it comes again.
///
/// # Errors
/// When the file cannot be read or written.
pub fn sealing_key(state_dir: &Path) -> Result<SealingKey, IdentityError> {
    let folder = Folder::of(state_dir);
    match folder.read(FILE)?.as_deref().map(SealingKey::from_bytes) {
        Some(Some(key)) => return Ok(key),
        Some(None) => warn!("the node's sealing key is damaged and is made anew"),
        None => {}
    }
    let key = SealingKey::generate(&mut rand::rng());
    // A machine that never joined has no identity, but a state of its own.
    folder.make()?;
    folder.write(FILE, &key.reveal())?;
    Ok(key)
}

/// The 32 bytes of the private key.
const FILE: &str = "sealing.key";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_again_only_when_it_is_gone_or_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("identity").join(FILE);
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        let first = sealing_key(dir.path()).unwrap().public();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(sealing_key(dir.path()).unwrap().public(), first);
        std::fs::write(&file, b"cut").unwrap();
        let second = sealing_key(dir.path()).unwrap().public();
        assert_ne!(second, first);
        std::fs::remove_file(&file).unwrap();
        assert_ne!(sealing_key(dir.path()).unwrap().public(), second);
    }
}
