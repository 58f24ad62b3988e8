//! The certificate of the TCP port: names by which clients know the coordinator, and every address at which one of them came in.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    crypto::ring::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::warn;

use super::{Pki, TlsError};

/// A certificate that grows. Addresses of a machine come and go, so that none is asked for before a client has used it; names come from
/// the configuration only, because what a client asks for must not decide what is signed.
#[derive(Debug)]
pub struct ServingCertificate {
    pki: Pki,
    names: Vec<String>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    addresses: BTreeSet<IpAddr>,
    certified: Arc<CertifiedKey>,
}

impl ServingCertificate {
    /// A certificate for the names that every coordinator has, and for `names`, of which each is a DNS name or an address.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(pki: &Pki, names: &[String]) -> Result<Self, TlsError> {
        let mut all: Vec<String> = NAMES.map(str::to_owned).to_vec();
        for name in names {
            if !all.contains(name) && Self::takes(name) {
                all.push(name.clone());
            }
        }
        let addresses = BTreeSet::from(ADDRESSES);
        let certified = certify(pki, &all, &addresses)?;
        Ok(Self { pki: pki.clone(), names: all, current: RwLock::new(Current { addresses, certified }) })
    }

    /// Whether something can be in a certificate: a DNS name or an address.
    pub(crate) fn takes(name: &str) -> bool {
        name.parse::<IpAddr>().is_ok() || is_dns_name(name)
    }

    /// The authority that signs it.
    pub(crate) const fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Adds the address of this machine at which a connection came in.
    pub(crate) fn cover(&self, address: IpAddr) {
        let address = address.to_canonical();
        let covered = |current: &Current| {
            current.addresses.contains(&address) || current.addresses.len() >= ADDRESSES_MAX
        };
        if covered(&self.current.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if covered(&current) {
            return;
        }
        let mut addresses = current.addresses.clone();
        addresses.insert(address);
        match certify(&self.pki, &self.names, &addresses) {
            Ok(certified) => *current = Current { addresses, certified },
            Err(error) => warn!(%error, %address, "failed to put an address into the certificate"),
        }
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.certified))
    }
}

fn certify(pki: &Pki, names: &[String], addresses: &BTreeSet<IpAddr>) -> Result<Arc<CertifiedKey>, TlsError> {
    let addresses = addresses.iter().map(ToString::to_string);
    let (certificate, key) = pki.issue_server(names.iter().cloned().chain(addresses).collect())?;
    let key = any_supported_type(&key)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate, pki.certificate().clone()], key)))
}

fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(is_label)
}

/// Names that pods and the cluster's own parts use.
const NAMES: [&str; 6] = [
    dunlin_link::join::SERVER_NAME,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
];

/// Loopback, and the address of the Service `kubernetes`, the first of the service range.
const ADDRESSES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(10, 43, 0, 1)),
];

/// Addresses in one certificate: far more than a machine has, so that one whose addresses change by the hour has no end of them.
const ADDRESSES_MAX: usize = 64;
