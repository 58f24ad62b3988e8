//! The core dump that a container left when it trapped, as it comes from its node.

use dunlin_api::Status;
use dunlin_coordinator_core::mirror;
use dunlin_link::{NodeName, PodUid, limits::CORE_DUMP_BYTES_MAX};

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
    /// A right of its own, which none of Kubernetes' roles but `cluster-admin` has: what a guest had in its memory is more than a command in its
    /// container could tell, which is another instance.
    pub(super) async fn core_dump(&self, call: Call<'_>) -> Result<Response, Status> {
        let [namespace, name] = call.captures.as_slice() else { return Ok(Response::no_such_path()) };
        let request = ObjectRef { kind: pod_kind(), namespace, name }.request(Verb::Get, "coredump");
        let grant = self.authorize(call.user, &request).await?;
        let pod = self.get_granted(call.user, &request, &grant).await?;
        let container = choose_container(&pod, call.query.text("container"))?.to_owned();
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
            return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
        };
        let open = StreamOpen::CoreDump { uid: PodUid::new(mirror::uid_on_node(&pod)), container };
        let dump = self.open_pod_stream(&NodeName::new(node), open).await?;
        Ok(Response::parts(CORE_DUMP, ByteStream::from_reader(dump).within(CORE_DUMP_BYTES_MAX)))
    }
}

/// A core dump is a module of custom sections.
const CORE_DUMP: &str = "application/wasm";
