//! The packet filter's part: ports of the machine that lead to pods, and the machine's address for what leaves the cluster.

mod connections;
mod element;
mod expression;
mod guard;
mod ports;
mod table;

use std::{collections::BTreeSet, io, net::Ipv4Addr};

use self::{
    element::{Element, Map},
    table::Table,
};
pub(crate) use self::{
    guard::Guards,
    ports::{Ports, Taken},
};
use crate::{
    address::{LinkName, Subnet},
    socket::{BatchError, Socket},
};

/// Our table in the kernel, which is there as long as this value, and longer.
#[derive(Debug)]
pub(crate) struct Filter {
    socket: Socket,
    name: LinkName,
    cluster: Subnet,
    ports: Ports,
}

/// Why the kernel does not filter as we want.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("the kernel has no {part}")]
    Missing { part: &'static str },
    #[error("the kernel refused {part}: {source}")]
    Refused { part: &'static str, source: io::Error },
}

impl Filter {
    /// Takes over the ports of the table that is there, and replaces the table.
    pub(crate) fn open(name: &LinkName, cluster: Subnet) -> Result<Self, FilterError> {
        let mut socket = Socket::netfilter().map_err(|error| failed("nf_tables", error))?;
        let ports = read_ports(&mut socket, name).map_err(|error| failed("nf_tables", error))?;
        let mut filter = Self { socket, name: name.clone(), cluster, ports };
        filter.replace(&filter.ports.clone())?;
        Ok(filter)
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Makes the ports what they shall be. `addresses` are the machine's.
    pub(crate) fn set(
        &mut self,
        ports: Ports,
        addresses: impl FnOnce() -> io::Result<BTreeSet<Ipv4Addr>>,
    ) -> Result<(), FilterError> {
        const TRACKING: &str = "connection tracking (nf_conntrack_netlink)";
        if ports == self.ports {
            return self.mend();
        }
        self.replace(&ports)?;
        let changed = ports.changed_udp(&self.ports);
        self.ports = ports;
        if changed.is_empty() {
            return Ok(());
        }
        let forgotten = addresses()
            .and_then(|addresses| connections::forget(&mut self.socket, &addresses, &changed))
            .map_err(|error| failed(TRACKING, error));
        match forgotten {
            // What is not forgotten ends by itself when nothing comes for a while.
            Err(FilterError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    /// Puts the table back if somebody removed it, as those do who load a rule set of their own.
    pub(crate) fn mend(&mut self) -> Result<(), FilterError> {
        match self.socket.ask(self.table().ask()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.replace(&self.ports.clone()),
            Err(error) => Err(failed("nf_tables", error)),
        }
    }

    /// Chains that drop what is forwarded unless a rule of theirs accepts it.
    pub(crate) fn dropping_chains(&mut self) -> io::Result<Vec<String>> {
        let mut chains = Vec::new();
        self.socket.fetch(table::list_chains(), |received| {
            chains.extend(table::dropping_chain(received.body));
        })?;
        Ok(chains)
    }

    fn replace(&mut self, ports: &Ports) -> Result<(), FilterError> {
        let (batch, parts) = self.table().replace(ports.elements());
        self.socket.batch(batch).map_err(|BatchError { position, source }| {
            // The first message is the batch's begin.
            let part = position.and_then(|position| parts.get(position.checked_sub(1)?));
            failed(part.copied().unwrap_or("nf_tables"), source)
        })
    }

    fn table(&self) -> Table<'_> {
        Table { name: self.name.as_str(), cluster: self.cluster }
    }
}

/// Tables of our families whose names are `wanted`.
pub(crate) fn tables(socket: &mut Socket, wanted: impl Fn(&str) -> bool) -> io::Result<BTreeSet<String>> {
    let mut tables = BTreeSet::new();
    socket.fetch(table::list_tables(), |received| {
        tables.extend(table::own_table(received.body).filter(|name| wanted(name)).map(str::to_owned));
    })?;
    Ok(tables)
}

/// Removes both tables of a name; none is fine.
pub(crate) fn remove_tables(socket: &mut Socket, name: &str) -> io::Result<()> {
    for message in [table::remove_table(name), table::remove_ingress_table(name)] {
        match socket.batch(table::batch(vec![message])) {
            Err(BatchError { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|error| error.source)?,
        }
    }
    Ok(())
}

fn read_ports(socket: &mut Socket, name: &LinkName) -> io::Result<Ports> {
    let mut elements = Vec::new();
    for map in [Map::Ports, Map::Bound] {
        let read = socket.fetch(map.list(name.as_str()), |received| {
            elements.extend(Element::read(map, received.body));
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(Ports::new(elements))
}

/// What a kernel answers that was built without something, or does not find its module.
fn failed(part: &'static str, source: io::Error) -> FilterError {
    let missing = [libc::ENOENT, libc::EOPNOTSUPP, libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT, libc::EINVAL];
    if source.raw_os_error().is_some_and(|number| missing.contains(&number)) {
        FilterError::Missing { part }
    } else {
        FilterError::Refused { part, source }
    }
}
