//! Where a command, an attachment, a connection or a forward goes; the words of failure are the kubelet's.

use std::net::{Ipv4Addr, SocketAddr};

use dunlin_link::{ContainerId, PodUid};

use super::NodeCore;
use crate::address::ForwardPlace;

impl NodeCore {
    /// The run of a container that goes on now.
    ///
    /// # Errors
    /// When there is none, in words.
    pub fn live_container(&self, uid: &PodUid, container: &str) -> Result<ContainerId, String> {
        let not_found = |why: &str| format!("container not found (\"{container}\"){why}");
        let entry = self.pods.get(uid).ok_or_else(|| not_found(": the pod is not on this node"))?;
        let run = entry.pod.latest_run(container).ok_or_else(|| not_found(""))?;
        run.live.ok_or_else(|| match run.waiting.as_str() {
            "" => not_found(": it has ended"),
            waiting => not_found(&format!(": it is waiting to start: {waiting}")),
        })
    }

    /// Where a pod's port is on this machine.
    ///
    /// # Errors
    /// When the pod has no such port, in words.
    pub fn endpoint(&self, uid: &PodUid, port: u16) -> Result<SocketAddr, String> {
        let entry = self.pods.get(uid).ok_or("the pod is not on this node")?;
        let endpoint = entry.pod.endpoint(port).ok_or_else(|| {
            // A guest can listen on nothing else, so that trying would tell no more.
            format!("no container of the pod declares the TCP port {port}")
        })?;
        Ok(if endpoint.ip().is_unspecified() {
            (Ipv4Addr::LOCALHOST, endpoint.port()).into()
        } else {
            endpoint
        })
    }

    /// Where a forward to a pod's port leads.
    ///
    /// # Errors
    /// When it can lead nowhere, in words.
    pub fn forward_place(&self, uid: &PodUid, port: u16) -> Result<ForwardPlace, String> {
        let entry = self.pods.get(uid).ok_or("the pod is not on this node")?;
        entry.pod.forward_place(port).ok_or_else(|| {
            format!(
                "no container of the pod declares the TCP port {port}, and a pod with WebAssembly alone is reached at declared \
                 ports only"
            )
        })
    }
}
