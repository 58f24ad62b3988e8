//! The addresses and ports of the cluster that the data was recorded in.

use std::net::{IpAddr, Ipv4Addr};

use dunlin_api::kind::service::{Pool, Ranges};

/// Gives the same numbers to every Service; what they are is not compared.
#[derive(Debug)]
pub(crate) struct RecordedPool {
    ranges: Ranges,
    next_port: u16,
}

impl RecordedPool {
    pub(crate) fn new() -> Self {
        let addresses = vec!["10.96.0.0/16".parse().expect("a range")];
        Self { ranges: Ranges { addresses, node_ports: (30_000, 32_767) }, next_port: 30_100 }
    }
}

impl Pool for RecordedPool {
    fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    fn next_address(&mut self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(10, 96, 7, 7).into())
    }

    fn next_port(&mut self) -> Option<u16> {
        self.next_port += 1;
        Some(self.next_port)
    }
}
