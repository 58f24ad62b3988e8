//! Networks by other people's plugins, as the CNI specification (0.3 to 1.1) has them.

mod error;
mod list;
mod program;
mod record;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_link::{PodUid, pod::Protocol};
use serde_json::{Map, Value, json};

pub use self::{error::PluginError, program::Failure};
use self::{
    list::{PluginList, plugin_type},
    program::Run,
    record::{Record, Records},
    state::State,
};
use crate::{attachment::Attachment, namespace::Namespace, status::Problem};

/// Where plugins and what is said of them are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginConfig {
    /// `--cni-conf-dir`: the first list of it by name is the node's network.
    pub conf_dir: PathBuf,
    /// `--cni-bin-dir`: the plugins' programs.
    pub bin_dirs: Vec<PathBuf>,
    /// A folder of the node's state, for what is needed when a pod leaves.
    pub state_dir: PathBuf,
}

/// Pods' networks by plugins.
#[derive(Debug)]
pub(crate) struct Plugins {
    config: PluginConfig,
    /// One thing is done at a time: plugins of a node share files and rules.
    state: Mutex<State>,
}

impl Plugins {
    pub(crate) fn open(config: PluginConfig) -> Result<Self, PluginError> {
        let records = Records::open(&config.state_dir)?;
        let state = State { records, unwell: BTreeMap::new(), damaged: BTreeMap::new() };
        Ok(Self { config, state: Mutex::new(state) })
    }

    /// Has the plugins put a pod into their network, or check that it is in it.
    pub(crate) fn attach(
        &self,
        attachment: &Attachment,
        namespace: &Namespace,
    ) -> Result<Vec<IpAddr>, PluginError> {
        let mut state = self.state();
        let (uid, identity) = (&attachment.uid, namespace.identity()?);
        // Plugins compare it with what they were told before, so it is not a path of this process.
        let path = attachment.network_namespace.display().to_string();
        let there = state.remembered(uid)?;
        let State { records, unwell, .. } = &mut *state;
        if let Some(there) = there {
            let is_same = there.identity == identity
                && there.network_namespace == path
                && there.port_mappings == port_mappings(attachment);
            unwell.remove(uid);
            if is_same && !there.result.is_null() {
                // A pod that runs keeps its address and its connections: CHECK of widespread plugins is wrong at times.
                if let Err(error) = self.check(uid, &there) {
                    unwell.insert(uid.clone(), error.to_string());
                }
                return addresses(&there.result);
            }
            self.undo(records, uid, &there)?;
        }
        let list = PluginList::first(&self.config.conf_dir)?;
        let mut record = Record {
            list: list.text.clone(),
            arguments: arguments(attachment),
            network_namespace: path.clone(),
            identity,
            port_mappings: port_mappings(attachment),
            result: Value::Null,
        };
        // Before the first plugin runs: whatever is killed, DEL can be run.
        records.write(uid, &record)?;
        for plugin in &list.plugins {
            record.result = self.run(ADD, plugin, (uid, &list, &record), &path)?;
        }
        let found = addresses(&record.result)?;
        records.write(uid, &record)?;
        Ok(found)
    }

    /// Has the plugins take a pod out of their network; one that is not in it is fine.
    pub(crate) fn detach(&self, uid: &PodUid) -> Result<(), PluginError> {
        let mut state = self.state();
        state.unwell.remove(uid);
        match state.remembered(uid)? {
            Some(record) => self.undo(&state.records, uid, &record),
            None => Ok(()),
        }
    }

    /// Takes out all pods but `uids`, and has plugins forget what they have of others.
    pub(crate) fn keep(&self, uids: &BTreeSet<PodUid>) -> Result<(), PluginError> {
        let mut state = self.state();
        state.unwell.retain(|uid, _| uids.contains(uid));
        let mut first_error = None;
        for uid in state.records.pods()?.into_iter().filter(|uid| !uids.contains(uid)) {
            let undone = match state.remembered(&uid) {
                Ok(Some(record)) => self.undo(&state.records, &uid, &record),
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            // One that cannot be taken out is not in the way of others.
            if let Err(error) = undone {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or_else(|| self.collect(&state.records), Err)
    }

    /// What does not work.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let list = PluginList::first(&self.config.conf_dir);
        let list = list.err().map(|error| Problem::Plugins { why: error.to_string() });
        let state = self.state();
        let unwell = state.unwell.iter();
        let unwell = unwell.map(|(pod, why)| Problem::PluginCheck { pod: pod.clone(), why: why.clone() });
        let damaged = state.damaged.iter();
        let damaged =
            damaged.map(|(pod, path)| Problem::DamagedRecord { pod: pod.clone(), path: path.clone() });
        list.into_iter().chain(unwell).chain(damaged).collect()
    }

    fn check(&self, uid: &PodUid, record: &Record) -> Result<(), PluginError> {
        let Some(list) = record.plugins() else { return Ok(()) };
        if list.is_check_disabled || !list.version.can_check() {
            return Ok(());
        }
        for plugin in &list.plugins {
            self.run(CHECK, plugin, (uid, &list, record), &record.network_namespace)?;
        }
        Ok(())
    }

    /// Runs DEL for what ADD did, the last plugin first.
    fn undo(&self, records: &Records, uid: &PodUid, record: &Record) -> Result<(), PluginError> {
        // Only if it still is the one that it was.
        let namespace = Namespace::open(Path::new(&record.network_namespace));
        let is_there =
            namespace.and_then(|found| found.identity()).is_ok_and(|found| found == record.identity);
        let path = if is_there { record.network_namespace.as_str() } else { "" };
        if let Some(list) = record.plugins() {
            for plugin in list.plugins.iter().rev() {
                self.run(DELETE, plugin, (uid, &list, record), path)?;
            }
        }
        Ok(records.remove(uid)?)
    }

    /// Tells plugins which pods there are, if they can hear it.
    fn collect(&self, records: &Records) -> Result<(), PluginError> {
        let list = match PluginList::first(&self.config.conf_dir) {
            Ok(list) if list.version.can_collect() && !list.is_gc_disabled => list,
            // Without a list there is nobody to tell.
            _ => return Ok(()),
        };
        let pods = records.pods()?;
        let valid = pods.iter().map(|uid| json!({"containerID": uid.as_str(), "ifname": INTERFACE}));
        let valid = Value::Array(valid.collect());
        for plugin in &list.plugins {
            let mut input = input_of(plugin, &list);
            input.insert("cni.dev/valid-attachments".into(), valid.clone());
            self.execute(COLLECT, plugin, &[], &Value::Object(input))?;
        }
        Ok(())
    }

    fn run(
        &self,
        command: &'static str,
        plugin: &Map<String, Value>,
        (uid, list, record): (&PodUid, &PluginList, &Record),
        namespace: &str,
    ) -> Result<Value, PluginError> {
        let mut input = input_of(plugin, list);
        if plugin.get("capabilities").and_then(|all| all.get(PORTS)) == Some(&Value::Bool(true))
            && record.port_mappings.as_array().is_some_and(|ports| !ports.is_empty())
        {
            input.insert("runtimeConfig".into(), json!({PORTS: record.port_mappings}));
        }
        if !record.result.is_null() {
            input.insert("prevResult".into(), record.result.clone());
        }
        let environment = [
            ("CNI_CONTAINERID", uid.to_string()),
            ("CNI_NETNS", namespace.to_owned()),
            ("CNI_IFNAME", INTERFACE.to_owned()),
            ("CNI_ARGS", record.arguments.clone()),
        ];
        self.execute(command, plugin, &environment, &Value::Object(input))
    }

    fn execute(
        &self,
        command: &'static str,
        plugin: &Map<String, Value>,
        environment: &[(&'static str, String)],
        input: &Value,
    ) -> Result<Value, PluginError> {
        let run = Run { command, environment, folders: &self.config.bin_dirs, time_limit: TIME_LIMIT };
        program::run(plugin_type(plugin).unwrap_or_default(), &run, input)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Files are looked at anew by every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a uid can be the name of a container and of a file.
pub(crate) fn is_container_id(uid: &PodUid) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    uid.as_str().starts_with(|first: char| first.is_ascii_alphanumeric())
        && uid.as_str().bytes().all(is_allowed)
}

/// What a plugin reads, but for what depends on the pod.
fn input_of(plugin: &Map<String, Value>, list: &PluginList) -> Map<String, Value> {
    let mut input = plugin.clone();
    input.remove("capabilities");
    input.insert("name".into(), list.name.clone().into());
    input.insert("cniVersion".into(), list.version.text().into());
    input
}

fn addresses(result: &Value) -> Result<Vec<IpAddr>, PluginError> {
    let ips = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let address = |ip: &Value| ip.get("address")?.as_str()?.split('/').next()?.parse().ok();
    let addresses: Vec<_> = ips.filter_map(address).take(ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err(PluginError::NoAddress) } else { Ok(addresses) }
}

fn arguments(attachment: &Attachment) -> String {
    let Attachment { namespace, name, uid, .. } = attachment;
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={uid};K8S_POD_UID={uid}"
    )
}

fn port_mappings(attachment: &Attachment) -> Value {
    let mapping = |port: &crate::HostPort| {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let host_ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        json!({
            "hostPort": port.host_port,
            "containerPort": port.container_port,
            "protocol": protocol,
            "hostIP": host_ip,
        })
    };
    Value::Array(attachment.host_ports.iter().map(mapping).collect())
}

const ADD: &str = "ADD";
const CHECK: &str = "CHECK";
const DELETE: &str = "DEL";
const COLLECT: &str = "GC";
/// The capability of plugins that do host ports.
const PORTS: &str = "portMappings";
/// What every container expects.
const INTERFACE: &str = "eth0";
/// Address management that asks somebody else can take as long as that asking.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// One for each family is usual.
const ADDRESSES_MAX: usize = 16;
