//! The files of `/etc` that a node writes for a pod: `hosts`, `resolv.conf`, and its host name. As the kubelet writes them.

use std::fmt::Write as _;

use dunlin_link::{
    linux::{DnsPolicy, PodDns},
    pod::PodAssignment,
};

use super::MachineFiles;
use crate::env::Surroundings;

/// What the pod's containers see as the name of their machine.
pub(super) fn hostname(assignment: &PodAssignment) -> String {
    match full_name(assignment) {
        Some(full) if assignment.linux().hostname_is_fqdn && full.len() <= HOSTNAME_LENGTH_MAX => full,
        _ => assignment.spec.hostname.clone(),
    }
}

/// `/etc/hosts`: in the machine's own network, its own with the pod's aliases.
pub(super) fn hosts(assignment: &PodAssignment, machine: &MachineFiles, around: &Surroundings<'_>) -> String {
    let mut text = if assignment.spec.host_network {
        format!("# Kubernetes-managed hosts file (host network).\n{}", machine.hosts)
    } else {
        let full = full_name(assignment).map(|full| format!("{full}\t")).unwrap_or_default();
        format!("{LOCAL}{}\t{full}{}\n", around.pod_ip, assignment.spec.hostname)
    };
    if !assignment.linux().host_aliases.is_empty() {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in &assignment.linux().host_aliases {
        // Nothing to go wrong in writing to a text.
        let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
    }
    text
}

/// `/etc/resolv.conf`. Until nodes answer names of the cluster, `ClusterFirst` is what the kubelet makes of it where there is no cluster DNS:
/// the machine's.
pub(super) fn resolv_conf(dns: &PodDns, machine: &MachineFiles) -> String {
    let mut servers = Vec::new();
    let mut searches = Vec::new();
    let mut options: Vec<(String, Option<String>)> = Vec::new();
    if dns.policy != DnsPolicy::None {
        for line in machine.resolv_conf.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().map(str::to_owned)),
                // The last of them counts.
                Some("search") => searches = words.map(str::to_owned).collect(),
                Some("options") => options.extend(words.map(option)),
                _ => {}
            }
        }
    }
    append_new(&mut servers, &dns.nameservers, NAMESERVERS_MAX);
    append_new(&mut searches, &dns.searches, SEARCHES_MAX);
    for (name, value) in &dns.options {
        options.retain(|(known, _)| known != name);
        options.push((name.clone(), value.clone()));
    }
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    if !options.is_empty() {
        let words = options.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        });
        let _ = writeln!(text, "options {}", words.collect::<Vec<_>>().join(" "));
    }
    text
}

fn option(word: &str) -> (String, Option<String>) {
    match word.split_once(':') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    }
}

fn append_new(all: &mut Vec<String>, more: &[String], bound: usize) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
    all.truncate(bound);
}

/// The pod's name in the cluster, where it has a subdomain.
fn full_name(assignment: &PodAssignment) -> Option<String> {
    let subdomain = &assignment.linux().subdomain;
    let (hostname, namespace) = (&assignment.spec.hostname, &assignment.namespace);
    (!subdomain.is_empty()).then(|| format!("{hostname}.{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}"))
}

/// How the kubelet's file begins.
const LOCAL: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                     fe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";

/// What names of the cluster end in.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// What resolvers read of a file, and Kubernetes accepts.
const NAMESERVERS_MAX: usize = 3;

/// Kubernetes' bound on search domains.
const SEARCHES_MAX: usize = 32;

/// Linux' bound on host names, less the final zero.
const HOSTNAME_LENGTH_MAX: usize = 64;
