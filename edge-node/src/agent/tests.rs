//! The agent with a real store, a real runner process and real modules, and no coordinator anywhere.

use std::{collections::BTreeMap, fs, process::ExitCode, sync::Arc, time::Duration};

use dunlin_edge_node_core::{
    address::{BlockRange, Loopback},
    content::Seal,
    pressure::Thresholds,
};
use dunlin_link::{
    Bytes, ContainerId, Digest, MilliCpu, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignmentChange, Tombstone},
    care::PodCare,
    held::HeldSet,
    logs::{LogRequest, LogStreams},
    pod::{
        ConfigKind, ConfigObject, ConfigRef, Container, EnvValue, EnvVar, Image, PodAssignment, PodSpec,
        PullPolicy, Resources, RestartPolicy,
    },
    sealed::{Content, SealingPlace},
    status::{ContainerState, NodeResources, PodPhase, PodStatusReport},
    volumes::PodVolumes,
};
use dunlin_registry::{Client, RegistriesConfig};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::UnixStream, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{AgentHost, AgentOptions, AgentParts, Codes, RunnerTarget};
use crate::{
    compiled::CompileMode,
    console::{self, Console, Desk, Keeper},
    facts::{self, Declared},
    health::{RunnerPid, Watcher, Writers},
    images::{Containers, ImageBounds, Images, ModuleFiles},
    local::{Local, OpenError},
    logs::LogKeeper,
    modules::Modules,
    runner::{self, Compiler, LogBounds, OwnCode, RunnerArgs},
    sandbox::{Doors, RunnerProcess, Sandbox},
    session::{SessionHandle, SessionHost, sealing_key},
    volumes::Volumes,
};

mod images;
mod node;
mod samples;
mod secrets;
mod streams;

use self::{
    node::Node,
    samples::{CRASHER, HELLO, SLEEPER, assignment, uid},
};

/// The runner of these tests is this test program, told to run this test alone; the agent adds its words.
#[test]
fn runner_process() {
    let words: Vec<String> = std::env::args().collect();
    let [.., option, socket] = &words[..] else { return };
    if option != "--socket" {
        return;
    }
    let own = OwnCode::Compiled(Compiler::new(this_test("runner::tests::compiling_process")));
    let log_bounds = LogBounds::DEFAULT;
    let args = RunnerArgs { socket: socket.into(), log_bounds, own, keyvalue_quota_bytes: None };
    assert_eq!(runner::main(args), ExitCode::SUCCESS);
}

fn this_test(name: &str) -> Vec<std::ffi::OsString> {
    let this = std::env::current_exe().unwrap();
    [this.into()].into_iter().chain([name, "--nocapture", "--exact"].map(Into::into)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_own_socket_answers_without_a_coordinator() {
    let mut node = Node::start().await;
    node.assign(&[("sleeper", RestartPolicy::Never, SLEEPER), ("hello", RestartPolicy::Never, HELLO)]).await;
    let first = node.until("sleeper", is_running).await;
    node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    let (console, shutdown, serving) = node.serve_console().await;
    let pods = within(console.pods()).await.unwrap();
    let seen: Vec<_> =
        pods.iter().map(|pod| (pod.assignment.name.as_str(), pod.synced, pod.reported)).collect();
    assert_eq!(seen, [("hello", true, false), ("sleeper", true, false)]);
    assert_eq!(pods[1].report.containers, first.containers);
    assert_eq!(pods[1].keeper, Keeper::Assigned(1));
    let view = within(console.node()).await.unwrap();
    assert_eq!((view.applied_revision, view.connected_since, view.health.outbox.reports), (1, None, 2));
    assert_eq!(view.unreported, ["ns/hello", "ns/sleeper"]);
    let request = LogRequest {
        uid: uid("hello"),
        container: "c".to_owned(),
        follow: false,
        previous: false,
        since: None,
        tail_lines: None,
        timestamps: false,
        limit_bytes: None,
    };
    let mut log = within(console.log(request)).await.unwrap();
    assert_eq!(within(log.chunk()).await.unwrap(), b"hello\n");
    assert_eq!(within(log.chunk()).await.unwrap(), b"");

    assert_eq!(within(console.restart(uid("sleeper"), None)).await.unwrap(), ["c"]);
    let counted = |report: &PodStatusReport| is_running(report) && report.containers[0].restart_count == 1;
    node.until("sleeper", counted).await;
    let refused = within(console.restart(uid("hello"), None)).await.unwrap_err().to_string();
    assert!(refused.contains("over or ending"), "{refused}");
    let refused = within(console.restart(uid("nobody"), None)).await.unwrap_err().to_string();
    assert_eq!(refused, "pod not found on this node");
    shutdown.cancel();
    within(serving).await.unwrap();
    assert!(within(console.pods()).await.unwrap_err().to_string().contains("no agent answers"));
    node.stop_agent().await;
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_compiles_says_what_it_waits_for() {
    let mut node = Node::of(CompileMode::Never).await;
    node.assign(&[("sleeper", RestartPolicy::Always, SLEEPER)]).await;
    let is_waiting = |report: &PodStatusReport| matches!(&report.containers[0].state, ContainerState::Waiting { reason, .. } if reason == "ErrImagePull");
    let report = node.until("sleeper", is_waiting).await;
    let ContainerState::Waiting { message, .. } = &report.containers[0].state else { panic!("{report:?}") };
    for words in ["no compiled code", "--compile never", "cannot be reached"] {
        assert!(message.contains(words), "{message}");
    }
    // The same pod once the machine may compile.
    node.mode = CompileMode::Auto;
    node.stop_agent().await;
    node.boot().await;
    node.until("sleeper", is_running).await;
    node.stop_agent().await;
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_survive_the_agent_and_come_back_after_the_runner() {
    let mut node = Node::start().await;
    node.assign(&[
        ("sleeper", RestartPolicy::Always, SLEEPER),
        ("hello", RestartPolicy::Never, HELLO),
        ("crasher", RestartPolicy::Never, CRASHER),
    ])
    .await;
    let first = node.until("sleeper", is_running).await;
    node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    let crashed = node.until("crasher", |report| report.phase == PodPhase::Failed).await;
    let ContainerState::Terminated(end) = &crashed.containers[0].state else { panic!("{crashed:?}") };
    assert_eq!((end.exit_code, end.reason.as_str()), (134, "Error"));
    assert_eq!(node.log("hello").await, "hello\n");

    node.kill_agent().await;
    node.boot().await;
    let adopted = node.until("sleeper", is_running).await;
    assert_eq!(adopted.containers[0].container_id, first.containers[0].container_id);
    assert!(adopted.sequence > first.sequence);
    assert_eq!(adopted.pod_ip, first.pod_ip);
    let hello = node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    assert_eq!(hello.containers[0].restart_count, 0);

    node.kill_runner().await;
    node.until("sleeper", |report| is_running(report) && report.containers[0].restart_count == 1).await;

    node.kill_runner().await;
    node.kill_agent().await;
    node.boot().await;
    // Both died within a second of the last restart: if that was not written, the run's log tells of it.
    node.until("sleeper", |report| is_running(report) && report.containers[0].restart_count == 2).await;
    node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    assert_eq!(node.host().applied().state_digest, node.held.digest());

    node.bury("sleeper").await;
    node.until("sleeper", |report| report.stopped).await;
    node.stop_agent().await;
    node.boot().await;
    node.until("sleeper", |report| report.stopped).await;
    node.change(|change| change.forget = vec![uid("sleeper")]).await;
    assert!(!node.host().unacked().iter().any(|report| report.uid == uid("sleeper")));
    let logs = node.folder.path().join("logs/ns_sleeper_u-sleeper");
    within(async {
        while logs.exists() {
            tokio::time::sleep(STEP).await;
        }
    })
    .await;
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_do_not_fit_leave_the_state_as_it_was() {
    let mut node = Node::start().await;
    node.change(|_| {}).await;
    let applied = node.host().applied();
    let change = |base, revision, state_digest| AssignmentChange {
        restore_generation: 0,
        protocol: 6,
        base,
        revision: Revision(revision),
        upserts: Vec::new(),
        tombstones: Vec::new(),
        forget: Vec::new(),
        objects: Vec::new(),
        state_digest,
    };
    let good = node.held.digest();
    for bad in [change(Some(Revision(7)), 8, good), change(None, 0, good)] {
        assert!(node.host().commit(bad).await.is_err());
        assert_eq!(node.host().applied(), applied);
    }
    // A restored cluster may go back, and its generation is kept with the set.
    let restored = AssignmentChange { restore_generation: 1, ..change(None, 0, good) };
    assert_eq!(node.host().commit(restored).await.unwrap(), []);
    let now = node.host().applied();
    assert_eq!((now.revision, now.restore_generation), (Revision(0), 1));
    let onward = AssignmentChange { restore_generation: 1, ..change(Some(Revision(0)), 1, good) };
    assert_eq!(node.host().commit(onward).await.unwrap(), []);
    let applied = node.host().applied();
    // This one does not end the session: the coordinator is asked for a snapshot.
    let other = change(Some(Revision(1)), 2, Digest::of(b"another set"));
    let other = AssignmentChange { restore_generation: 1, ..other };
    assert_eq!(node.host().commit(other).await.unwrap(), []);
    assert_eq!(node.host().applied(), applied);
    node.change(|change| change.restore_generation = 1).await;
    assert_eq!(node.host().applied().revision, Revision(2));
}

fn container_id(report: &PodStatusReport) -> Option<ContainerId> {
    report.containers[0].container_id.clone()
}

fn is_running(report: &PodStatusReport) -> bool {
    report.phase == PodPhase::Running && matches!(report.containers[0].state, ContainerState::Running { .. })
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(2);
