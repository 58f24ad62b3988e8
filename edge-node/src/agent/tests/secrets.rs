//! Secrets reach pods, and nothing else.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_reaches_its_pod_and_never_the_disk() {
    let mut node = Node::start().await;
    let (first, rotated, clear) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
    node.assign_teller(first, node.sealed(first, "hunter-one")).await;
    let report = node.until("teller", is_running).await;
    node.until_log("teller", "PASSWORD=hunter-one").await;
    assert!(!node.folder_says("hunter-one"), "also not after the runner was told");

    // Without a coordinator, the agent and all that it started gone: a reboot.
    node.kill_runner().await;
    node.kill_agent().await;
    node.boot().await;
    node.until("teller", |now| is_running(now) && container_id(now) != container_id(&report)).await;
    node.until_log("teller", "PASSWORD=hunter-one").await;
    assert!(!node.folder_says("hunter-one"));

    // A rotated one, and one from a coordinator of version 1, which sends it in clear.
    let in_clear = secret("hunter-three").into();
    for (id, content, value) in
        [(rotated, node.sealed(rotated, "hunter-two"), "hunter-two"), (clear, in_clear, "hunter-three")]
    {
        let before = node.until("teller", is_running).await;
        node.assign_teller(id, content).await;
        node.kill_runner().await;
        node.until("teller", |now| is_running(now) && container_id(now) != container_id(&before)).await;
        node.until_log("teller", &format!("PASSWORD={value}")).await;
        assert!(!node.folder_says(value));
    }
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_secret_cannot_be_opened_says_so_and_waits_for_it() {
    let mut node = Node::start().await;
    let id = Digest::of(b"1");
    node.assign_teller(id, node.sealed(id, "hunter-one")).await;
    node.until("teller", is_running).await;
    node.kill_runner().await;
    node.kill_agent().await;
    fs::remove_file(node.folder.path().join("identity/sealing.key")).unwrap();
    node.boot().await;
    let report = node
        .until("teller", |report| report.containers[0].container_id.is_none() || !is_running(report))
        .await;
    let waits = |report: &PodStatusReport| match &report.containers[0].state {
        ContainerState::Waiting { reason, message } => {
            reason == "CreateContainerConfigError" && message.contains("secret \"s\" cannot be opened")
        }
        _ => false,
    };
    assert!(report.phase != PodPhase::Failed);
    node.until("teller", waits).await;

    // What another pod needs of it does not come by a delta: everything is to be sent again.
    let applied = node.host().applied();
    let mut delta = node.teller_change(id, node.sealed(id, "hunter-one"));
    delta.objects.clear();
    assert_eq!(node.host().commit(delta).await.unwrap(), []);
    assert_eq!(node.host().applied(), applied);
    let content = node.sealed(id, "hunter-one");
    let mut snapshot = node.teller_change(id, content);
    snapshot.base = None;
    assert_eq!(node.host().commit(snapshot).await.unwrap(), []);
    node.until("teller", is_running).await;
    node.until_log("teller", "PASSWORD=hunter-one").await;
    assert!(!node.folder_says("hunter-one"));
    node.kill_runner().await;
}

impl Node {
    /// Content sealed to the node's key of now.
    fn sealed(&self, id: Digest, value: &str) -> Content {
        let seal = self.seal();
        let sealed = seal.key.public().seal(&secret(value), &id, &seal.place, &mut rand::rng());
        Content::Sealed(sealed.unwrap().into())
    }

    /// A change that assigns a pod which tells what is in the secret of this id.
    fn teller_change(&self, id: Digest, content: Content) -> AssignmentChange {
        let module = wat::parse_str(TELLER).unwrap();
        let mut pod = assignment("teller", RestartPolicy::Always, Digest::of(&module));
        pod.config = vec![ConfigRef { kind: ConfigKind::Secret, name: "s".to_owned(), digest: Some(id) }];
        let value = EnvValue::Key {
            kind: ConfigKind::Secret,
            name: "s".to_owned(),
            key: "password".to_owned(),
            optional: false,
        };
        pod.spec.containers[0].env = vec![EnvVar { name: "PASSWORD".to_owned(), value }];
        let revision = Revision(self.held.revision.0 + 1);
        let mut change = AssignmentChange {
            restore_generation: 0,
            protocol: 6,
            base: Some(self.held.revision),
            revision,
            upserts: vec![(revision, pod)],
            tombstones: Vec::new(),
            forget: Vec::new(),
            objects: vec![(id, content)],
            state_digest: Digest::of(b""),
        };
        let mut held = self.held.clone();
        held.apply(&change);
        change.state_digest = held.digest();
        change
    }

    async fn assign_teller(&mut self, id: Digest, content: Content) {
        let module = wat::parse_str(TELLER).unwrap();
        let file = self.folder.path().join("modules").join(format!("{}.wasm", Digest::of(&module).hex()));
        if !file.exists() {
            fs::write(file, module).unwrap();
            self.stop_agent().await;
            self.boot().await;
        }
        let change = self.teller_change(id, content);
        self.held.apply(&change);
        assert_eq!(within(self.host().commit(change)).await.unwrap(), []);
    }

    async fn until_log(&self, name: &str, wanted: &str) {
        within(async {
            while !self.log(name).await.contains(wanted) {
                tokio::time::sleep(STEP).await;
            }
        })
        .await;
    }

    /// Whether a file of the node holds this text, but for what guests print themselves.
    fn folder_says(&self, text: &str) -> bool {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if kind.is_dir() && !path.ends_with("logs") {
                    folders.push(path);
                } else if kind.is_file()
                    && fs::read(path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
                {
                    return true;
                }
            }
        }
        false
    }
}

fn secret(value: &str) -> ConfigObject {
    ConfigObject { kind: ConfigKind::Secret, data: vec![("password".to_owned(), value.into())] }
}

/// Prints its environment, then waits for an hour.
const TELLER: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $environ (i32.const 1024) (i32.const 8192)))
        (i32.store8 (i32.add (i32.const 8192) (i32.load (i32.const 4))) (i32.const 10))
        (i32.store (i32.const 8) (i32.const 8192))
        (i32.store (i32.const 12) (i32.add (i32.const 1) (i32.load (i32.const 4))))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
        (i32.store (i32.const 272) (i32.const 1))
        (i64.store (i32.const 280) (i64.const 3600000000000))
        (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 640)))))"#;
