//! One pod's own sandbox, as a task of the agent: the shim with its Linux containers, and the runner inside the pod with its guests, which
//! are one sandbox to the core.
//!
//! The shim is found or started, greeted, and told to open the pod. The runner is started by the shim with the first guest. When the shim
//! is gone, everything of the pod is, and what it left is cleaned up before that is told.

mod asks;
mod guests;
mod shim;

pub(super) use self::asks::{Asked, Asks, Beginning};
pub(crate) use self::shim::end_left_over;

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use dunlin_edge_node_core::{
    node::{SandboxOrder, Told},
    sandbox::{Event, Request, stream},
};
use dunlin_link::PodUid;
use tokio::sync::mpsc;

use self::{
    asks::Orders,
    guests::{Guests, Wanted},
};
use super::{
    connection::Connection,
    door::Doors,
    pods::{ContainerKit, PodTold},
};

/// See the module.
#[derive(Debug)]
pub(super) struct PodSandbox {
    uid: PodUid,
    /// The pod's folder.
    dir: PathBuf,
    kit: Arc<ContainerKit>,
    doors: Doors,
    tell: mpsc::Sender<PodTold>,
    number: u64,
    /// What the sandbox is to be.
    order: Option<Box<SandboxOrder>>,
}

/// A shim that is spoken with.
#[derive(Debug)]
struct Live {
    shim: Connection,
    /// Its process, as long as it was there when it was connected to.
    process: Option<OwnedFd>,
    /// What it calls its OCI runtime.
    runtime: String,
    guests: Guests,
    /// Where the pod's network namespace is; `None` for the machine's.
    netns: Option<String>,
}

/// Which of a pod's two sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Shim,
    Runner,
}

/// Why a shim is not spoken with any more.
#[derive(Debug)]
enum End {
    /// The connection ended.
    Lost,
    /// The pod is closed.
    Closed,
    /// The agent ends.
    AgentEnds,
}

impl PodSandbox {
    pub(super) fn new(
        (uid, dir): (PodUid, PathBuf),
        kit: Arc<ContainerKit>,
        doors: Doors,
        tell: mpsc::Sender<PodTold>,
    ) -> Self {
        Self { uid, dir, kit, doors, tell, number: INHERITED, order: None }
    }

    /// Serves the pod until it is closed.
    pub(super) async fn run(mut self, beginning: Beginning, mut asks: Asks) {
        let mut live = match beginning {
            Beginning::Asked => None,
            Beginning::Inherited(order, in_order) => {
                self.order = order;
                in_order.await;
                let live = self.adopt().await;
                if live.is_none() {
                    self.clean().await;
                    self.tell(Told::Gone).await;
                }
                live
            }
        };
        loop {
            live = match live {
                None => match self.opened(&mut asks).await {
                    Ok(opened) => opened,
                    Err(End::Closed) => return self.clean().await,
                    Err(End::AgentEnds | End::Lost) => return,
                },
                Some(mut speaking) => match self.serve(&mut speaking, &mut asks).await {
                    End::AgentEnds => return,
                    End::Closed => {
                        speaking.end(&self.uid).await;
                        return self.clean().await;
                    }
                    End::Lost => {
                        self.tell(Told::Unsure).await;
                        drop(speaking);
                        let again = self.adopt().await;
                        if again.is_none() {
                            self.clean().await;
                            self.tell(Told::Gone).await;
                        }
                        again
                    }
                },
            };
        }
    }

    /// Waits until the sandbox is asked for, and makes it; `None` where that failed, which was told.
    async fn opened(&mut self, asks: &mut Asks) -> Result<Option<Live>, End> {
        loop {
            match asks.queue.recv().await {
                None => return Err(End::AgentEnds),
                Some(Asked::Close) => return Err(End::Closed),
                // Meant for one that is gone.
                Some(Asked::Request(..)) => {}
                Some(Asked::Open(number, order)) => {
                    self.number = number;
                    let opened = self.open(&order).await;
                    self.order = Some(order);
                    return Ok(match opened {
                        Ok((live, given)) => {
                            self.tell(Told::Opened { given }).await;
                            self.tell(Told::Synced { runtime: live.runtime.clone() }).await;
                            Some(live)
                        }
                        Err(why) => {
                            self.clean().await;
                            self.tell(Told::NotOpened(why)).await;
                            None
                        }
                    });
                }
            }
        }
    }

    /// Speaks with shim and runner until either the shim or the agent has had enough.
    async fn serve(&mut self, live: &mut Live, asks: &mut Asks) -> End {
        loop {
            tokio::select! {
                event = live.shim.events.recv() => match event {
                    None => return End::Lost,
                    Some(event) => self.hear_shim(live, event).await,
                },
                news = live.guests.news() => {
                    for told in live.guests.hear(news).await {
                        self.pass_on(Side::Runner, told).await;
                    }
                }
                () = asks.missed.notified() => {
                    tracing::warn!(pod = %self.uid, "more was asked of a pod's sandbox than may wait; it gives an account of all it has");
                    return self.follow(asks.forget_requests());
                }
                asked = asks.queue.recv() => match asked {
                    None => return End::AgentEnds,
                    Some(Asked::Close) => return End::Closed,
                    // There is one already, of which the core has heard under another number, or not at all: it is told of all again.
                    Some(Asked::Open(number, order)) => {
                        self.number = number;
                        self.order = Some(order);
                        return End::Lost;
                    }
                    Some(Asked::Request(number, request)) => {
                        if number == self.number && self.ask(live, *request).await.is_err() {
                            return End::Lost;
                        }
                    }
                },
            }
        }
    }

    /// What is missing after the account that follows is asked for again.
    fn follow(&mut self, orders: Orders) -> End {
        if let Some((number, order)) = orders.open {
            (self.number, self.order) = (number, Some(order));
        }
        if orders.closes { End::Closed } else { End::Lost }
    }

    async fn hear_shim(&self, live: &mut Live, event: Event) {
        match event {
            Event::Container { id, owner, state } => {
                self.pass_on(Side::Shim, Told::Container { id, owner, state }).await;
            }
            Event::RunnerOpened { number, .. } => live.guests.opened(number, self.runner_socket()),
            Event::RunnerEnded { number, message } => {
                for told in live.guests.ended(number, &message) {
                    self.pass_on(Side::Runner, told).await;
                }
            }
            // Said at the beginning; a shim has no guests.
            Event::Welcome { .. }
            | Event::Synced
            | Event::PodOpened { .. }
            | Event::PodFailed { .. }
            | Event::RequestsFailed { .. }
            | Event::Denied { .. } => {}
        }
    }

    /// Hands a request to whoever has the container.
    async fn ask(&self, live: &mut Live, request: Request) -> Result<(), mpsc::error::SendError<Request>> {
        let is_guest = match &request {
            Request::Start(_) => true,
            Request::Stop { id, .. } | Request::Remove { id } => live.guests.knows(id),
            _ => false,
        };
        if let Request::Remove { id } = &request {
            self.doors.remove(id);
        }
        if !is_guest {
            return live.shim.requests.send(request).await;
        }
        if let Wanted::Runner { after } = live.guests.ask(request).await {
            let open = Request::OpenRunner { spec: Box::new(self.runner_spec()), after };
            live.shim.requests.send(open).await?;
        }
        Ok(())
    }

    /// Tells the core, and remembers behind which door a container is.
    async fn pass_on(&self, side: Side, told: Told) {
        if let Told::Container { id, .. } = &told {
            self.doors.put(id.clone(), self.door(side));
        }
        self.tell(told).await;
    }

    fn door(&self, side: Side) -> PathBuf {
        match side {
            Side::Shim => self.dir.join(stream::SOCKET),
            Side::Runner => self.runner_socket().with_file_name(stream::SOCKET),
        }
    }

    fn runner_socket(&self) -> PathBuf {
        self.dir.join(GUESTS).join(RUNNER_SOCKET)
    }

    async fn tell(&self, told: Told) {
        // An agent that is gone needs no news.
        let _ = self.tell.send(PodTold { uid: self.uid.clone(), number: self.number, told }).await;
    }
}

/// The number of a sandbox that an earlier agent made.
pub(super) const INHERITED: u64 = 0;

/// The folder of the pod's runner in the pod's own, and its socket there.
const GUESTS: &str = "wasm";
const RUNNER_SOCKET: &str = "runner.sock";

/// How long a shim may take to do what it is told once, on a slow machine that does a hundred things at once.
const ANSWER_MAX: Duration = Duration::from_secs(60);
