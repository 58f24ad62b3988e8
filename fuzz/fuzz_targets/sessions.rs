//! Any bytes, fed to both session machines: before the greeting, and once a session is open.

#![no_main]

use std::time::Duration;

use dunlin_link::{
    BootId, Digest, NodeName, Revision, UnixMillis,
    assignment::Desired,
    frame::encode,
    message::{Epoch, Tunables, Welcome},
    moment::Moment,
    session::{
        coordinator::{CoordinatorConfig, CoordinatorSession},
        node::{Applied, NodeConfig, NodeSession},
    },
    status::{NodeFacts, NodeResources},
};
use libfuzzer_sys::fuzz_target;

const NOW: Moment = Moment(Duration::ZERO);
const TUNABLES: Tunables = Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 };

fuzz_target!(|input: (bool, &[u8])| {
    let (is_open, bytes) = input;
    let mut node = node();
    let hello = node.poll_transmit(UnixMillis(0)).expect("a connected node greets");
    let mut coordinator = coordinator();
    if is_open {
        coordinator.handle_bytes(NOW, UnixMillis(0), &hello).expect("a true greeting");
        coordinator.welcome(Epoch::default(), Desired::default(), NOW, UnixMillis(0)).expect("an empty set");
        node.handle_bytes(NOW, &welcome()).expect("a true welcome");
    }
    // Errors are the right answer to most bytes.
    let _ = coordinator.handle_bytes(NOW, UnixMillis(0), bytes);
    let _ = node.handle_bytes(NOW, bytes);
    while coordinator.poll_output().is_some() {}
    while node.poll_output().is_some() {}
    while coordinator.poll_transmit().is_some() {}
    while node.poll_transmit(UnixMillis(0)).is_some() {}
});

fn coordinator() -> CoordinatorSession {
    let config = CoordinatorConfig {
        node: NodeName::new("n"),
        cluster_id: "c".into(),
        restore_generation: 0,
        tunables: TUNABLES,
        sealing_seed: [7; 32],
    };
    CoordinatorSession::new(config, NOW)
}

fn node() -> NodeSession {
    let config = NodeConfig {
        node: NodeName::new("n"),
        boot_id: BootId([0; 16]),
        agent: 1,
        cluster_id: "c".into(),
        sealing_key: None,
    };
    let mut node = NodeSession::new(config, facts(), NOW);
    let state_digest = Digest::from_bytes([0; 32]);
    let applied = Applied { revision: Revision(0), restore_generation: 0, protocol: 5, state_digest };
    node.handle_connected(NOW, UnixMillis(0), applied, Vec::new());
    node
}

fn welcome() -> Vec<u8> {
    encode(&Welcome {
        epoch: Epoch { term: 1, counter: 1 },
        protocol: 1,
        server_time: UnixMillis(0),
        cluster_id: "c".into(),
        restore_generation: 0,
        tunables: TUNABLES,
        extensions: Vec::new(),
    })
}

fn facts() -> NodeFacts {
    NodeFacts {
        architecture: String::new(),
        operating_system: String::new(),
        kernel_version: String::new(),
        os_image: String::new(),
        machine_id: String::new(),
        boot_id: String::new(),
        version: String::new(),
        runtime_version: String::new(),
        hostname: String::new(),
        addresses: Vec::new(),
        capacity: NodeResources::default(),
        allocatable: NodeResources::default(),
        labels: Vec::new(),
        taints: Vec::new(),
        containers: None,
        huge_pages: Vec::new(),
    }
}
