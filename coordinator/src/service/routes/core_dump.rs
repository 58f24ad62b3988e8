//! The core dump that a container left when it trapped, as it comes from its node.

use dunlin_api::Status;
use dunlin_coordinator_core::mirror;
use dunlin_link::{NodeName, PodUid, limits::CORE_DUMP_BYTES_MAX};
use tokio::io::AsyncReadExt as _;

use super::Call;
use crate::{
    service::{
        ApiService, ObjectRef,
        get::pod_kind,
        logs::choose_container,
        path::Verb,
        response::{ByteStream, Response},
    },
    sessions::StreamOpen,
};

impl ApiService {
    /// Whoever may run commands in the pod may know what a guest had in its memory: a command could tell them.
    pub(super) async fn core_dump(&self, call: Call<'_>) -> Result<Response, Status> {
        let [namespace, name] = call.captures.as_slice() else { return Ok(Response::no_such_path()) };
        let exec = ObjectRef { kind: pod_kind(), namespace, name }.request(Verb::Create, "exec");
        let grant = self.authorize(call.user, &exec).await?;
        let pod = self.get_granted(call.user, &exec, &grant).await?;
        let container = choose_container(&pod, call.query.text("container"))?.to_owned();
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
            return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
        };
        let open = StreamOpen::CoreDump { uid: PodUid::new(mirror::uid_on_node(&pod)), container };
        let dump = self.open_pod_stream(&NodeName::new(node), open).await?;
        Ok(Response::stream(CORE_DUMP, ByteStream::from_reader(dump.take(CORE_DUMP_BYTES_MAX))))
    }
}

/// A core dump is a module of custom sections.
const CORE_DUMP: &str = "application/wasm";
