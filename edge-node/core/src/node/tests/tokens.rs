//! Tokens of service accounts: asked for, waited for, asked for again, and kept for the next boot.

use dunlin_link::{
    linux::{ContainerLinux, FsGroup, FsGroupPolicy, PodLinux},
    pod::PodAssignment,
    tokens::{IssuedToken, PodTokens, TokenClaim, TokenProjection},
    volumes::{Medium, PodVolumes, Volume, VolumeSource},
};

use super::harness::{Node, assignment, uid};
use crate::volumes::{File, SourceSetup};

fn claim() -> TokenClaim {
    TokenClaim { audience: "vault".to_owned(), expiration_seconds: 3600 }
}

/// Pod `p` with a volume that holds a token.
fn pod() -> PodAssignment {
    let mut pod = assignment("p");
    let source = VolumeSource::Projected { default_mode: 0o644, sources: Vec::new() };
    let volumes = vec![Volume { name: "v".to_owned(), source }];
    pod.volumes = PodVolumes { volumes, containers: Vec::new() };
    let projection =
        TokenProjection { volume: "v".to_owned(), after: 0, path: "token".to_owned(), claim: claim() };
    pod.tokens = PodTokens { projections: vec![projection] };
    pod
}

impl Node {
    /// Answers the one question there is.
    fn answer_token(&mut self, answer: Result<&str, &str>) {
        self.answer_token_unwritten(answer);
        self.write_all();
    }

    fn answer_token_unwritten(&mut self, answer: Result<&str, &str>) {
        let order = self.asked_tokens.pop().expect("a token is asked for");
        assert_eq!((&order.uid, &order.claim, self.asked_tokens.len()), (&uid("p"), &claim(), 0));
        let issued = |token: &str| IssuedToken { token: token.to_owned(), lifetime_seconds: 3600 };
        self.core.handle_token(&order, answer.map(issued).map_err(str::to_owned), self.now);
        self.carry();
    }

    fn mount_failures(&self) -> Vec<&str> {
        let events = self.events.iter().filter(|event| event.reason == "FailedMount");
        events.map(|event| event.message.as_str()).collect()
    }

    /// The one file of the volume as it is written now.
    fn written(&mut self) -> File {
        let mut projected = self.projected.pop().expect("it is written anew");
        let SourceSetup::Files { files, medium } = projected.volumes.remove(0).source else { panic!() };
        assert_eq!((files.len(), medium), (1, Medium::Memory));
        files.into_iter().next().unwrap()
    }
}

#[test]
fn a_pod_starts_when_its_token_is_here_and_says_what_it_waits_for() {
    let mut node = Node::new();
    node.make(|change| change.assign_pod(pod()));
    assert!(node.running().is_empty() && node.mount_failures().is_empty());
    node.settle_for(2_999);
    assert!(node.mount_failures().is_empty(), "an answer takes its time");
    node.settle_for(1);
    let waits = "MountVolume.SetUp failed for volume \"v\" : failed to fetch token: ";
    assert_eq!(
        node.mount_failures(),
        [format!("{waits}waiting for the coordinator, which has not answered yet")]
    );
    node.answer_token(Err("no such account"));
    node.settle_for(1_000);
    assert_eq!(node.mount_failures().last(), Some(&&*format!("{waits}no such account")));
    // It is asked again after a second.
    node.answer_token(Ok("one"));
    assert_eq!(node.running(), ["p"]);
}

#[test]
fn a_pod_that_runs_has_its_token_on_the_disk() {
    let mut node = Node::new();
    node.make(|change| change.assign_pod(pod()));
    node.answer_token_unwritten(Ok("one"));
    assert!(node.running().is_empty() && node.disk.tokens.is_empty());
    node.write_one();
    assert_eq!((node.running().as_slice(), node.disk.tokens.len()), (&["p"][..], 1));
    // The power is cut at that very moment, and there is no coordinator.
    node.sandbox.clear();
    node.crash();
    assert_eq!(node.running(), ["p"]);
}

#[test]
fn a_disk_that_takes_no_token_keeps_no_pod_from_starting() {
    let mut node = Node::new();
    node.make(|change| change.assign_pod(pod()));
    node.answer_token_unwritten(Ok("one"));
    node.fail_one("disk full");
    assert_eq!(node.running(), ["p"]);
}

#[test]
fn the_next_token_is_asked_for_in_time_and_the_last_one_counts_until_then() {
    let mut node = Node::new();
    node.make(|change| change.assign_pod(pod()));
    node.answer_token(Ok("one"));
    node.projected.clear();
    node.settle_for(2_869_000);
    assert!(node.asked_tokens.is_empty());
    node.settle_for(11_000);
    node.answer_token(Err("busy"));
    assert!(node.projected.is_empty() && node.running() == ["p"]);
    // Without an answer nothing is asked twice, and nothing happens to the pod.
    node.settle_for(90_000_000);
    assert_eq!((node.asked_tokens.len(), node.running().as_slice()), (1, &["p"][..]));
    node.answer_token(Ok("two"));
    let file = node.written();
    assert_eq!((file.path.as_str(), &*file.data, file.mode, file.owner), ("token", &b"two"[..], 0o644, None));
}

#[test]
fn the_last_token_outlives_the_agent_and_goes_with_the_pod() {
    let mut node = Node::new();
    node.make(|change| change.assign_pod(pod()));
    node.answer_token(Ok("one"));
    node.settle_for(2_000);
    assert_eq!(node.disk.tokens.len(), 1);
    let writes = node.writes;
    node.settle_for(2_880_000);
    node.answer_token(Ok("two"));
    node.settle_for(2_000);
    assert_eq!(node.writes, writes, "one a day is enough");
    // The machine boots, and there is no coordinator.
    node.sandbox.clear();
    node.crash();
    assert_eq!((node.running().as_slice(), node.asked_tokens.len()), (&["p"][..], 1));
    node.answer_token(Ok("three"));
    assert_eq!(&*node.written().data, b"three");
    node.make(|change| change.bury("p"));
    node.settle_for(1_000);
    node.make(|change| change.forget("p"));
    assert!(node.disk.tokens.is_empty());
    node.settle_for(90_000_000);
    assert!(node.asked_tokens.is_empty());
}

#[test]
fn a_token_belongs_to_whoever_is_to_read_it() {
    let check = |linux: PodLinux, expected: (u32, Option<u32>)| {
        let mut node = Node::new();
        let pod = PodAssignment { linux: Some(Box::new(linux)), ..pod() };
        node.make(|change| change.assign_pod(pod));
        node.answer_token(Ok("one"));
        node.projected.clear();
        node.settle_for(2_880_000);
        node.answer_token(Ok("two"));
        let file = node.written();
        assert_eq!((file.mode, file.owner), expected);
    };
    let users = |uids: &[Option<u32>]| {
        uids.iter().map(|uid| ContainerLinux { uid: *uid, ..ContainerLinux::default() }).collect()
    };
    let linux = |containers, fs_group| PodLinux { containers, fs_group, ..PodLinux::default() };
    check(linux(users(&[Some(7), Some(7)]), None), (0o600, Some(7)));
    check(linux(users(&[Some(7), Some(8)]), None), (0o644, None));
    check(linux(users(&[Some(7), None]), None), (0o644, None));
    let group = FsGroup { gid: 5, policy: FsGroupPolicy::Always };
    check(linux(users(&[None]), Some(group)), (0o600, None));
}
