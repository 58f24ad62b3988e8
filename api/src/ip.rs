//! IP addresses and ranges of them, in the forms that Kubernetes takes, with its messages for those it does not.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::field::{FieldError, Path};

/// A range of addresses: `10.43.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

/// A text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]
pub struct CidrError;

impl Cidr {
    /// Its first address, which is the range's own name and no host's.
    pub fn network(self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                IpAddr::V4((u32::from(address) & !hosts).into())
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                IpAddr::V6((u128::from(address) & !hosts).into())
            }
        }
    }

    /// How many leading bits all its addresses share.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Whether the address is one of the range.
    pub fn contains(self, address: IpAddr) -> bool {
        let other = Self { address, bits: self.bits };
        address.is_ipv4() == self.address.is_ipv4() && other.network() == self.network()
    }

    /// Whether all addresses of `other` are of this range, and this one has more.
    pub fn strictly_contains(self, other: Self) -> bool {
        self.contains(other.address) && self.bits < other.bits
    }

    /// Whether it is a range of IPv6.
    pub fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = text.split_once('/').ok_or(CidrError)?;
        let address: IpAddr = address.parse().map_err(|_| CidrError)?;
        let all_digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u8 = if all_digits { bits.parse().map_err(|_| CidrError)? } else { return Err(CidrError) };
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits <= most { Ok(Self { address, bits }) } else { Err(CidrError) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// An address; answers it when it is one.
pub(crate) fn check_ip(text: &str, field: &Path, errors: &mut Vec<FieldError>) -> Option<IpAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(field, text, detail));
    }
    parsed
}

/// A range of addresses; answers it when it is one.
pub(crate) fn check_cidr(text: &str, field: &Path, errors: &mut Vec<FieldError>) -> Option<Cidr> {
    let parsed = text.parse();
    if let Err(error) = &parsed {
        errors.push(FieldError::invalid(field, text, &CidrError::to_string(error)));
    }
    parsed.ok()
}

/// An address that can be somebody else's: not unspecified, of this machine or of this link.
pub(crate) fn check_not_special(address: IpAddr, field: &Path, errors: &mut Vec<FieldError>) {
    let link_local = |address| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let link_local_multicast = |address| match address {
        IpAddr::V4(address) => u32::from(address) >> 8 == 0x00e0_0000,
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    let detail = if address.is_unspecified() {
        "may not be unspecified (0.0.0.0 or ::)"
    } else if address.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if link_local(address) {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if link_local_multicast(address) {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return;
    };
    errors.push(FieldError::invalid(field, address.to_string(), detail));
}

/// `IPv4` or `IPv6`.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_know_their_addresses() {
        let range: Cidr = "10.43.7.9/16".parse().unwrap();
        assert_eq!(range.network().to_string(), "10.43.0.0");
        assert!(range.contains("10.43.255.255".parse().unwrap()));
        assert!(!range.contains("10.44.0.0".parse().unwrap()));
        assert!(!range.contains("::1".parse().unwrap()));
        assert!(range.strictly_contains("10.43.1.0/24".parse().unwrap()));
        assert!(!range.strictly_contains("10.43.0.0/16".parse().unwrap()));
        let all: Cidr = "::/0".parse().unwrap();
        assert!(all.contains("2001:db8::1".parse().unwrap()));
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/+1", "10.0.0/8", "::/129", "x/8"] {
            assert_eq!(wrong.parse::<Cidr>(), Err(CidrError), "{wrong}");
        }
    }

    #[test]
    fn special_addresses_are_nobody_elses() {
        for (address, refused) in [
            ("0.0.0.0", true),
            ("127.0.0.1", true),
            ("169.254.1.1", true),
            ("224.0.0.5", true),
            ("224.0.1.5", false),
            ("fe80::1", true),
            ("ff02::1", true),
            ("10.0.0.1", false),
        ] {
            let mut errors = Vec::new();
            check_not_special(address.parse().unwrap(), &Path::new("ip"), &mut errors);
            assert_eq!(!errors.is_empty(), refused, "{address}");
        }
    }
}
