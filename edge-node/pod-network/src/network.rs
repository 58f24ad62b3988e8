//! The node's network as agents use it.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use dunlin_link::PodUid;

use crate::{
    attachment::{Attachment, HostPort},
    bridge::{Bridge, BridgeConfig},
    namespace::Namespace,
    owner::{Owner, UID_BYTES_MAX},
    pod_link,
    route::Routing,
    status::{Problem, Status},
    step::{Step as _, StepError},
};

/// How the pods of a node come to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Over a bridge of ours.
    Bridge(BridgeConfig),
}

/// The network of a node's pods. Every call waits for the kernel: none belongs on a thread that serves others.
#[derive(Debug)]
pub struct Network {
    config: BridgeConfig,
    owner: Owner,
    /// The machine's own.
    home: Namespace,
    /// One thing is done at a time, as the kernel does it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    routing: Routing,
    bridge: Bridge,
}

impl Network {
    /// The network of the calling thread's namespace, made or mended; pods that are in it stay.
    ///
    /// # Errors
    /// When there can be no network, for instance without privileges.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let Config::Bridge(config) = config;
        let home = Namespace::current().step("open the machine's network namespace")?;
        let mut routing = Routing::open().step("open a socket for links and routes")?;
        let bridge = home.run(|| Bridge::ensure(&config, &mut routing))?;
        let owner = Owner::new(config.name.clone());
        Ok(Self { config, owner, home, state: Mutex::new(State { routing, bridge }) })
    }

    /// Puts a pod into the network, or mends what is there of it. Returns its addresses.
    ///
    /// # Errors
    /// When the pod is not in the network afterwards. It can be tried again, or undone with `detach`.
    pub fn attach(&self, attachment: &Attachment) -> Result<Vec<IpAddr>, AttachError> {
        let Attachment { uid, address, network_namespace, .. } = attachment;
        if uid.as_str().len() > UID_BYTES_MAX {
            return Err(AttachError::Uid { uid: uid.clone() });
        }
        if !self.config.blocks.iter().any(|block| block.contains(*address)) {
            return Err(AttachError::Address { address: (*address).into() });
        }
        if let Some(port) = attachment.host_ports.first() {
            return Err(AttachError::HostPort { port: *port, problem: no_filter() });
        }
        let namespace = self.open_namespace(network_namespace)?;
        let mut state = self.state();
        let State { routing, bridge } = &mut *state;
        let link = routing.link_at(bridge.index).step("find the bridge")?;
        if link.is_none_or(|link| link.name != self.owner.bridge()) {
            *bridge = self.home.run(|| Bridge::ensure(&self.config, routing))?;
        }
        pod_link::attach(&self.owner, bridge, (&self.home, routing), (uid, &namespace, *address))?;
        Ok(vec![(*address).into()])
    }

    /// Takes a pod out of the network; one that is not in it is fine.
    ///
    /// # Errors
    /// When something of it can be left.
    pub fn detach(&self, uid: &PodUid) -> Result<(), DetachError> {
        let mut state = self.state();
        pod_link::detach(&self.owner, uid, &mut state.routing).step("remove the pod's interface")?;
        Ok(())
    }

    /// Removes what belongs to pods of this node other than `uids`, and mends what belongs to nobody in particular.
    ///
    /// # Errors
    /// When something can be left.
    pub fn keep(&self, uids: &BTreeSet<PodUid>) -> Result<(), KeepError> {
        let mut state = self.state();
        let State { routing, bridge } = &mut *state;
        *bridge = self.home.run(|| Bridge::ensure(&self.config, routing))?;
        let is_left = |alias: &str| self.owner.pod(alias).is_some_and(|uid| !uids.contains(&uid));
        let left = routing.links(|link| is_left(&link.alias)).step("list interfaces")?;
        for link in left {
            routing.remove_link(link.index).step("remove the interface of a pod that is gone")?;
        }
        Ok(())
    }

    /// What does not work.
    pub fn status(&self) -> Status {
        Status { problems: vec![no_filter()] }
    }

    fn open_namespace(&self, path: &Path) -> Result<Namespace, AttachError> {
        let failed = |source| AttachError::Namespace { path: path.to_owned(), source };
        let namespace = Namespace::open(path).map_err(failed)?;
        if namespace.identity().map_err(failed)? == self.home.identity().map_err(failed)? {
            return Err(AttachError::OwnNamespace { path: path.to_owned() });
        }
        Ok(namespace)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is remembered is looked at again by every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_filter() -> Problem {
    Problem::PacketFilter { missing: "not there yet".into() }
}

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing to give addresses from.
    #[error("the node has no address block")]
    NoBlocks,
    /// Something else has the name.
    #[error("interface `{name}` is there and is no bridge but of kind `{kind}`")]
    NotABridge {
        /// The configured name.
        name: String,
        /// What it is; empty for hardware.
        kind: String,
    },
    /// Pods would reach nothing but the machine.
    #[error("failed to switch on net.ipv4.ip_forward")]
    Forwarding {
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The machine's network namespace cannot be entered.
    #[error("failed to enter the machine's network namespace")]
    Home(#[from] io::Error),
}

/// Why a pod is not in the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Longer than what can be written at things in the kernel.
    #[error("pod uid `{uid}` is longer than {UID_BYTES_MAX} bytes")]
    Uid {
        /// The pod's.
        uid: PodUid,
    },
    /// Answers would not find their way.
    #[error("address {address} is in none of the node's blocks")]
    Address {
        /// The pod's.
        address: IpAddr,
    },
    /// Not there, or not allowed.
    #[error("failed to open network namespace `{path}`")]
    Namespace {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is meant for a pod would be done to the machine.
    #[error("network namespace `{path}` is the machine's own")]
    OwnNamespace {
        /// As it was given.
        path: PathBuf,
    },
    /// Ports of the machine cannot lead to pods.
    #[error("hostPort {port}: {problem}")]
    HostPort {
        /// The first that is asked for.
        port: HostPort,
        /// Why not.
        problem: Problem,
    },
    /// What all pods share could not be mended.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Others have all names that the pod's interface could have.
    #[error("interfaces with all of the names {names:?} are there and are not ours")]
    NoName {
        /// The names.
        names: Vec<String>,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Why something of a pod can be left in the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetachError {
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Why something of pods that are gone can be left in the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// What all pods share could not be mended.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
}
