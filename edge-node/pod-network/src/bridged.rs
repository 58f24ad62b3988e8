//! Pods on a bridge of the node.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dunlin_link::PodUid;

use crate::{
    attachment::Attachment,
    bridge::{Bridge, BridgeConfig},
    error::{AttachError, DetachError, FilterProblem, KeepError, OpenError},
    filter::{Filter, FilterError, Guards, Ports},
    namespace::Namespace,
    owner::Owner,
    pod_link,
    route::Routing,
    status::Problem,
    step::Step as _,
    sysctl, traces,
};

/// Pods on a bridge of the node.
#[derive(Debug)]
pub(crate) struct Bridged {
    config: BridgeConfig,
    owner: Owner,
    /// The machine's own.
    home: Namespace,
    /// One thing is done at a time, as the kernel does it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    routing: Routing,
    bridge: Bridge,
    filter: Result<Filter, Problem>,
    guards: Result<Guards, Problem>,
}

impl Bridged {
    pub(crate) fn open(config: BridgeConfig, home: Namespace) -> Result<Self, OpenError> {
        let owner = Owner::new(config.name.clone());
        let state = home.run(|| -> Result<_, OpenError> {
            let mut routing = Routing::open().step("open a socket for links and routes")?;
            let bridge = Bridge::ensure(&config, &mut routing)?;
            let guards = open_guards(&config);
            let filter = open_filter(&config)?;
            Ok(State { routing, bridge, filter, guards })
        })?;
        Ok(Self { config, owner, home, state: Mutex::new(state) })
    }

    pub(crate) fn attach(
        &self,
        attachment: &Attachment,
        namespace: &Namespace,
    ) -> Result<Vec<IpAddr>, AttachError> {
        let Attachment { uid, address, host_ports, .. } = attachment;
        // The first address of the first block is the machine's.
        let is_the_machines = self.config.blocks.first().is_some_and(|block| block.network() == *address);
        if is_the_machines || !self.config.blocks.iter().any(|block| block.contains(*address)) {
            return Err(AttachError::Address { address: (*address).into() });
        }
        let mut state = self.state();
        let bridge = state.bridge.index;
        let link = state.routing.link_at(bridge).step("find the bridge")?;
        if link.is_none_or(|link| link.name != self.owner.bridge()) {
            self.mend(&mut state)?;
        }
        let State { routing, bridge, filter, guards } = &mut *state;
        let ports = match filter {
            Ok(filter) => Some(filter.ports().with(uid, *address, host_ports)?),
            Err(_) => None,
        };
        let guard = |port: &str| match guards {
            Ok(guards) => guards.set(port, *address).map_err(|error| AttachError::Guard(error.to_string())),
            // A kernel that cannot do it is told of.
            Err(_) => Ok(()),
        };
        pod_link::attach(&self.owner, bridge, (&self.home, routing), (uid, namespace, *address), guard)?;
        match (filter, ports) {
            (Ok(filter), Some(ports)) => publish(filter, ports, routing),
            (Err(problem), _) => Err(problem.clone()),
            (Ok(_), None) => Ok(()),
        }
        // Who asks for no port misses none.
        .or_else(|problem| host_ports.first().map_or(Ok(()), |port| Err((*port, problem))))
        .map_err(|(port, problem)| AttachError::HostPort { port, problem })?;
        Ok(vec![(*address).into()])
    }

    pub(crate) fn detach(&self, uid: &PodUid) -> Result<(), DetachError> {
        let mut state = self.state();
        let State { routing, filter, guards, .. } = &mut *state;
        pod_link::detach(&self.owner, uid, routing).step("remove the pod's interface")?;
        if let Ok(guards) = guards {
            let gone = pod_link::free_names(&self.owner, uid, routing).step("find the pod's interface")?;
            gone.iter()
                .try_for_each(|port| guards.remove(port))
                .map_err(|error| FilterProblem(guard_problem(&error)))?;
        }
        retain_ports(filter, routing, |holder| holder != uid)?;
        Ok(())
    }

    pub(crate) fn keep(&self, uids: &BTreeSet<PodUid>) -> Result<(), KeepError> {
        let mut state = self.state();
        self.mend(&mut state)?;
        let State { routing, filter, bridge, guards } = &mut *state;
        let ours = routing.links(|link| self.owner.pod(&link.alias).is_some()).step("list interfaces")?;
        for link in ours {
            if self.owner.pod(&link.alias).is_some_and(|uid| uids.contains(&uid)) {
                // A pod that is not on the bridge is for `attach` to mend.
                let _ = routing.set_reach(link.index, bridge.reach);
            } else {
                routing.remove_link(link.index).step("remove the interface of a pod that is gone")?;
            }
        }
        if let Ok(guards) = guards {
            for port in guards.ports().map_err(|error| FilterProblem(guard_problem(&error)))? {
                if routing.link(&port).step("find an interface")?.is_none() {
                    guards.remove(&port).map_err(|error| FilterProblem(guard_problem(&error)))?;
                }
            }
        }
        retain_ports(filter, routing, |holder| uids.contains(holder))?;
        Ok(())
    }

    /// Removes bridge and tables, unless a pod is in them.
    pub(crate) fn remove(&self) -> Result<(), KeepError> {
        let mut state = self.state();
        let routing = &mut state.routing;
        Ok(self.home.run(|| -> Result<_, OpenError> { Ok(traces::remove(self.owner.bridge(), routing)?) })?)
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut state = self.state();
        let mut problems: Vec<_> = state.guards.as_ref().err().cloned().into_iter().collect();
        match &mut state.filter {
            Ok(filter) => {
                let chains = filter.dropping_chains().unwrap_or_default();
                problems.extend(chains.into_iter().map(|chain| Problem::ForwardDropped { chain }));
            }
            Err(problem) => problems.push(problem.clone()),
        }
        problems
    }

    /// Brings back what somebody took away, and the packet filter if there can be one by now.
    fn mend(&self, state: &mut State) -> Result<(), OpenError> {
        self.home.run(|| {
            state.bridge = Bridge::ensure(&self.config, &mut state.routing)?;
            if state.guards.as_mut().map_or(true, |guards| guards.mend().is_err()) {
                state.guards = open_guards(&self.config);
            }
            let is_well = state.filter.as_mut().is_ok_and(|filter| filter.mend().is_ok());
            if is_well {
                return set_loopback_routing(&self.config, ALLOWED);
            }
            state.filter = open_filter(&self.config)?;
            Ok(())
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is remembered is looked at again by every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is none is nothing that keeps pods from having addresses.
fn open_filter(config: &BridgeConfig) -> Result<Result<Filter, Problem>, OpenError> {
    let filter = Filter::open(&config.name, config.cluster).map_err(|error| problem(&error));
    set_loopback_routing(config, if filter.is_ok() { ALLOWED } else { FORBIDDEN })?;
    Ok(filter)
}

fn open_guards(config: &BridgeConfig) -> Result<Guards, Problem> {
    Guards::open(&config.name).map_err(|error| guard_problem(&error))
}

/// Whether host ports answer on the machine's loopback. Only with the table that keeps pods from using it the other way round.
fn set_loopback_routing(config: &BridgeConfig, value: &str) -> Result<(), OpenError> {
    let name = format!("ipv4/conf/{}/route_localnet", config.name);
    Ok(sysctl::set(&name, value).step("set route_localnet of the bridge")?)
}

fn retain_ports(
    filter: &mut Result<Filter, Problem>,
    routing: &mut Routing,
    is_kept: impl Fn(&PodUid) -> bool,
) -> Result<(), FilterProblem> {
    // Without a filter there are no ports.
    let Ok(filter) = filter else { return Ok(()) };
    let ports = filter.ports().only(is_kept);
    publish(filter, ports, routing).map_err(FilterProblem)
}

fn publish(filter: &mut Filter, ports: Ports, routing: &mut Routing) -> Result<(), Problem> {
    filter.set(ports, || routing.own_addresses()).map_err(|error| problem(&error))
}

fn guard_problem(error: &FilterError) -> Problem {
    Problem::Guard { why: error.to_string() }
}

fn problem(error: &FilterError) -> Problem {
    Problem::PacketFilter { why: error.to_string() }
}

const ALLOWED: &str = "1";
const FORBIDDEN: &str = "0";
