//! The node's network as agents use it.

use std::{collections::BTreeSet, net::IpAddr, path::Path};

use dunlin_link::PodUid;

use crate::{
    attachment::Attachment,
    bridge::BridgeConfig,
    bridged::Bridged,
    cni::{self, PluginConfig, Plugins},
    error::{AttachError, DetachError, KeepError, OpenError},
    namespace::Namespace,
    owner::UID_BYTES_MAX,
    status::Status,
    step::Step as _,
};

/// How the pods of a node come to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Over a bridge of ours.
    Bridge(BridgeConfig),
    /// By other people's plugins.
    Plugins(PluginConfig),
}

/// The network of a node's pods. Every call waits for the kernel or for plugins: none belongs on a thread that serves others.
#[derive(Debug)]
pub struct Network {
    /// The machine's own.
    home: Namespace,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Bridge(Bridged),
    Plugins(Plugins),
}

impl Network {
    /// The network of the calling thread's namespace, made or mended; pods that are in it stay.
    ///
    /// # Errors
    /// When there can be no network, for instance without privileges. Without a packet filter, or without plugins yet, there is one:
    /// see `status`.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        const STEP: &str = "open the machine's network namespace";
        let home = Namespace::current().step(STEP)?;
        let way = match config {
            Config::Bridge(config) => Way::Bridge(Bridged::open(config, Namespace::current().step(STEP)?)?),
            Config::Plugins(config) => Way::Plugins(Plugins::open(config)?),
        };
        Ok(Self { home, way })
    }

    /// Puts a pod into the network, or mends what is there of it. Returns its addresses.
    ///
    /// # Errors
    /// When the pod is not in the network afterwards as it shall be. It can be tried again, or undone with `detach`.
    pub fn attach(&self, attachment: &Attachment) -> Result<Vec<IpAddr>, AttachError> {
        let uid = &attachment.uid;
        if uid.as_str().len() > UID_BYTES_MAX || !cni::is_container_id(uid) {
            return Err(AttachError::Uid { uid: uid.clone() });
        }
        let namespace = self.open_namespace(&attachment.network_namespace)?;
        match &self.way {
            Way::Bridge(bridged) => bridged.attach(attachment, &namespace),
            Way::Plugins(plugins) => Ok(plugins.attach(attachment, &namespace)?),
        }
    }

    /// Takes a pod out of the network; one that is not in it is fine.
    ///
    /// # Errors
    /// When something of it can be left.
    pub fn detach(&self, uid: &PodUid) -> Result<(), DetachError> {
        // What has no good uid was never in it.
        match &self.way {
            _ if !cni::is_container_id(uid) => Ok(()),
            Way::Bridge(bridged) => bridged.detach(uid),
            Way::Plugins(plugins) => Ok(plugins.detach(uid)?),
        }
    }

    /// Removes what belongs to pods of this node other than `uids`, and mends what belongs to nobody in particular.
    ///
    /// # Errors
    /// When something can be left.
    pub fn keep(&self, uids: &BTreeSet<PodUid>) -> Result<(), KeepError> {
        match &self.way {
            Way::Bridge(bridged) => bridged.keep(uids),
            Way::Plugins(plugins) => Ok(plugins.keep(uids)?),
        }
    }

    /// Takes away what all pods share, unless a pod is in it; plugins keep what is theirs.
    ///
    /// # Errors
    /// When something can be left.
    pub fn remove(&self) -> Result<(), KeepError> {
        match &self.way {
            Way::Bridge(bridged) => bridged.remove(),
            Way::Plugins(_) => Ok(()),
        }
    }

    /// What does not work.
    pub fn status(&self) -> Status {
        let problems = match &self.way {
            Way::Bridge(bridged) => bridged.problems(),
            Way::Plugins(plugins) => plugins.problems(),
        };
        Status { problems }
    }

    fn open_namespace(&self, path: &Path) -> Result<Namespace, AttachError> {
        let failed = |source| AttachError::Namespace { path: path.to_owned(), source };
        let namespace = Namespace::open(path).map_err(failed)?;
        if namespace.identity().map_err(failed)? == self.home.identity().map_err(failed)? {
            return Err(AttachError::OwnNamespace { path: path.to_owned() });
        }
        Ok(namespace)
    }
}
