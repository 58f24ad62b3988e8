//! Pods, and modules for them.

use super::*;

pub(super) fn uid(name: &str) -> PodUid {
    PodUid::new(format!("u-{name}"))
}

pub(super) fn assignment(name: &str, restart_policy: RestartPolicy, digest: Digest) -> PodAssignment {
    let container = Container {
        name: "c".to_owned(),
        image: Image {
            reference: format!("dunlin.local/{name}:v1"),
            pull_policy: PullPolicy::IfNotPresent,
            digest: Some(digest),
            unresolved: String::new(),
        },
        command: Vec::new(),
        args: Vec::new(),
        working_dir: None,
        env_from: Vec::new(),
        env: Vec::new(),
        ports: Vec::new(),
        resources: Resources::default(),
        sidecar: false,
        termination_message_from_logs: false,
        refused_fields: Vec::new(),
    };
    PodAssignment {
        uid: uid(name),
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        generation: 1,
        spec: PodSpec {
            labels: Vec::new(),
            annotations: Vec::new(),
            restart_policy,
            termination_grace_seconds: 1,
            active_deadline_seconds: None,
            init_containers: Vec::new(),
            containers: vec![container],
            host_network: false,
            hostname: name.to_owned(),
            service_account_name: "default".to_owned(),
        },
        config: Vec::new(),
        care: PodCare::default(),
        volumes: PodVolumes::default(),
        linux: None,
        tokens: Default::default(),
        volume_images: Default::default(),
        ephemeral: Default::default(),
        resources: Default::default(),
    }
}

/// Waits for an hour on the monotonic clock.
pub(super) const SLEEPER: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 3600000000000))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;

/// Prints a line.
pub(super) const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "hello\n")
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 6))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Traps.
pub(super) const CRASHER: &str =
    r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;
