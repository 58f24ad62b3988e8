//! The guests of a pod with a sandbox of its own: the runner inside the pod, which comes with the first of them.

use std::{
    collections::{HashMap, VecDeque},
    future, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use dunlin_edge_node_core::{
    node::Told,
    sandbox::{Event, Exit, ExitCause, Owner, PROTOCOL, Request, State},
};
use dunlin_link::ContainerId;
use tokio::{net::UnixStream, task::JoinHandle};

use crate::{sandbox::connection::Connection, session::wall, sockets};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Guests {
    runner: Runner,
    /// The shim's number of the latest runner that it told of.
    number: u64,
    /// The number of the latest that is gone: news of it, or of one before, may still be under way.
    over: u64,
    /// What the runner has, as it was told last.
    known: HashMap<ContainerId, (Owner, State)>,
    /// What is asked of the runner once it is there: a few requests for each guest of the pod.
    waiting: VecDeque<Request>,
}

/// How far the runner is.
#[derive(Debug, Default)]
enum Runner {
    /// There is none.
    #[default]
    None,
    /// The shim was asked for one.
    Asked,
    /// It begins.
    Connecting(JoinHandle<io::Result<UnixStream>>),
    /// It tells what it has.
    Greeted(Connection),
    /// It takes requests.
    Ready(Connection),
}

/// Something happened.
#[derive(Debug)]
pub(super) enum News {
    Connected(io::Result<UnixStream>),
    Told(Option<Event>),
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The shim has to start a runner, since the one with this number is gone.
    Runner {
        after: u64,
    },
    Nothing,
}

impl Guests {
    /// Whether a container is the runner's affair.
    pub(super) fn knows(&self, id: &ContainerId) -> bool {
        let starts = |request: &Request| matches!(request, Request::Start(spec) if spec.id == *id);
        self.known.contains_key(id) || self.waiting.iter().any(starts)
    }

    /// Whether it is known what the runner has.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.runner, Runner::None | Runner::Ready(_))
    }

    /// Asks the runner, at once or when it is there.
    pub(super) async fn ask(&mut self, request: Request) -> Wanted {
        if let Runner::Ready(runner) = &self.runner {
            if let Request::Remove { id } = &request {
                self.known.remove(id);
            }
            // That it has ended is told by its connection.
            let _ = runner.requests.send(request).await;
            return Wanted::Nothing;
        }
        self.waiting.push_back(request);
        if matches!(self.runner, Runner::None) {
            self.runner = Runner::Asked;
            return Wanted::Runner { after: self.over };
        }
        Wanted::Nothing
    }

    /// The shim has started a runner, or has one.
    pub(super) fn opened(&mut self, number: u64, socket: PathBuf) {
        if number > self.over && matches!(self.runner, Runner::None | Runner::Asked) {
            self.number = number;
            self.runner = Runner::Connecting(tokio::spawn(connect(socket)));
        }
    }

    /// The shim says that a runner has ended; of one whose end was known before, that changes nothing.
    pub(super) fn ended(&mut self, number: u64, why: &str) -> Vec<Told> {
        if number <= self.over {
            return Vec::new();
        }
        self.number = number;
        self.lose(why)
    }

    /// The runner is gone, and its guests with it: what became of each.
    fn lose(&mut self, why: &str) -> Vec<Told> {
        self.over = self.number;
        if let Runner::Connecting(connecting) = std::mem::take(&mut self.runner) {
            connecting.abort();
        }
        let finished_at = wall();
        let exited = |cause, started_at| {
            let message = format!("the pod's runner ended: {why}");
            State::Exited(Exit { cause, message, started_at, finished_at })
        };
        let lost = self.known.drain().filter_map(|(id, (owner, state))| {
            let state = match state {
                State::Exited(_) => return None,
                State::Starting => exited(ExitCause::HostError, None),
                State::Running { started_at } => exited(ExitCause::Killed, Some(started_at)),
            };
            Some(Told::Container { id, owner, state })
        });
        let mut told: Vec<_> = lost.collect();
        for request in self.waiting.drain(..) {
            if let Request::Start(spec) = request {
                let state = exited(ExitCause::HostError, None);
                told.push(Told::Container { id: spec.id, owner: spec.owner, state });
            }
        }
        told
    }

    /// Waits for something to happen, for ever if there is no runner. May be dropped and called again.
    pub(super) async fn news(&mut self) -> News {
        match &mut self.runner {
            Runner::None | Runner::Asked => future::pending().await,
            Runner::Connecting(connecting) => {
                let connected = connecting.await;
                News::Connected(connected.unwrap_or_else(|error| Err(io::Error::other(error))))
            }
            Runner::Greeted(runner) | Runner::Ready(runner) => News::Told(runner.events.recv().await),
        }
    }

    /// Takes over what happened; answers what there is to tell.
    pub(super) async fn hear(&mut self, news: News) -> Vec<Told> {
        match news {
            News::Connected(Ok(stream)) => {
                let runner = Connection::over(stream, || {});
                let _ = runner.requests.send(Request::Hello { protocol: PROTOCOL }).await;
                self.runner = Runner::Greeted(runner);
                Vec::new()
            }
            News::Connected(Err(error)) => {
                self.runner = Runner::None;
                self.lose(&format!("it does not answer: {error}"))
            }
            News::Told(None) => self.lose("its connection ended"),
            News::Told(Some(Event::Welcome { protocol, .. })) if protocol != PROTOCOL => {
                self.lose("it is of another version")
            }
            News::Told(Some(Event::Container { id, owner, state })) => {
                self.known.insert(id.clone(), (owner.clone(), state.clone()));
                vec![Told::Container { id, owner, state }]
            }
            News::Told(Some(Event::RequestsFailed { id, owner, count, message })) => {
                vec![Told::RequestsFailed { id, owner, count, message }]
            }
            News::Told(Some(Event::Denied { id, owner, message })) => {
                vec![Told::Denied { id, owner, message }]
            }
            News::Told(Some(Event::Synced)) => {
                self.begin().await;
                Vec::new()
            }
            // A runner opens no pods.
            News::Told(Some(_)) => Vec::new(),
        }
    }

    /// The runner has told what it has: it gets what waited.
    async fn begin(&mut self) {
        if let Runner::Greeted(runner) = std::mem::take(&mut self.runner) {
            self.runner = Runner::Ready(runner);
            for request in std::mem::take(&mut self.waiting) {
                self.ask(request).await;
            }
        }
    }
}

/// Connects to a runner that is about to serve its socket.
async fn connect(socket: PathBuf) -> io::Result<UnixStream> {
    let deadline = Instant::now() + START_MAX;
    loop {
        match sockets::connect(&socket).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(START_POLL).await,
            connected => return connected,
        }
    }
}

/// How long a started runner may take until it answers; slow cards and cold caches included.
const START_MAX: Duration = Duration::from_secs(10);

/// How often a starting runner's socket is tried.
const START_POLL: Duration = Duration::from_millis(3);

#[cfg(test)]
mod tests {
    use dunlin_edge_node_core::sandbox::{ContainerSpec, GuestNetwork};
    use dunlin_link::guest::GuestSettings;

    use super::*;

    fn start(name: &str) -> Request {
        let owner = Owner {
            pod_uid: "p".to_owned(),
            namespace: "n".to_owned(),
            pod: "p".to_owned(),
            container: name.to_owned(),
            attempt: 0,
        };
        Request::Start(Box::new(ContainerSpec {
            id: ContainerId::new(name),
            owner,
            module: String::new(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            log: String::new(),
            memory_limit: None,
            cpu_limit: None,
            listen: Vec::new(),
            pod_ip: None,
            network: GuestNetwork::Pod,
            settings: GuestSettings::default(),
            mounts: Vec::new(),
            termination_message: None,
            keyvalue: None,
        }))
    }

    #[tokio::test]
    async fn the_end_of_a_runner_that_is_gone_is_no_end_of_the_next() {
        let mut guests = Guests::default();
        assert_eq!(guests.ask(start("a")).await, Wanted::Runner { after: 0 });
        guests.opened(1, "/no/such/socket".into());
        // Its connection ends before its shim has told of its end.
        assert_eq!(guests.hear(News::Told(None)).await.len(), 1);
        assert_eq!(guests.ask(start("b")).await, Wanted::Runner { after: 1 });
        assert_eq!(guests.ended(1, "late"), []);
        guests.opened(1, "/no/such/socket".into());
        assert!(matches!(guests.runner, Runner::Asked), "the one that is gone was told of late");
        assert!(guests.knows(&ContainerId::new("b")));
        // The next one may end before it was ever told of.
        let lost = guests.ended(2, "early");
        assert!(matches!(&lost[..], [Told::Container { id, .. }] if id.as_str() == "b"), "{lost:?}");
        assert_eq!(guests.ask(start("c")).await, Wanted::Runner { after: 2 });
    }
}
