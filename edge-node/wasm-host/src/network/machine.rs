//! Which addresses the machine has, as the kernel's own table of routes says it; that takes no privileges.

use std::{collections::BTreeSet, fs, io, net::Ipv4Addr};

/// All of the machine's own, but for those in the part of its loopback network that is for pods.
pub(super) fn addresses() -> io::Result<BTreeSet<Ipv4Addr>> {
    fs::read_to_string(ROUTES).map(|text| local(&text))
}

/// The table is a tree: a line with an address is followed by one for each of its routes.
fn local(text: &str) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    let mut last = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(last);
        }
    }
    addresses.retain(|address| !matches!(address.octets(), [127, pods, ..] if pods != 0));
    addresses
}

/// Of the process's own network.
const ROUTES: &str = "/proc/self/net/fib_trie";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_local_is_told_from_networks_and_broadcasts() {
        let text = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.42.0.5
           /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.2
           /32 host LOCAL
Local:
        |-- 192.0.2.2
           /32 host LOCAL
";
        let expected = [[127, 0, 0, 1], [192, 0, 2, 2]].map(Ipv4Addr::from);
        assert_eq!(local(text), BTreeSet::from(expected));
    }

    #[test]
    fn this_machine_has_its_loopback() {
        assert!(addresses().unwrap().contains(&Ipv4Addr::LOCALHOST));
    }
}
