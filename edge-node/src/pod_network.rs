//! The network of pods with sandboxes of their own, off the agent's tasks: made with the first such pod, and put in order at each start.

mod blocks;
mod care;
mod relay;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex as BlockingMutex, OnceLock, PoisonError},
};

use dunlin_edge_node_core::{
    address::{BlockRange, POD_RANGE},
    env::ApiAddress,
    host_port::ports_of,
    node::SandboxOrder,
    pod::ContainerIndex,
};
use dunlin_link::{PodUid, node_network::NodeNetwork, pod::PodAssignment, with_causes};
use dunlin_pod_network::{Attachment, BridgeConfig, Config, HostPort, Network, PluginConfig, Subnet, sweep};
use tokio::{
    sync::{Mutex, OnceCell, watch},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

pub use self::blocks::{BlockClaim, gateway};
pub(crate) use self::care::Afterwards;
use self::{
    blocks::{bridge_name, first_block},
    relay::Relay,
};
use crate::config::PluginFolders;

/// See the module. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct PodNetwork {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Of the bridge, which is made by whoever claims them.
    blocks: Option<BlockRange>,
    claim: BlockingMutex<Option<BlockClaim>>,
    network: OnceCell<Arc<Network>>,
    /// Cancelled when it is made.
    made: CancellationToken,
    /// Where the API is carried to the bridge's pods, if it has to be.
    relay: OnceLock<Relay>,
    /// Pods that could not be taken out yet. Held while that is tried again, so that none is taken out that has come again.
    left: Mutex<BTreeSet<PodUid>>,
    /// How it fares; `None` where nothing is known.
    state: watch::Sender<Option<NodeNetwork>>,
}

impl PodNetwork {
    /// That of a node with these blocks. Nodes of one machine have different ones, and bridges of different names; without a `claim` to them
    /// they are claimed when they are needed.
    pub(crate) fn bridge(blocks: BlockRange, claim: Option<BlockClaim>) -> Option<Self> {
        let subnet = |(network, prefix): (Ipv4Addr, u8)| Subnet::new(network, prefix);
        let config = BridgeConfig {
            name: bridge_name(blocks.first())?,
            cluster: subnet(POD_RANGE)?,
            blocks: blocks.subnets().map(subnet).collect::<Option<_>>()?,
            mtu: None,
        };
        Some(Self::new(Config::Bridge(config), Some(blocks), claim))
    }

    /// By plugins; what they need to know later is kept in the node's state.
    pub(crate) fn plugins(folders: &PluginFolders, state_dir: &Path) -> Self {
        let config = PluginConfig {
            conf_dir: folders.conf_dir.clone(),
            bin_dirs: vec![folders.bin_dir.clone()],
            state_dir: state_dir.join("cni"),
        };
        Self::new(Config::Plugins(config), None, None)
    }

    fn new(config: Config, blocks: Option<BlockRange>, claim: Option<BlockClaim>) -> Self {
        let inner = Inner {
            config,
            blocks,
            claim: BlockingMutex::new(claim),
            network: OnceCell::new(),
            made: CancellationToken::new(),
            relay: OnceLock::new(),
            left: Mutex::default(),
            state: watch::Sender::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Leads to the API, which is on the machine's loopback, at the same port of an address that pods of the bridge reach: this one.
    pub(crate) fn lead_to(&self, api: &ApiAddress) -> Option<Ipv4Addr> {
        let Config::Bridge(config) = &self.inner.config else { return None };
        let gateway = config.blocks.first()?.network();
        self.inner.relay.get_or_init(|| Relay::new(gateway, api.clone()));
        Some(gateway)
    }

    /// Whether an earlier agent has made it, so that something of pods may be left in it.
    pub(crate) fn is_there(&self) -> bool {
        match &self.inner.config {
            // Unlike `/sys`, of this process's own network wherever it is mounted.
            Config::Bridge(config) => {
                Path::new("/proc/sys/net/ipv4/conf").join(config.name.as_str()).exists()
            }
            Config::Plugins(config) => config.state_dir.exists(),
        }
    }

    /// Gives a pod its address and the machine's ports that lead to it, or mends what is there. Answers the address if it is another one
    /// than was asked for.
    pub(crate) async fn attach(&self, order: &SandboxOrder, netns: &str) -> Result<Option<Ipv4Addr>, String> {
        let Some(address) = order.address else { return Ok(None) };
        let pod = &order.pod;
        let attachment = Attachment {
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            network_namespace: PathBuf::from(netns),
            address,
            host_ports: host_ports(pod)?,
        };
        let network = self.network().await?;
        self.inner.left.lock().await.remove(&pod.uid);
        let attach = move || network.attach(&attachment).map_err(|error| with_causes(&error));
        let addresses = spawn_blocking(attach).await.map_err(|error| error.to_string())??;
        let given = addresses.into_iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        Ok(given.filter(|given| *given != address))
    }

    /// Takes away what is left of a pod, later if it fails now. Where nothing was ever attached there is nothing.
    pub(crate) async fn detach(&self, uid: &PodUid) {
        if let Err(error) = self.take_out(uid).await {
            tracing::warn!(error, pod = %uid, "what is left of a pod in the node's network could not be removed; it is tried again");
            if self.inner.left.lock().await.insert(uid.clone()) {
                tokio::spawn(self.clone().take_out_later(uid.clone()));
            }
        }
    }

    /// Removes what belongs to other pods than these.
    pub(crate) async fn keep(&self, uids: BTreeSet<PodUid>) {
        let kept = async {
            let network = self.network().await?;
            let keep = move || network.keep(&uids).map_err(|error| with_causes(&error));
            spawn_blocking(keep).await.map_err(|error| error.to_string())?
        };
        if let Err(error) = kept.await {
            tracing::warn!(error, "the network of pods could not be put in order");
        }
    }

    async fn network(&self) -> Result<Arc<Network>, String> {
        let open = || async {
            let inner = Arc::clone(&self.inner);
            let opened = spawn_blocking(move || inner.open());
            opened.await.unwrap_or_else(|error| Err(error.to_string())).map(Arc::new)
        };
        let opened = self.inner.network.get_or_try_init(open).await.cloned();
        match &opened {
            Ok(_) => self.inner.made.cancel(),
            Err(message) => self.fares(NodeNetwork::Lacks { message: message.clone() }),
        }
        opened
    }
}

impl Inner {
    /// Makes it, where its addresses are not another node's. What nodes left that are gone goes first.
    fn open(&self) -> Result<Network, String> {
        if let Some(blocks) = self.blocks {
            let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
            if claim.is_none() {
                *claim = Some(BlockClaim::of_range(blocks)?);
            }
            if let Err(error) = sweep(first_block) {
                tracing::warn!(
                    error = with_causes(&error),
                    "bridges and tables of nodes that are gone could not be removed"
                );
            }
        }
        Network::open(self.config.clone()).map_err(|error| with_causes(&error))
    }
}

/// Ports of the machine that lead to a pod.
fn host_ports(pod: &PodAssignment) -> Result<Vec<HostPort>, String> {
    let spec = &pod.spec;
    let containers = spec.init_containers.len() + spec.containers.len();
    let ports = (0..containers).flat_map(|index| ports_of(pod, ContainerIndex(index)));
    let lead = ports.filter_map(|(port, host)| {
        let host = host?;
        let host_ip = match host.address {
            // One that is everywhere is no narrower than none.
            Some(IpAddr::V4(address)) if !address.is_unspecified() => Some(address),
            Some(IpAddr::V6(address)) if !address.is_unspecified() => {
                return Some(Err(format!(
                    "hostPort {}: pods have no IPv6, so hostIP {address} leads nowhere",
                    host.number
                )));
            }
            _ => None,
        };
        let (protocol, container_port) = (host.protocol, port.container_port);
        Some(Ok(HostPort { protocol, host_ip, host_port: host.number, container_port }))
    });
    lead.collect()
}
