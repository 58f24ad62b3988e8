//! Buckets of guests: over guests, over the runner's end in any way, and for each namespace.

use tokio::process::{Child, Command};

use super::*;

/// A workload that `cargo xtask build-workloads` compiled.
pub(super) fn workload(name: &str) -> Vec<u8> {
    let exe = std::env::current_exe().unwrap();
    let file = exe.ancestors().nth(3).unwrap().join(format!("workloads/{name}.wasm"));
    fs::read(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask build-workloads` makes it", file.display());
    })
}

/// A runner as a process of its own.
struct Process {
    child: Child,
    agent: Agent,
}

impl Process {
    async fn start(socket: &Path) -> Self {
        let words = this_as("runner_process");
        let child = Command::new(&words[0]).args(&words[1..]).arg(socket).kill_on_drop(true).spawn().unwrap();
        let connected = timeout(PATIENCE, async {
            loop {
                match UnixStream::connect(socket).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        let mut agent = Agent { stream: connected.await.expect("the runner listens") };
        agent.send(&Request::Hello { protocol: PROTOCOL }).await;
        assert!(matches!(agent.event().await, Event::Welcome { .. }));
        assert_eq!(agent.told().await, []);
        Self { child, agent }
    }
}

fn words(spec: ContainerSpec, words: &[&str]) -> ContainerSpec {
    let args = std::iter::once(&"interfaces").chain(words).map(ToString::to_string).collect();
    ContainerSpec { args, memory_limit: Some(Bytes(64 << 20)), ..spec }
}

/// The lines that a container wrote.
fn lines(spec: &ContainerSpec) -> Vec<String> {
    let log = fs::read_to_string(&spec.log).unwrap_or_default();
    log.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned()).collect()
}

async fn ran(agent: &mut Agent, spec: &ContainerSpec) -> (ExitCause, Vec<String>) {
    agent.start(spec.clone()).await;
    let exit = agent.exit(spec.id.as_str()).await;
    (exit.cause, lines(spec))
}

#[tokio::test]
async fn buckets_outlive_guests_and_runners() {
    let (runner, module) = (Runner::start().await, workload("interfaces"));
    let folder = &runner.folder;
    let socket = folder.path().join("other");
    let mut process = Process::start(&socket).await;
    let filling = words(runner.spec_of("fill", &module), &["kv", "b", "fill", "1000000", "10"]);
    process.agent.start(filling.clone()).await;
    let kept = async {
        while lines(&filling).len() < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), kept).await.expect("it is kept");
    process.child.kill().await.unwrap();
    let acknowledged = lines(&filling).len();

    let mut process = Process::start(&socket).await;
    let listed = words(runner.spec_of("list", &module), &["kv", "b", "list"]);
    let (cause, keys) = ran(&mut process.agent, &listed).await;
    assert_eq!(cause, ExitCause::Code(0), "{keys:?}");
    assert!(keys.len() >= acknowledged, "{} of {acknowledged}", keys.len());
    for number in 0..acknowledged {
        assert!(keys.contains(&format!("key-{number}")), "{number} of {acknowledged}");
    }
    // Another namespace has a bucket of that name, too.
    let mut other = words(runner.spec_of("other", &module), &["kv", "b", "exists", "key-0"]);
    assert_eq!(ran(&mut process.agent, &other).await.1, ["true"]);
    (other.id, other.owner.namespace) = (ContainerId::new("elsewhere"), "elsewhere".to_owned());
    other.log = runner.path("logs/elsewhere.log").to_string_lossy().into_owned();
    assert_eq!(ran(&mut process.agent, &other).await.1, ["false"]);
}

#[tokio::test]
async fn every_operation_of_the_interface_works() {
    let (runner, module) = (Runner::start().await, workload("interfaces"));
    let mut agent = runner.greeted().await;
    assert_eq!(agent.told().await, []);
    let mut number = 0;
    let mut check = async |operation: &[&str], expected: &[&str]| {
        number += 1;
        let operation = [&["kv", "bucket"], operation].concat();
        let spec = words(runner.spec_of(&format!("c{number}"), &module), &operation);
        let (cause, said) = ran(&mut agent, &spec).await;
        assert_eq!(cause, ExitCause::Code(0), "{operation:?}: {said:?}");
        assert_eq!(said, expected, "{operation:?}");
    };
    check(&["get", "a"], &["none"]).await;
    check(&["set", "a", "1"], &[]).await;
    check(&["get", "a"], &["1"]).await;
    check(&["increment", "a", "41"], &["42"]).await;
    check(&["set-many", "b=2", "c=3"], &[]).await;
    check(&["list"], &["a", "b", "c"]).await;
    check(&["get-many", "c", "x", "a"], &["3", "none", "42"]).await;
    check(&["delete", "b"], &[]).await;
    check(&["exists", "b"], &["false"]).await;
    check(&["delete-many", "a", "c"], &[]).await;
    check(&["list"], &[]).await;
    let spec = words(runner.spec_of("long", &module), &["kv", "bucket", "set", &"k".repeat(1025), "v"]);
    let (cause, said) = ran(&mut agent, &spec).await;
    assert!(cause == ExitCause::Code(1) && said.concat().contains("a key has 1 to 1024 bytes"), "{said:?}");
}

#[tokio::test]
async fn the_second_draft_is_served_beside_the_first() {
    let (runner, module) = (Runner::start().await, workload("interfaces"));
    let mut agent = runner.greeted().await;
    assert_eq!(agent.told().await, []);
    let mut number = 0;
    let mut check = async |draft: &str, operation: &[&str], expected: &[&str]| {
        number += 1;
        let operation = [&[draft, "bucket"], operation].concat();
        let spec = words(runner.spec_of(&format!("c{number}"), &module), &operation);
        let (cause, said) = ran(&mut agent, &spec).await;
        assert_eq!(cause, ExitCause::Code(0), "{operation:?}: {said:?}");
        assert_eq!(said, expected, "{operation:?}");
    };
    check("kv", &["set", "k", "1"], &[]).await;
    check("kv2", &["get-many", "k", "l"], &["1", "none"]).await;
    check("kv2", &["increment", "n", "-7"], &["-7"]).await;
    check("kv2", &["swap", "k", "2"], &["1", "swapped"]).await;
    check("kv2", &["lose", "k", "3"], &["2", "lost to somebody else's"]).await;
    check("kv", &["get", "k"], &["somebody else's"]).await;
    check("kv2", &["list"], &["k", "n"]).await;
}
