//! The bytes of every kind of frame, fixed for ever: a difference here is a break of the protocol, unless the kind is new.

use std::fmt::Write as _;

use dunlin_link::{
    BootId, Bytes, Digest, NodeName, Revision, UnixMillis,
    assignment::Refusal,
    compiled::{CompileRefusal, CompiledAnswer, CompiledOpen, CompiledRecord, Compiling, SignedCompiled},
    exec::{
        AttachRequest, AttachStdin, Blob, ExecEnd, ExecRequest, Resize, StderrData, StdinData, StdinEnd,
        StdoutData, TerminalSize,
    },
    frame::{Decoder, Message, encode},
    health::{DiskWrites, Health, HeldPods, OutboxState, Sealing},
    join::{JoinRequest, JoinToken, Joined},
    logs::{LogRequest, LogStreams},
    message::{
        AssignmentAck, AssignmentBegin, AssignmentEnd, AssignmentForget, AssignmentObjects, AssignmentPods,
        AssignmentSealed, AssignmentTombstones, Attempt, Busy, Epoch, Events, Extension, Facts, Hello, Probe,
        Refused, Renew, Renewed, Resync, StatusAck, StatusBatch, Tunables, Unsupported, Welcome,
    },
    namespaces::{NamespacesAnswer, NamespacesOpen},
    rpc::{Impersonation, Method, RequestHead, ResponseHead},
    sealed::{Sealed, SealingPublicKey},
    statics::{StaticPod, StaticPodName, StaticPods, StaticPodsWanted},
    status::NodeEvent,
    stream::{
        ArtifactAnswer, ArtifactOpen, AttachOpen, ConnectOpen, ContentAnswer, ContentOpen, CoreDumpOpen,
        ExecOpen, ForwardOpen, LogAnswer, LogOpen, LogStreamsOpen, StreamAnswer, StreamRefusal,
    },
    tokens::{IssuedToken, TokenAnswer, TokenOpen},
    usage::{
        ContainerThrottle, ContainerThrottles, ContainerUsage, ContainerUsages, MachineUsage, UsageOpen,
    },
};
use expect_test::expect_file;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    every_kind::reencode,
    full,
    samples::{config, facts, pod, report, tombstone, uid},
};

/// At least one frame of every kind, with its name. Hello and Welcome come first.
pub(crate) fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let mut frames = Frames(Vec::new());
    frames.session();
    frames.assignments();
    frames.reports();
    frames.streams();
    frames.version_two();
    frames.filled();
    frames.version_three();
    frames.impersonation();
    frames.version_four();
    frames.version_five();
    frames.version_six();
    frames.version_seven();
    frames.version_eight();
    frames.0
}

struct Frames(Vec<(&'static str, Vec<u8>)>);

impl Frames {
    fn add<M: Message>(&mut self, message: &M) {
        let name = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
        self.0.push((name, encode(message)));
    }

    fn session(&mut self) {
        let extensions = vec![Extension { tag: 513, bytes: vec![1, 2] }];
        self.add(&Hello {
            node: NodeName::new("n1"),
            boot_id: BootId([9; 16]),
            attempt: Attempt { agent: 77, counter: 3 },
            protocol: (1, 2),
            restore_generation: 4,
            last_applied_revision: Revision(300),
            state_digest: Digest::from_bytes([5; 32]),
            sent_at: UnixMillis(1_800_000_000_000),
            facts: facts(),
            extensions: extensions.clone(),
        });
        self.add(&Welcome {
            epoch: Epoch { term: 6, counter: 2 },
            protocol: 1,
            server_time: UnixMillis(-1),
            cluster_id: "c".into(),
            restore_generation: 4,
            tunables: Tunables { keep_alive_ms: 25_000, idle_timeout_ms: 80_000, reconnect_ms_max: 60_000 },
            extensions,
        });
        self.add(&Busy { retry_after_ms: 1_500 });
        self.add(&Refused { reason: "no".into() });
        self.add(&Unsupported { kind: 0x0199 });
        self.add(&Probe);
        self.add(&Renew { certificate_request: vec![1, 2, 3] });
        self.add(&Renewed { chain: vec![vec![1], vec![2, 3]] });
    }

    fn assignments(&mut self) {
        let content = config("v");
        let digest = Digest::from_bytes([8; 32]);
        self.add(&AssignmentBegin { base: Some(Revision(1)), revision: Revision(2), state_digest: digest });
        self.add(&AssignmentPods { upserts: vec![(Revision(2), pod(&uid(1), 1, Some(digest)))] });
        self.add(&AssignmentTombstones { tombstones: vec![tombstone(&uid(2))] });
        self.add(&AssignmentForget { uids: vec![uid(3)] });
        self.add(&AssignmentObjects { objects: vec![(digest, content)] });
        self.add(&AssignmentEnd { revision: Revision(2) });
        let refusal = Refusal { uid: uid(1), reason: "OutOfpods".into(), message: "full".into() };
        self.add(&AssignmentAck { revision: Revision(2), refusals: vec![refusal] });
        self.add(&Resync { revision: Revision(2), state_digest: digest, reason: "r".into() });
    }

    fn reports(&mut self) {
        let sent_at = UnixMillis(7);
        self.add(&StatusBatch { sent_at, reports: vec![report(&uid(1), 9)] });
        self.add(&StatusAck { recorded: vec![(uid(1), 9)] });
        let event = NodeEvent {
            pod: None,
            warning: true,
            reason: "BackOff".into(),
            message: "m".into(),
            at: UnixMillis(1),
        };
        self.add(&Events { sent_at, events: vec![event], dropped: 2 });
        self.add(&Facts { facts: facts() });
        self.add(&Health {
            sampled_at: UnixMillis(1_800_000_000_000),
            uptime_ms: 90_000,
            disk_total: Bytes(1 << 35),
            disk_free: Bytes(1 << 34),
            agent_writes: Some(DiskWrites { bytes: 4096, span_ms: 80_000 }),
            runner_writes: None,
            clock_offset_ms: Some(-5),
            clock_synchronized: true,
            temperature_milli: Some(48_300),
            throttled: Some(false),
            pods: HeldPods { assigned: 20, fixed: 1, held: 2, buried: 3 },
            outbox: OutboxState { reports: 4, events: 5, events_dropped: 6 },
            sealing: Sealing::Sealed,
        });
    }

    fn streams(&mut self) {
        let token = JoinToken::generate(Digest::of(b"ca"), Vec::new(), &mut StdRng::seed_from_u64(1));
        self.add(&JoinRequest {
            token: token.id,
            secret: token.secret,
            node: NodeName::new("n1"),
            certificate_request: vec![1, 2, 3],
        });
        self.add(&Joined { chain: vec![vec![1], vec![2, 3]], cluster_id: "c".into() });
        let request = LogRequest {
            uid: uid(1),
            container: "main".into(),
            follow: true,
            previous: false,
            since: Some(UnixMillis(5)),
            tail_lines: Some(10),
            timestamps: true,
            limit_bytes: None,
        };
        self.add(&LogOpen { request });
        self.add(&LogAnswer::Opened);
        self.add(&LogAnswer::Refused("no".into()));
        self.add(&ArtifactOpen { digest: Digest::from_bytes([8; 32]), offset: 1 << 20 });
        self.add(&ArtifactAnswer::Found { total_bytes: 1 << 21 });
        self.add(&ArtifactAnswer::Refused("no".into()));
        self.add(&RequestHead {
            method: Method::Patch,
            path: "/api/v1/nodes/n1".into(),
            query: vec![("dryRun".into(), "All".into())],
            content_type: "application/json".into(),
            accept: String::new(),
            user_agent: "t".into(),
        });
        let content_type = "application/json".into();
        self.add(&ResponseHead { status: 409, content_type, warnings: vec!["w".into()] });
    }

    /// Kinds that version 2 added.
    fn version_two(&mut self) {
        let recipient = SealingPublicKey::from_bytes(&[3; 32]).unwrap();
        let sealed = Sealed { recipient, bytes: vec![4, 5] };
        self.add(&AssignmentSealed { objects: vec![(Digest::from_bytes([8; 32]), sealed)] });
        let (namespace, name) = ("default".into(), "web-n1".into());
        self.add(&StaticPods { pods: vec![StaticPodName { uid: uid(4), namespace, name }] });
        self.add(&StaticPodsWanted { uids: vec![uid(4)] });
        self.add(&StaticPod { uid: uid(4), object: br#"{"kind":"Pod"}"#.to_vec() });
    }

    /// Kinds that version 3 added; they fill every field and hold every variant.
    fn version_three(&mut self) {
        self.add(&ExecOpen {
            request: ExecRequest {
                uid: uid(1),
                container: "main".into(),
                command: vec!["cat".into(), "-".into()],
                stdin: true,
                stdout: true,
                stderr: true,
                tty: true,
            },
        });
        for stdin in [AttachStdin::None, AttachStdin::Open, AttachStdin::Once] {
            let (uid, container) = (uid(1), "main".into());
            let request = AttachRequest { uid, container, stdin, stdout: true, stderr: true, tty: true };
            self.add(&AttachOpen { request });
        }
        self.add(&ConnectOpen { uid: uid(1), port: 8080 });
        self.add(&ForwardOpen { uid: uid(1), port: 8080 });
        for streams in [LogStreams::All, LogStreams::Stdout, LogStreams::Stderr] {
            self.add(&LogStreamsOpen { request: full::log_request(), streams });
        }
        self.add(&NamespacesOpen { names: vec!["shore".into(), "gone".into()] });
        self.add(&NamespacesAnswer { restore_generation: 2, uids: vec![Some("u".into()), None] });
        self.add(&CoreDumpOpen { uid: uid(1), container: "main".into() });
        self.add(&UsageOpen);
        self.add(&MachineUsage { uptime_us: 90_000_000, cpu_us: 7_000_000, memory: Bytes(1 << 30) });
        let usage = ContainerUsage {
            uid: uid(1),
            container: "main".into(),
            attempt: 2,
            cpu_us: 1_000,
            memory: Bytes(1 << 16),
        };
        self.add(&ContainerUsages { containers: vec![usage] });
        let throttle =
            ContainerThrottle { uid: uid(1), container: "main".into(), attempt: 2, throttled_us: 3_000 };
        self.add(&ContainerThrottles { containers: vec![throttle] });
        self.add(&StreamAnswer::Opened);
        for reason in [
            StreamRefusal::Impossible,
            StreamRefusal::NotRunning,
            StreamRefusal::TooMany,
            StreamRefusal::Failed,
        ] {
            self.add(&StreamAnswer::Refused { reason, message: "no".into() });
        }
        self.add(&StdinData { bytes: Blob(vec![1, 2, 3]) });
        self.add(&StdinEnd);
        self.add(&Resize { size: TerminalSize { columns: 200, rows: 24 } });
        self.add(&StdoutData { bytes: Blob(vec![4, 5]) });
        self.add(&StderrData { bytes: Blob(vec![6]) });
        for end in [ExecEnd::Exited(-1), ExecEnd::Detached, ExecEnd::Failed("no".into())] {
            self.add(&end);
        }
    }

    /// Kinds that version 8 added.
    fn version_eight(&mut self) {
        self.add(&full::ephemeral());
        self.add(&full::resources());
        self.add(&full::hello_of_version_eight());
    }

    /// Kinds that version 7 added.
    fn version_seven(&mut self) {
        full::node_networks().iter().for_each(|network| self.add(network));
        self.add(&full::tokens());
        self.add(&full::volume_images());
        self.add(&TokenOpen { uid: uid(1), claim: full::claim("vault", 600) });
        let issued = IssuedToken { token: "e.y.J".into(), lifetime_seconds: 3607 };
        self.add(&TokenAnswer::Issued(issued));
        self.add(&TokenAnswer::Refused("no".into()));
        let (repository, digest) = ("team/app".into(), Digest::from_bytes([8; 32]));
        self.add(&ContentOpen { repository, digest, offset: 1 << 20 });
        let media_type = "application/vnd.oci.image.manifest.v1+json".into();
        self.add(&ContentAnswer::Found { media_type, total_bytes: 1 << 21 });
        self.add(&ContentAnswer::Module);
        self.add(&ContentAnswer::Refused("no".into()));
    }

    /// Kinds that version 6 added.
    fn version_six(&mut self) {
        self.add(&full::linux());
        full::hellos_of_version_six().iter().for_each(|hello| self.add(hello));
    }

    /// Kinds that version 5 added.
    fn version_five(&mut self) {
        let (module, code) = (Digest::from_bytes([3; 32]), Digest::from_bytes([4; 32]));
        let target = "48.0.8-1-wide-x86_64-linux".to_owned();
        self.add(&CompiledOpen { module, target: target.clone(), held: None });
        self.add(&CompiledOpen { module, target: target.clone(), held: Some((code, 65_536)) });
        self.add(&Compiling);
        let record = CompiledRecord { module, target, code, bytes: 1 << 20 };
        let signed = SignedCompiled { record, certificate: vec![0x30, 1, 2], signature: vec![7; 64] };
        self.add(&CompiledAnswer::Found { signed, offset: 65_536 });
        for reason in
            [CompileRefusal::Module, CompileRefusal::NotHere, CompileRefusal::Target, CompileRefusal::Failed]
        {
            self.add(&CompiledAnswer::Refused { reason, message: "no".into() });
        }
        self.add(&full::volumes());
    }

    /// Kinds that version 4 added.
    fn version_four(&mut self) {
        self.add(&full::care());
        self.add(&full::node_state());
        self.add(&full::hello_of_version_four());
    }

    /// What a client may say before its request.
    fn impersonation(&mut self) {
        let extra = vec![("scopes".into(), "view".into())];
        let impersonation =
            Impersonation { user: "joe".into(), groups: vec!["developers".into()], uid: "u".into(), extra };
        self.add(&impersonation);
    }

    /// Frames that together fill every field and hold every variant.
    fn filled(&mut self) {
        self.add(&AssignmentPods { upserts: full::pods() });
        self.add(&StatusBatch { sent_at: UnixMillis(7), reports: full::reports() });
        self.add(&full::events());
        self.add(&Facts { facts: full::facts() });
        self.add(&full::hello());
        self.add(&full::welcome());
        self.add(&full::health());
        self.add(&LogOpen { request: full::log_request() });
        full::request_heads().iter().for_each(|head| self.add(head));
    }
}

#[test]
fn the_bytes_of_every_kind_are_fixed() {
    let mut text = String::new();
    for (name, bytes) in frames() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{name} {hex}").unwrap();
    }
    expect_file!["golden/frames.txt"].assert_eq(&text);
}

#[test]
fn every_kind_decodes_to_what_was_encoded() {
    for (name, bytes) in frames() {
        let frame = Decoder::new(1 << 20).feed(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(reencode(&frame).expect(name).unwrap(), bytes, "{name}");
    }
}
