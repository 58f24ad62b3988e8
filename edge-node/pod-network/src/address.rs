//! Names and addresses of the node's network, checked once.

use std::{fmt, net::Ipv4Addr};

/// The name of a network interface: 1 to 15 letters, digits, `-`, `_` or `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(String);

impl LinkName {
    /// `None` when the kernel, or the packet filter's program, would not take it.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = text.len() <= LINK_NAME_BYTES_MAX
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(is_allowed);
        is_name.then_some(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A range of addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// `None` when `prefix` is beyond 32 bits or `network` has bits set after it.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Option<Self> {
        let subnet = Self { network, prefix };
        (prefix <= 32 && network.to_bits() & !subnet.mask_bits() == 0).then_some(subnet)
    }

    /// Its first address.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// How many bits its addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether an address is one of it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask_bits() == self.network.to_bits()
    }

    pub(crate) fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.mask_bits())
    }

    fn mask_bits(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// The hardware address of an interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac([u8; 6]);

impl Mac {
    /// The one of an address. Who gets an address again answers to the same: nobody's memory of it becomes wrong.
    pub(crate) fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([LOCAL, MARK, a, b, c, d])
    }

    pub(crate) fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// `IFNAMSIZ` less the zero byte.
const LINK_NAME_BYTES_MAX: usize = 15;
/// Given by whoever runs the network, to one interface.
const LOCAL: u8 = 0x02;
/// Tells ours from those of other programs on the same machine.
const MARK: u8 = 0xd1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel() {
        for good in ["dunlin0", "a", "abcdefghijklmno", "br-x_1.2"] {
            assert!(LinkName::new(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "abcdefghijklmnop", "a/b", "a b", "0a", "a\u{e9}"] {
            assert!(LinkName::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn subnets_know_their_addresses() {
        let block = Subnet::new(Ipv4Addr::new(10, 42, 1, 64), 26).unwrap();
        assert!(block.contains(Ipv4Addr::new(10, 42, 1, 127)));
        assert!(!block.contains(Ipv4Addr::new(10, 42, 1, 128)));
        assert_eq!(block.mask(), Ipv4Addr::new(255, 255, 255, 192));
        assert_eq!(block.to_string(), "10.42.1.64/26");
        assert_eq!(Subnet::new(Ipv4Addr::new(10, 42, 1, 65), 26), None);
        assert_eq!(Subnet::new(Ipv4Addr::UNSPECIFIED, 33), None);
        assert!(Subnet::new(Ipv4Addr::UNSPECIFIED, 0).unwrap().contains(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn hardware_addresses_follow_from_addresses() {
        assert_eq!(format!("{:?}", Mac::of(Ipv4Addr::new(10, 42, 1, 5))), "02:d1:0a:2a:01:05");
    }
}
