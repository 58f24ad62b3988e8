//! Where the agent opens streams into containers: one connection each, beside the one that starts and stops them.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin_link::{ContainerId, PodUid};

use crate::{runner::InProcess, session::ByteStream, sockets};

/// Where streams into one sandbox are opened. Works whenever the sandbox does.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// The socket of a sandbox in a process of its own.
    Process(PathBuf),
    /// The runner in this process.
    InProcess(InProcess),
}

/// The doors of all sandboxes of a node; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    runner: Door,
    own: Arc<Mutex<OwnDoors>>,
}

/// Those of pods' own sandboxes.
#[derive(Debug, Default)]
struct OwnDoors {
    /// Each container's.
    containers: HashMap<ContainerId, PathBuf>,
    /// All that are open.
    sockets: BTreeSet<PathBuf>,
    /// Where the network namespaces of pods are that have one.
    networks: HashMap<PodUid, PathBuf>,
}

impl Door {
    /// Opens a stream.
    pub(crate) async fn open(&self) -> io::Result<ByteStream> {
        Ok(match self {
            Self::Process(socket) => ByteStream::new(sockets::connect(socket).await?),
            Self::InProcess(runner) => ByteStream::new(runner.stream()),
        })
    }
}

impl Doors {
    /// Those of a node with this runner.
    pub(crate) fn new(runner: Door) -> Self {
        Self { runner, own: Arc::default() }
    }

    /// Where streams into a container are opened.
    pub(crate) fn of(&self, container: &ContainerId) -> Door {
        let own = self.own();
        own.containers.get(container).map_or_else(|| self.runner.clone(), |own| Door::Process(own.clone()))
    }

    /// That of the node's runner.
    pub(crate) fn runner(&self) -> Door {
        self.runner.clone()
    }

    /// The doors of all sandboxes.
    pub(crate) fn all(&self) -> Vec<Door> {
        let own = self.own();
        let own = own.sockets.iter().cloned().map(Door::Process);
        std::iter::once(self.runner.clone()).chain(own).collect()
    }

    /// Where a pod's own network namespace is; `None` where it has none, or does not run.
    pub(crate) fn network(&self, pod: &PodUid) -> Option<PathBuf> {
        self.own().networks.get(pod).cloned()
    }

    /// A pod's network namespace is there.
    pub(super) fn put_network(&self, pod: PodUid, namespace: PathBuf) {
        self.own().networks.insert(pod, namespace);
    }

    /// A pod's network namespace is gone.
    pub(super) fn remove_network(&self, pod: &PodUid) {
        self.own().networks.remove(pod);
    }

    /// A container is behind a pod's own door.
    pub(super) fn put(&self, container: ContainerId, socket: PathBuf) {
        let mut own = self.own();
        own.sockets.insert(socket.clone());
        own.containers.insert(container, socket);
    }

    /// A container is no more.
    pub(super) fn remove(&self, container: &ContainerId) {
        self.own().containers.remove(container);
    }

    /// A pod's own door is closed for good.
    pub(super) fn close(&self, socket: &PathBuf) {
        let mut own = self.own();
        own.sockets.remove(socket);
        own.containers.retain(|_, known| known != socket);
    }

    fn own(&self) -> MutexGuard<'_, OwnDoors> {
        // Each change is one of a map's.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
