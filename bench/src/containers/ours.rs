//! Dunlin's side: one node of a cluster, asked as clients ask.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::images::Registry;
use crate::{
    cluster::{Cluster, ClusterArgs},
    https::client::{Client, Connector, JSON},
    pod_watch::PodWatch,
};

/// See the module.
pub(super) struct Ours {
    cluster: Cluster,
    access: Connector,
    client: Client,
    image: String,
}

impl Ours {
    pub(super) async fn start(
        args: &ClusterArgs,
        runtime: &Path,
        registry: &Registry,
        image: &str,
    ) -> Result<Self> {
        let mut cluster = Cluster::coordinator(args)?;
        let config = cluster.path("node.yaml");
        let host = &registry.address;
        fs::write(
            &config,
            format!("edgeNode:\n  registries:\n    configs:\n      '{host}': {{ plainHttp: true }}\n"),
        )?;
        let runtime = runtime.display().to_string();
        cluster.add_node_with(&["--runtime", &runtime, "--config-file", &config])?;
        let access = Connector::of(&cluster)?;
        let client = access.connect().await?;
        Ok(Self { cluster, access, client, image: image.to_owned() })
    }

    /// One pod from its creation until a watch tells that it runs; it is gone in the end.
    pub(super) async fn pod(&mut self, name: &str) -> Result<Duration> {
        let mut watch = PodWatch::open(&self.access, NAMESPACE).await?;
        let start = Instant::now();
        self.create(name).await?;
        let time = watch.wait("the pod runs", |seen| seen.running == 1).await? - start;
        self.delete_all().await?;
        watch.wait("the pod is gone", |seen| seen.gone == 1).await?;
        self.shims_end().await?;
        Ok(time)
    }

    /// Many at once; they go on.
    pub(super) async fn pods(&mut self, count: usize) -> Result<(PodWatch, Duration)> {
        let mut watch = PodWatch::open(&self.access, NAMESPACE).await?;
        let start = Instant::now();
        for number in 0..count {
            self.create(&pod_name(number)).await?;
        }
        let time = watch.wait("all pods run", |seen| seen.running == count).await? - start;
        Ok((watch, time))
    }

    /// Ends them.
    pub(super) async fn end(&mut self, mut watch: PodWatch, count: usize) -> Result<Duration> {
        let start = Instant::now();
        self.delete_all().await?;
        watch.wait("all pods are gone", |seen| seen.gone == count).await?;
        self.shims_end().await?;
        Ok(start.elapsed())
    }

    /// The API forgets pods without grace at once; their node is at work on them until their shims are gone.
    async fn shims_end(&self) -> Result<()> {
        let deadline = Instant::now() + END_MAX;
        while self.cluster.usage(&["shim"])?.processes > 0 {
            ensure!(Instant::now() < deadline, "shims do not end");
            sleep(POLL).await;
        }
        Ok(())
    }

    /// A command in one of many pods, by the client program.
    pub(super) fn exec(&self, number: usize, command: &[&str]) -> Result<()> {
        let pod = pod_name(number);
        self.cluster.run(&[&["exec", &pod, "--"], command].concat()).map(drop)
    }

    pub(super) fn pull(&self, image: &str) -> Result<()> {
        self.image(&["pull", image])
    }

    pub(super) fn remove_image(&self, image: &str) -> Result<()> {
        self.image(&["rm", image])
    }

    /// Memory (PSS) of the shims.
    pub(super) fn shims_bytes(&self) -> Result<u64> {
        let usage = self.cluster.usage(&["shim"])?;
        ensure!(usage.processes > 0, "no shim was found");
        Ok(usage.pss_bytes)
    }

    /// Memory (PSS) of the agent.
    pub(super) fn agent_bytes(&self) -> Result<u64> {
        Ok(self.cluster.usage(&["edge-node"])?.pss_bytes)
    }

    fn image(&self, words: &[&str]) -> Result<()> {
        let state = self.cluster.path("node");
        self.cluster.run(&[&["image", "--state", &state], words].concat()).map(drop)
    }

    async fn create(&mut self, name: &str) -> Result<()> {
        let pod = Bytes::from(pod(name, &self.image).to_string());
        self.client.send("POST", PODS, JSON, pod).await.map(drop)
    }

    async fn delete_all(&mut self) -> Result<()> {
        self.client.send("DELETE", PODS, JSON, Bytes::new()).await.map(drop)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // Containers outlive the agent and, where a shim is killed, the shim.
        let _ = self.cluster.run(&["delete", "pods", "--all", "--wait"]);
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "c", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"] }],
        },
    })
}

fn pod_name(number: usize) -> String {
    format!("pod-{number}")
}

const END_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
const NAMESPACE: &str = "default";
const PODS: &str = "/api/v1/namespaces/default/pods";
