//! Containers in the agent's own process, for `dunlin dev`: the same table, reached through channels instead of a socket.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use dunlin_edge_node_core::sandbox::{Event, Request};
use dunlin_wasm_host::{Host, StartHostError};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::{
    container::Parts,
    containers::{Containers, Served},
    log::{LogBounds, Logs},
    modules::{Modules, OwnCode},
    streams,
};
use crate::local::keyvalue::KeyValues;

/// What all nodes of a dev cluster share: one engine, its threads, and the programs it has loaded.
#[derive(Clone, Debug)]
pub struct SharedHost {
    host: Host,
    modules: Arc<Modules>,
    keyvalues: Arc<KeyValues>,
    /// What guests see at `/`.
    empty: Option<Arc<Path>>,
}

/// Why containers cannot be run in this process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The WebAssembly host does not start.
    #[error("failed to start the WebAssembly host")]
    Host(#[source] StartHostError),
    /// The thread that writes logs does not start.
    #[error("failed to start the log writer")]
    Logs(#[source] io::Error),
}

impl SharedHost {
    /// Starts the engine; in `dir` is a folder for what guests see at `/`. `keyvalue_bytes` is what a namespace's guests may keep
    /// together, if not the default.
    ///
    /// # Errors
    /// When the machine does not offer what the engine needs.
    pub fn start(own: OwnCode, dir: &Path, keyvalue_bytes: Option<u64>) -> Result<Self, StartError> {
        let host = Host::new().map_err(StartError::Host)?;
        let modules = Arc::new(Modules::new(host.clone(), own));
        // Where there is no place for it, guests see nothing at `/`.
        let empty = empty_folder(dir).ok().map(Arc::from);
        Ok(Self { host, modules, keyvalues: Arc::new(KeyValues::new(keyvalue_bytes)), empty })
    }

    /// Lets guests connect to the coordinator at an address of this machine.
    pub fn lead_to_api(&self, address: SocketAddr) {
        self.host.lead_to_api(address);
    }

    pub(crate) fn containers(&self, bounds: LogBounds) -> Result<Arc<Containers>, StartError> {
        let logs = Logs::start(bounds).map_err(StartError::Logs)?;
        let (host, modules) = (self.host.clone(), Arc::clone(&self.modules));
        let (keyvalues, empty) = (Arc::clone(&self.keyvalues), self.empty.clone());
        Ok(Containers::new(Parts { host, modules, logs, keyvalues, empty }))
    }

    /// Runs `future` where guests run.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.host.handle().spawn(future));
    }
}

/// The containers of one node in this process. They end with it, or by a `Shutdown` request.
#[derive(Clone)]
pub struct InProcess {
    shared: SharedHost,
    containers: Arc<Containers>,
}

impl InProcess {
    /// An empty table of containers on the shared host.
    ///
    /// # Errors
    /// When its log writer does not start.
    pub fn new(shared: SharedHost, bounds: LogBounds) -> Result<Self, StartError> {
        let containers = shared.containers(bounds)?;
        Ok(Self { shared, containers })
    }

    /// Connects an agent; a newer connection replaces the older, whose channels then close.
    pub fn connect(&self) -> (mpsc::Sender<Request>, mpsc::Receiver<Event>) {
        let (requests, heard) = mpsc::channel(QUEUE_MAX);
        let (told, events) = mpsc::channel(QUEUE_MAX);
        let containers = Arc::clone(&self.containers);
        self.shared.spawn(async move {
            if containers.serve(heard, told).await == Served::Shutdown {
                containers.shut_down().await;
            }
        });
        (requests, events)
    }
}

impl InProcess {
    /// Opens a stream, as a connection to the streams' socket would.
    pub(crate) fn stream(&self) -> DuplexStream {
        let (ours, theirs) = duplex(STREAM_BYTES_MAX);
        let containers = Arc::clone(&self.containers);
        self.shared.spawn(async move {
            if let Err(error) = streams::serve(&containers, theirs).await {
                tracing::debug!(%error, "a stream ended early");
            }
        });
        ours
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

/// Makes the folder that guests see at `/`, or finds that of the runner before. Guests can only read it.
fn empty_folder(dir: &Path) -> io::Result<PathBuf> {
    let empty = dir.join(EMPTY);
    match fs::create_dir(&empty) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(empty),
    }
}

/// The name of the folder that guests see at `/`.
const EMPTY: &str = "empty";

/// Bytes under way in each direction of a stream.
const STREAM_BYTES_MAX: usize = 64 << 10;

/// Messages under way in each direction; more wait with their sender.
pub(crate) const QUEUE_MAX: usize = 64;
