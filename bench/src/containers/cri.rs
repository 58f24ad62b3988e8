//! What a kubelet asks of its container runtime to start a pod, to end it, to run a command in it and to pull an image.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{
    grpc::Channel,
    protobuf::{self, Message},
};

/// A container runtime.
#[derive(Clone, Debug)]
pub(super) struct Cri {
    channel: Channel,
    /// What pods run.
    image: String,
    logs: String,
}

/// A pod with one container.
#[derive(Clone, Debug)]
pub(super) struct CriPod {
    sandbox: String,
    pub(super) container: String,
}

impl Cri {
    pub(super) async fn connect(socket: &Path, image: &str, logs: &Path) -> Result<Self> {
        let channel = Channel::open(socket).await?;
        channel.call("/runtime.v1.RuntimeService/Version", Message::default()).await?;
        Ok(Self { channel, image: image.to_owned(), logs: logs.display().to_string() })
    }

    /// Starts a pod; the image is here.
    pub(super) async fn start(&self, name: &str) -> Result<CriPod> {
        let config = self.pod_config(name);
        let request = Message::default().message(1, &config);
        let answer = self.runtime("RunPodSandbox", request).await?;
        let sandbox = protobuf::text(&answer, 1)?;
        let request =
            Message::default().text(1, &sandbox).message(2, &self.container_config()).message(3, &config);
        let answer = self.runtime("CreateContainer", request).await?;
        let container = protobuf::text(&answer, 1)?;
        self.runtime("StartContainer", Message::default().text(1, &container)).await?;
        Ok(CriPod { sandbox, container })
    }

    /// Ends a pod at once, and forgets it.
    pub(super) async fn end(&self, pod: &CriPod) -> Result<()> {
        for method in ["StopContainer", "RemoveContainer"] {
            self.runtime(method, Message::default().text(1, &pod.container)).await?;
        }
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            self.runtime(method, Message::default().text(1, &pod.sandbox)).await?;
        }
        Ok(())
    }

    /// Runs a command in a pod's container to its end, which must be a good one.
    pub(super) async fn exec(&self, pod: &CriPod, command: &[&str]) -> Result<()> {
        let request = Message::default().text(1, &pod.container);
        let request = command.iter().fold(request, |request, word| request.text(2, word));
        let answer = self.runtime("ExecSync", request).await?;
        ensure!(protobuf::number(&answer, 3)? == 0, "the command failed");
        Ok(())
    }

    pub(super) async fn pull(&self, image: &str) -> Result<()> {
        let request = Message::default().message(1, &Message::default().text(1, image));
        self.channel.call("/runtime.v1.ImageService/PullImage", request).await.map(drop)
    }

    pub(super) async fn remove_image(&self, image: &str) -> Result<()> {
        let request = Message::default().message(1, &Message::default().text(1, image));
        self.channel.call("/runtime.v1.ImageService/RemoveImage", request).await.map(drop)
    }

    async fn runtime(&self, method: &str, request: Message) -> Result<bytes::Bytes> {
        self.channel.call(&format!("/runtime.v1.RuntimeService/{method}"), request).await
    }

    /// A pod with namespaces of its own, as a kubelet asks for one whose manifest says nothing of them.
    fn pod_config(&self, name: &str) -> Message {
        let uid = format!("bench-{name}");
        let metadata = Message::default().text(1, name).text(2, &uid).text(3, "default");
        let security = Message::default().message(1, &namespaces()).message(9, &Message::default());
        let linux = Message::default().text(1, CGROUP).message(2, &security);
        Message::default().message(1, &metadata).text(2, name).text(3, &self.logs).message(8, &linux)
    }

    fn container_config(&self) -> Message {
        let security = Message::default().message(3, &namespaces()).message(15, &Message::default());
        Message::default()
            .message(1, &Message::default().text(1, "c"))
            .message(2, &Message::default().text(1, &self.image))
            .text(3, "sleep")
            .text(4, "100000")
            .text(11, "c.log")
            .message(15, &Message::default().message(2, &security))
    }
}

/// Network, host name and IPC are the pod's; each container has processes of its own.
fn namespaces() -> Message {
    Message::default().number(2, OF_CONTAINER)
}

const OF_CONTAINER: u64 = 1;

/// Above the cgroups of pods.
const CGROUP: &str = "/dunlin-bench";
