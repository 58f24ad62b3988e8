//! Unix sockets of this user's own programs, wherever they lie.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use dunlin_oci_shim::SocketPath;
use tokio::net::{UnixListener, UnixStream};

/// Opens a socket for this user alone, in the place of one that is there: whoever can speak here can run code on the machine.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(SocketPath::of(path)?.path())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to whoever listens there.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = SocketPath::of(path)?;
    UnixStream::connect(socket.path()).await
}
