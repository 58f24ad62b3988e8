//! One digest that several pods name: it is fetched once, by the names that they have for it.

use dunlin_link::{Digest, pod::PodAssignment, status::ContainerState};

use super::{
    super::Arrived,
    harness::{Node, assignment},
};

fn module() -> Digest {
    Digest::of(b"m")
}

fn naming(pod: &str, reference: &str) -> PodAssignment {
    let mut assignment = assignment(pod);
    let image = &mut assignment.spec.containers[0].image;
    (image.reference, image.digest) = (reference.to_owned(), Some(module()));
    assignment
}

impl Node {
    fn fetched(&mut self, result: Result<(), &str>) {
        let result = result.map(|()| Arrived { took_ms: 1, bytes: 2 }).map_err(str::to_owned);
        self.core.handle_fetched(module(), result, self.now);
        self.carry();
    }

    fn asked_by(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fetches).into_iter().map(|(_, reference)| reference).collect()
    }

    fn waits_for(&self, pod: &str) -> String {
        match &self.report(pod).expect("it has reported").containers[0].state {
            ContainerState::Waiting { reason, message } => format!("{reason}: {message}"),
            state => format!("{state:?}"),
        }
    }
}

#[test]
fn a_name_that_is_wrong_fails_its_own_pods_only() {
    let mut node = Node::new();
    node.absent.insert(module());
    let (wrong, right) = (format!("dunlin.local/wrong@{}", module()), format!("dunlin.local/m@{}", module()));
    let pods = [("a", &wrong), ("b", &right), ("c", &wrong)].map(|(pod, name)| naming(pod, name));
    node.make(|change| pods.into_iter().fold(change, |change, pod| change.assign_pod(pod)));
    assert_eq!(node.asked_by(), std::slice::from_ref(&wrong), "once");
    node.fetched(Err("it was not pushed there"));
    assert_eq!(node.asked_by(), std::slice::from_ref(&right));
    node.settle_for(1_000);
    for pod in ["a", "c"] {
        assert!(node.waits_for(pod).ends_with("ErrImagePull: it was not pushed there"), "{pod}");
    }
    assert_eq!(node.waits_for("b"), "ContainerCreating: ");
    node.fetched(Ok(()));
    assert_eq!(node.running(), ["b"]);
    // What is here is here under any name.
    node.absent.clear();
    node.settle_for(20_000);
    assert_eq!(node.asked_by(), Vec::<String>::new());
    assert_eq!(node.running(), ["a", "b", "c"]);
}

#[test]
fn a_name_of_a_pod_that_has_gone_is_followed_by_that_of_one_that_waits() {
    let mut node = Node::new();
    node.absent.insert(module());
    node.make(|change| change.assign_pod(naming("a", "dunlin.local/a")));
    assert_eq!(node.asked_by(), ["dunlin.local/a"]);
    node.make(|change| change.bury("a").assign_pod(naming("b", "dunlin.local/b")));
    node.settle_for(1_000);
    node.make(|change| change.forget("a"));
    assert_eq!(node.asked_by(), Vec::<String>::new(), "one fetch at a time");
    node.fetched(Err("no"));
    assert_eq!(node.asked_by(), ["dunlin.local/b"]);
    node.fetched(Err("neither"));
    node.settle_for(1_000);
    assert_eq!(node.asked_by(), Vec::<String>::new());
    assert!(node.waits_for("b").ends_with("ErrImagePull: neither"));
    // The next attempt asks anew.
    node.settle_for(10_000);
    assert_eq!(node.asked_by(), ["dunlin.local/b"]);
    node.fetched(Ok(()));
    assert_eq!(node.running(), ["b"]);
}
