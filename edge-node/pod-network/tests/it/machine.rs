//! A machine with pods, and what is outside of it. Nothing of it touches the machine that runs the tests.

use std::{collections::BTreeSet, net::Ipv4Addr, path::Path};

use dunlin_link::PodUid;
use dunlin_pod_network::{Attachment, BridgeConfig, Config, HostPort, LinkName, Network, OpenError, Subnet};

use crate::space::Space;

/// The machine, connected with `outside`, which knows nothing of pods.
pub(crate) struct Machine {
    pub(crate) space: Space,
    pub(crate) outside: Space,
}

/// A pod, whether it is in the network or not.
pub(crate) struct Pod {
    pub(crate) uid: PodUid,
    pub(crate) space: Space,
    pub(crate) address: Ipv4Addr,
    pub(crate) host_ports: Vec<HostPort>,
}

impl Machine {
    /// A new one; `None` without the rights or the programs to make one.
    pub(crate) fn new() -> Option<Self> {
        if !Space::can_be() {
            return None;
        }
        for program in ["/usr/sbin/ip", "/usr/sbin/bridge", "/usr/sbin/nft"] {
            if !Path::new(program).exists() {
                println!("SKIPPED: no {program}");
                return None;
            }
        }
        let (space, outside) = (Space::new(), Space::new());
        space.command("ip link set lo up");
        outside.command("ip link set lo up");
        space.command("ip link add up0 mtu 1400 type veth peer name out0 mtu 1400");
        let target = format!("ip link set out0 netns {}", outside.path().display());
        space.command(&target);
        for (space, link, address) in [(&space, "up0", UPLINK), (&outside, "out0", OUTSIDE)] {
            space.command(&format!("ip address add {address}/24 dev {link}"));
            space.command(&format!("ip link set {link} up"));
        }
        space.command(&format!("ip route add default via {OUTSIDE}"));
        Some(Self { space, outside })
    }

    /// A network as a node's agent opens it.
    pub(crate) fn open(&self) -> Network {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Network, OpenError> {
        self.space.run(|| Network::open(Config::Bridge(config())))
    }

    /// Names of all interfaces, sorted.
    pub(crate) fn links(&self) -> Vec<String> {
        let names = self.space.command("ip -brief link");
        let name = |line: &str| line.split(['@', ' ']).next().unwrap().to_owned();
        let mut names: Vec<_> = names.lines().map(name).collect();
        names.sort();
        names
    }
}

impl Pod {
    /// The pod of a number, with its address in the node's first block.
    pub(crate) fn new(number: u8) -> Self {
        Self {
            uid: PodUid::new(format!("00000000-0000-4000-8000-{number:012}")),
            space: Space::new(),
            address: Ipv4Addr::new(10, 42, 1, number),
            host_ports: Vec::new(),
        }
    }

    pub(crate) fn attachment(&self) -> Attachment {
        Attachment {
            uid: self.uid.clone(),
            namespace: "default".into(),
            name: "pod".into(),
            network_namespace: self.space.path(),
            address: self.address,
            host_ports: self.host_ports.clone(),
        }
    }

    /// Puts it into the network.
    pub(crate) fn attach(&self, network: &Network) {
        let addresses = network.attach(&self.attachment()).unwrap();
        assert_eq!(addresses, [std::net::IpAddr::from(self.address)]);
    }
}

/// The set of some pods.
pub(crate) fn uids<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> BTreeSet<PodUid> {
    pods.into_iter().map(|pod| pod.uid.clone()).collect()
}

/// Two blocks of 10.42.0.0/16.
pub(crate) fn config() -> BridgeConfig {
    let subnet = |x, y, prefix| Subnet::new(Ipv4Addr::new(10, 42, x, y), prefix).unwrap();
    BridgeConfig {
        name: LinkName::new("dunlin0").unwrap(),
        cluster: subnet(0, 0, 16),
        blocks: vec![subnet(1, 0, 26), subnet(1, 64, 26)],
        mtu: None,
    }
}

/// The machine's address towards the outside.
pub(crate) const UPLINK: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The outside's address.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The machine's address towards its pods.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 1, 0);
