//! The driver on a real store and a real service: what a user does at one end, a node sees at the other.

mod autoscalers;
mod budgets;
mod certificates;
mod daemon_sets;
mod mirrors;
mod preemption;
mod security;
mod services;
mod stateful_sets;
mod storage;
mod workloads;

use std::{future::Future, time::Duration};

use dunlin_api::{Kind, Status, kind};
use dunlin_coordinator_core::dispatch::TOMBSTONES_PREFIX;
use dunlin_link::{
    Bytes, Digest, MilliCpu, NodeName, PodUid, UnixMillis,
    assignment::{Desired, Refusal},
    held::HeldSet,
    pod::EnvValue,
    sealed::ContentKey,
    status::{
        ContainerState, ContainerStatus, LocalEndpoint, NodeFacts, NodeResources, PodPhase, PodStatusReport,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Driver, DriverError, DriverOptions};
use crate::{
    dispatch::Dispatch,
    intake::{Intake, Recorded},
    pki::Pki,
    service::{ApiService, Clock, ObjectRef, User},
    store::{ListOptions, Store, StoreError, StoreOptions, Txn, Write, tests::disk::Disk},
};

/// A coordinator without its network.
struct Cluster {
    folder: TempDir,
    pki: Pki,
    store: Store,
    service: ApiService,
    dispatch: Dispatch,
    intake: Intake,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), DriverError>>,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Duration::from_secs(40)).await
    }

    async fn start_in(folder: TempDir, node_grace: Duration) -> Self {
        let mut options = StoreOptions::new(folder.path());
        options.log_bytes = 1 << 20;
        Self::start_on(Store::open(&options).unwrap(), folder, node_grace).await
    }

    async fn start_on(store: Store, folder: TempDir, node_grace: Duration) -> Self {
        let service = ApiService::new(store.clone(), Clock::system());
        service.bootstrap().await.unwrap();
        let pki = Pki::load(folder.path()).unwrap().unwrap_or_else(|| Pki::create(folder.path()).unwrap());
        let options = DriverOptions {
            store: store.clone(),
            service: service.clone(),
            clock: Clock::system(),
            node_grace,
            content_key: ContentKey::from_bytes([1; 32]),
            pki: pki.clone(),
            controllers: super::Controllers::Act,
            linux_images: tokio::sync::mpsc::channel(1).1,
        };
        let driver = Driver::new(options);
        let (dispatch, intake) = (driver.dispatch(), driver.intake());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(driver.run(shutdown.clone()));
        let cluster = Self { folder, pki, store, service, dispatch, intake, shutdown, running };
        // What is written because the cluster is new is not what tests ask about.
        eventually(async || (cluster.keys("/registry/configmaps/").await >= SYSTEM_NAMESPACES).then_some(()))
            .await;
        cluster
    }

    async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
        self.store.close().await;
        self.folder
    }

    async fn create(&self, kind: &str, object: Value) -> Value {
        let kind = kind_of(kind);
        let namespace = if kind.namespaced { "default" } else { "" };
        self.service.create(&admin(), kind, namespace, object).await.unwrap()
    }

    async fn get(&self, kind: &str, name: &str) -> Result<Value, Status> {
        self.service.get(&admin(), reference(kind, name)).await
    }

    async fn delete(&self, kind: &str, name: &str, options: Value) {
        self.service.delete(&admin(), reference(kind, name), options).await.unwrap();
    }

    /// Waits until an object is as wanted.
    async fn until(&self, kind: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(async || self.get(kind, name).await.ok().filter(|object| wanted(object))).await
    }

    async fn until_gone(&self, kind: &str, name: &str) {
        eventually(async || self.get(kind, name).await.err().filter(|status| status.code() == 404)).await;
    }

    /// Waits until a node's desired set is as wanted, as a session would.
    async fn desired(&self, node: &str, wanted: impl Fn(&Desired) -> bool) -> Desired {
        let node = NodeName::new(node);
        let mut revisions = self.dispatch.subscribe(&node);
        let wait = async {
            loop {
                let desired = self.dispatch.desired(&node);
                if wanted(&desired) {
                    return desired;
                }
                revisions.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the desired set never became as wanted")
    }

    async fn connect(&self, node: &str, pods: u32) {
        self.intake.connected(&NodeName::new(node), facts(pods)).await;
        // Admission taints a new node as not ready; the controller takes that back.
        self.until("Node", node, |node| node["spec"]["taints"].is_null()).await;
    }

    async fn report(&self, node: &str, report: PodStatusReport) -> Recorded {
        self.intake.pod_statuses(&NodeName::new(node), vec![report], 0).await[0].1
    }

    async fn keys(&self, prefix: &str) -> usize {
        let options = ListOptions { prefix: prefix.to_owned(), after: None, limit: None, at: None };
        self.store.list(options).await.unwrap().items.len()
    }
}

/// Each has a ConfigMap from the start.
const SYSTEM_NAMESPACES: usize = 4;

const PATIENCE: Duration = Duration::from_secs(20);

async fn eventually<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it never became as wanted")
}

fn admin() -> User {
    User::new("admin", ["system:masters".to_owned()])
}

fn kind_of(name: &str) -> &'static Kind {
    kind::by_kind("v1", name).unwrap()
}

fn reference<'a>(kind: &str, name: &'a str) -> ObjectRef<'a> {
    let kind = kind_of(kind);
    ObjectRef { kind, namespace: if kind.namespaced { "default" } else { "" }, name }
}

fn facts(pods: u32) -> NodeFacts {
    let amounts = NodeResources {
        cpu: MilliCpu(4000),
        memory: Bytes(8 << 30),
        ephemeral_storage: Bytes(10 << 30),
        pods,
    };
    NodeFacts {
        architecture: "amd64".into(),
        operating_system: "linux".into(),
        kernel_version: "6".into(),
        os_image: "test".into(),
        machine_id: "m".into(),
        boot_id: "b".into(),
        version: "v0".into(),
        runtime_version: "wasmtime://48".into(),
        hostname: "h".into(),
        addresses: vec!["192.0.2.1".into()],
        capacity: amounts,
        allocatable: amounts,
        labels: vec![],
        taints: vec![],
        containers: None,
        huge_pages: Vec::new(),
    }
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "dunlin.local/hello" }] } })
}

fn status(uid: &PodUid, name: &str, sequence: u64, phase: PodPhase) -> PodStatusReport {
    PodStatusReport {
        uid: uid.clone(),
        namespace: "default".into(),
        name: name.into(),
        sequence,
        observed_generation: 1,
        phase,
        reason: String::new(),
        message: String::new(),
        conditions: vec![],
        host_ip: "192.0.2.1".into(),
        pod_ip: "10.42.0.2".into(),
        start_time: None,
        init_containers: vec![],
        containers: vec![],
        stopped: false,
        local_endpoints: vec![],
    }
}

fn only_pod(desired: &Desired) -> PodUid {
    desired.pods.keys().next().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_from_creation_to_its_end() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    cluster.create("Pod", pod("p")).await;
    let desired = cluster.desired("n1", |desired| desired.pods.len() == 1).await;
    let uid = only_pod(&desired);
    let assigned = &desired.pods[&uid];
    assert!(assigned.revision <= desired.revision);
    let image = &assigned.assignment.spec.containers[0].image;
    assert_eq!(
        (image.digest, image.unresolved.as_str()),
        (None, "nothing was pushed as `dunlin.local/hello:latest`")
    );

    let bound = cluster.get("Pod", "p").await.unwrap();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(cluster.report("n1", status(&uid, "p", 2, PodPhase::Running)).await, Recorded::Done);
    let restarted = PodStatusReport { message: "anew".into(), ..status(&uid, "p", 1, PodPhase::Running) };
    assert_eq!(cluster.report("n1", restarted).await, Recorded::Done);
    let running = cluster.get("Pod", "p").await.unwrap();
    assert_eq!(running["status"]["message"], "anew", "a node that lost its disk counts from one again");
    assert_eq!(
        cluster.dispatch.desired(&NodeName::new("n1")).revision,
        desired.revision,
        "a status is no new order"
    );

    cluster.delete("Pod", "p", json!({ "gracePeriodSeconds": 7 })).await;
    let desired = cluster.desired("n1", |desired| !desired.tombstones.is_empty()).await;
    assert!(desired.pods.is_empty());
    assert_eq!(desired.tombstones[&uid].grace_seconds, 7);
    cluster.delete("Pod", "p", json!({ "gracePeriodSeconds": 1 })).await;
    let shorter = cluster.desired("n1", |desired| desired.tombstones[&uid].grace_seconds == 1).await;
    assert!(shorter.revision > desired.revision);
    // No deletion gives back what an earlier one took.
    cluster.delete("Pod", "p", json!({ "gracePeriodSeconds": 20 })).await;
    assert_eq!(cluster.dispatch.desired(&NodeName::new("n1")).tombstones[&uid].grace_seconds, 1);
    let stopped = PodStatusReport { stopped: true, ..status(&uid, "p", 3, PodPhase::Succeeded) };
    assert_eq!(cluster.report("n1", stopped.clone()).await, Recorded::Done);
    cluster.until_gone("Pod", "p").await;
    cluster.desired("n1", |desired| desired.tombstones.is_empty()).await;
    assert_eq!(cluster.report("n1", stopped).await, Recorded::Gone);

    let told = eventually(async || {
        let prefix = "/registry/events/default/p.".to_owned();
        let options = ListOptions { prefix, after: None, limit: None, at: None };
        cluster.store.list(options).await.unwrap().items.pop()
    })
    .await;
    let told = String::from_utf8_lossy(&told.value).into_owned();
    assert!(told.contains("Successfully assigned default/p to n1"), "{told}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_and_images_follow_their_names() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    let mut object = pod("p");
    // Without the ConfigMap of its token's volume.
    object["spec"]["automountServiceAccountToken"] = json!(false);
    object["spec"]["containers"][0]["env"] =
        json!([{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "k" } } }]);
    cluster.create("ConfigMap", json!({ "metadata": { "name": "m" }, "data": { "k": "one" } })).await;
    cluster.create("ConfigMap", json!({ "metadata": { "name": "other" }, "data": { "k": "x" } })).await;
    cluster.create("Pod", object).await;
    let first = cluster.desired("n1", |desired| desired.pods.len() == 1).await;
    let uid = only_pod(&first);
    let digest = |desired: &Desired| desired.pods[&uid].assignment.config[0].digest;
    let content = |desired: &Desired| desired.objects[&digest(desired).unwrap()].data[0].1.clone();
    assert_eq!((content(&first), first.objects.len()), (b"one".to_vec(), 1));
    assert!(matches!(first.pods[&uid].assignment.spec.containers[0].env[0].value, EnvValue::Key { .. }));

    let change = |map: &mut Value| {
        map["data"]["k"] = json!("two");
        true
    };
    cluster.service.modify(&admin(), reference("ConfigMap", "m"), "", None, change).await.unwrap();
    let second = cluster.desired("n1", |desired| digest(desired) != digest(&first)).await;
    assert_eq!((content(&second), second.objects.len()), (b"two".to_vec(), 1), "the old content is not kept");
    assert!(second.revision > first.revision && second.pods[&uid].revision > first.pods[&uid].revision);

    cluster.delete("ConfigMap", "m", json!({})).await;
    let third = cluster.desired("n1", |desired| digest(desired).is_none()).await;
    assert!(third.objects.is_empty());

    let module = Digest::of(b"module");
    let entry = json!({ "digest": module.to_string(), "bytes": 6, "kind": "component" }).to_string();
    let name = format!("{}dunlin.local/hello:latest", crate::artifacts::NAMES_PREFIX);
    cluster.store.txn(Txn { compares: vec![], writes: vec![Write::Put(name, entry.into())] }).await.unwrap();
    let image = |desired: &Desired| desired.pods[&uid].assignment.spec.containers[0].image.digest;
    cluster.desired("n1", |desired| image(desired) == Some(module)).await;
    cluster.stop().await;
}

/// A node that held the set before a restart holds the one after it, whatever happened to statuses: a session sends it nothing.
#[tokio::test(flavor = "multi_thread")]
async fn assignments_keep_their_revisions_over_a_restart() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    name_image(&cluster, Digest::of(b"old")).await;
    cluster.create("ConfigMap", json!({ "metadata": { "name": "m" }, "data": { "k": "one" } })).await;
    let mut configured = pod("configured");
    configured["spec"]["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": "m" } }]);
    for object in [configured, pod("moved"), pod("waiting"), pod("labelled")] {
        cluster.create("Pod", object).await;
    }
    let all = cluster.desired("n1", |desired| desired.pods.len() == 4).await;
    let uid = |name: &str| {
        let pods = all.pods.iter().find(|(_, pod)| pod.assignment.name == name);
        pods.map(|(uid, _)| uid.clone()).unwrap()
    };
    // Statuses before, between and after the writes that count.
    let moved = running_of(&uid("moved"), "moved", Digest::of(b"old"));
    assert_eq!(cluster.report("n1", moved).await, Recorded::Done);
    name_image(&cluster, Digest::of(b"new")).await;
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    cluster.service.patch(&admin(), reference("Pod", "labelled"), "", &label).await.unwrap();
    let two = json!({ "data": { "k": "two" } });
    cluster.service.patch(&admin(), reference("ConfigMap", "m"), "", &two).await.unwrap();
    for name in ["configured", "waiting", "labelled"] {
        let report = status(&uid(name), name, 1, PodPhase::Running);
        assert_eq!(cluster.report("n1", report).await, Recorded::Done);
    }
    let revision = cluster.store.revision();
    cluster.create("ConfigMap", json!({ "metadata": { "name": "later" } })).await;
    let before = cluster
        .desired("n1", |desired| {
            let content = desired.objects.values().any(|object| object.data[0].1 == b"two");
            content && desired.revision <= revision && desired.pods[&uid("labelled")].revision > all.revision
        })
        .await;

    let cluster = Cluster::start_in(cluster.stop().await, Duration::from_secs(40)).await;
    let after = cluster.desired("n1", |desired| desired.pods.len() == 4).await;
    assert!(after.revision > before.revision);
    let (held, wanted) = (HeldSet::of(&before), HeldSet::of(&after));
    assert_eq!(held.pods, wanted.pods);
    assert_eq!(held.digest(), wanted.digest());
    cluster.stop().await;
}

#[tokio::test]
async fn a_failed_disk_ends_the_driver_which_says_why() {
    let disk = Disk::default();
    let (database, log) = disk.files();
    let store = Store::open_with_backend(&StoreOptions::new("disk"), database, log).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_on(store, folder, Duration::from_secs(40)).await;
    cluster.connect("n1", 10).await;

    disk.fail_after(0);
    let write = Write::Put("/a".into(), "1".into());
    let refused = cluster.store.txn(Txn { compares: vec![], writes: vec![write] }).await.unwrap_err();
    let is_failure = |error: &StoreError| matches!(error, StoreError::Failed { reason, .. } if reason == "the disk was told to fail");
    assert!(is_failure(&refused), "{refused:?}");
    let ended = tokio::time::timeout(PATIENCE, cluster.running).await.expect("it goes on").unwrap();
    assert!(matches!(&ended, Err(DriverError::Ended(error)) if is_failure(error)), "{ended:?}");
    // Whoever still reads is told the same, and not that the store was closed.
    let refused = cluster.store.get("/a").await.unwrap_err();
    assert!(is_failure(&refused), "{refused:?}");
}

async fn name_image(cluster: &Cluster, digest: Digest) {
    let entry = json!({ "digest": digest.to_string(), "bytes": 1, "kind": "component" });
    let write = Write::Put("/dunlin/images/dunlin.local/hello:latest".into(), entry.to_string().into());
    cluster.store.txn(Txn { compares: vec![], writes: vec![write] }).await.unwrap();
}

/// A status whose container runs this digest.
fn running_of(uid: &PodUid, name: &str, digest: Digest) -> PodStatusReport {
    let container = ContainerStatus {
        name: "c".into(),
        image: "dunlin.local/hello".into(),
        image_digest: Some(digest),
        container_id: None,
        ready: true,
        started: true,
        restart_count: 0,
        state: ContainerState::Running { started_at: UnixMillis(0) },
        last_state: None,
    };
    PodStatusReport { containers: vec![container], ..status(uid, name, 1, PodPhase::Running) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_goes_where_it_fits() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 0).await;
    cluster.create("Pod", pod("p")).await;
    let waiting = cluster.until("Pod", "p", |pod| !pod["status"]["conditions"].is_null()).await;
    let condition = &waiting["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("PodScheduled"), &json!("False")));
    assert_eq!(
        condition["message"],
        "0/1 nodes are available: 1 Too many pods. no new claims to deallocate, preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod."
    );
    cluster.connect("n2", 1).await;
    cluster.desired("n2", |desired| desired.pods.len() == 1).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_stop_outlives_the_pod_and_the_coordinator() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    cluster.create("Pod", pod("p")).await;
    let desired = cluster.desired("n1", |desired| desired.pods.len() == 1).await;
    let uid = only_pod(&desired);
    cluster.delete("Pod", "p", json!({ "gracePeriodSeconds": 0 })).await;
    cluster.until_gone("Pod", "p").await;
    let before = cluster.desired("n1", |desired| desired.tombstones.contains_key(&uid)).await;

    let cluster = Cluster::start_in(cluster.stop().await, Duration::from_secs(40)).await;
    let after = cluster.desired("n1", |desired| desired.tombstones.contains_key(&uid)).await;
    assert!(after.revision >= before.revision, "what a node holds is never newer than what it is told");
    let stopped = PodStatusReport { stopped: true, ..status(&uid, "p", 1, PodPhase::Failed) };
    assert_eq!(cluster.report("n1", stopped).await, Recorded::Gone);
    cluster.desired("n1", |desired| desired.tombstones.is_empty()).await;
    assert_eq!(cluster.keys(TOMBSTONES_PREFIX).await, 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_unknown_and_its_return_is_noticed() {
    let grace = Duration::from_millis(20);
    let cluster = Cluster::start_in(tempfile::tempdir().unwrap(), grace).await;
    let node = NodeName::new("n1");
    cluster.connect("n1", 10).await;
    let ready = |node: &Value| node["status"]["conditions"][3]["status"].clone();
    assert_eq!(ready(&cluster.get("Node", "n1").await.unwrap()), "True");
    cluster.intake.disconnected(&node).await;
    let lost = |node: &Value| {
        ready(node) == "Unknown" && node["spec"]["taints"].as_array().is_some_and(|all| all.len() == 2)
    };
    cluster.until("Node", "n1", lost).await;
    cluster.connect("n1", 10).await;
    cluster.until("Node", "n1", |node| ready(node) == "True" && node["spec"]["taints"].is_null()).await;
    let settled = cluster.store.revision();
    cluster.connect("n1", 10).await;
    assert_eq!(cluster.store.revision(), settled, "the same facts again write nothing");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_ends_with_all_that_is_in_it() {
    let cluster = Cluster::start().await;
    cluster.create("Namespace", json!({ "metadata": { "name": "ns" } })).await;
    let account = ObjectRef { kind: kind_of("ServiceAccount"), namespace: "ns", name: "default" };
    eventually(async || cluster.service.get(&admin(), account).await.ok()).await;
    let map = json!({ "metadata": { "name": "m" } });
    cluster.service.create(&admin(), kind_of("ConfigMap"), "ns", map).await.unwrap();
    cluster.service.create(&admin(), kind_of("Pod"), "ns", pod("p")).await.unwrap();
    cluster.delete("Namespace", "ns", json!({})).await;
    cluster.until_gone("Namespace", "ns").await;
    assert_eq!(cluster.keys("/registry/configmaps/ns/").await + cluster.keys("/registry/pods/ns/").await, 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_refuses_has_failed_and_others_pods_are_not_its_to_report() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    cluster.create("Pod", pod("p")).await;
    let uid = only_pod(&cluster.desired("n1", |desired| desired.pods.len() == 1).await);
    let endpoint = |address: &str| LocalEndpoint { container_port: 80, address: address.into() };
    let report = |address: &str| PodStatusReport {
        local_endpoints: vec![endpoint(address)],
        ..status(&uid, "p", 1, PodPhase::Running)
    };
    let (own, foreign) = (NodeName::new("n1"), NodeName::new("n2"));
    assert_eq!(cluster.report("n1", report("own")).await, Recorded::Done);
    assert_eq!(
        cluster.report("n2", report("foreign")).await,
        Recorded::Gone,
        "another node's word counts for nothing"
    );
    let stopped = PodStatusReport { stopped: true, ..report("foreign") };
    assert_eq!(cluster.report("n2", stopped).await, Recorded::Gone);
    let endpoints = cluster.service.endpoints();
    assert_eq!(endpoints.of(&own, &uid), [endpoint("own")]);
    assert_eq!(endpoints.of(&foreign, &uid), []);
    let refusal = Refusal { uid, reason: "OutOfpods".into(), message: "full".into() };
    cluster.intake.refused(&NodeName::new("n1"), vec![refusal]).await;
    let failed = cluster.get("Pod", "p").await.unwrap();
    assert_eq!(
        (&failed["status"]["phase"], &failed["status"]["reason"]),
        (&json!("Failed"), &json!("OutOfpods"))
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pods_are_placed_together() {
    let cluster = Cluster::start().await;
    for node in ["n1", "n2"] {
        cluster.connect(node, 200).await;
    }
    let creations = (0..200).map(|index| cluster.create("Pod", pod(&format!("p{index}"))));
    futures_util::future::join_all(creations).await;
    let first = cluster.desired("n1", |desired| desired.pods.len() == 100).await;
    let second = cluster.desired("n2", |desired| desired.pods.len() == 100).await;
    assert!(first.pods.keys().all(|uid| !second.pods.contains_key(uid)));
    cluster.stop().await;
}

/// A ConfigMap owned by another.
fn owned(name: &str, owner: &Value) -> Value {
    let (owner, uid) = (&owner["metadata"]["name"], &owner["metadata"]["uid"]);
    let reference = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid, "blockOwnerDeletion": true });
    json!({ "metadata": { "name": name, "ownerReferences": [reference] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_end_as_the_deletion_of_their_owner_asks() {
    let cluster = Cluster::start().await;
    for (policy, stays) in [("Foreground", false), ("Background", false), ("Orphan", true)] {
        let owner = cluster.create("ConfigMap", json!({ "metadata": { "name": "owner" } })).await;
        let dependent = cluster.create("ConfigMap", owned("dependent", &owner)).await;
        cluster.create("ConfigMap", owned("of-dependent", &dependent)).await;
        cluster.delete("ConfigMap", "owner", json!({ "propagationPolicy": policy })).await;
        cluster.until_gone("ConfigMap", "owner").await;
        if stays {
            let orphan = cluster.get("ConfigMap", "dependent").await.unwrap();
            assert!(orphan["metadata"]["ownerReferences"].is_null(), "{orphan}");
            cluster.get("ConfigMap", "of-dependent").await.unwrap();
        } else {
            cluster.until_gone("ConfigMap", "dependent").await;
            cluster.until_gone("ConfigMap", "of-dependent").await;
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreground_deletion_survives_a_restart() {
    let cluster = Cluster::start().await;
    let owner = cluster.create("ConfigMap", json!({ "metadata": { "name": "owner" } })).await;
    let mut dependent = owned("dependent", &owner);
    dependent["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create("ConfigMap", dependent).await;
    cluster.delete("ConfigMap", "owner", json!({ "propagationPolicy": "Foreground" })).await;
    cluster.until("ConfigMap", "dependent", |held| !held["metadata"]["deletionTimestamp"].is_null()).await;
    let cluster = Cluster::start_in(cluster.stop().await, Duration::from_secs(40)).await;
    let owner = cluster.get("ConfigMap", "owner").await.unwrap();
    assert_eq!(owner["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let release = json!({ "metadata": { "finalizers": null } });
    cluster.service.patch(&admin(), reference("ConfigMap", "dependent"), "", &release).await.unwrap();
    cluster.until_gone("ConfigMap", "owner").await;
    cluster.stop().await;
}
