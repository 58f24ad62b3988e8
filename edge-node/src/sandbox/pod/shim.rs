//! The life of a pod's shim as the agent brings it about: found or started, greeted, told to open the pod, ended, cleaned up after.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    net::Ipv4Addr,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use dunlin_edge_node_core::{
    node::{SandboxOrder, Told},
    sandbox::{Event, PROTOCOL, Request, linux::RunnerSpec},
};
use dunlin_link::PodUid;
use dunlin_oci_shim::{Args, Purpose, SOCKET};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{net::UnixStream, process::Command, time::timeout};

use super::{ANSWER_MAX, GUESTS, Guests, Live, PodSandbox, Side};
use crate::{
    sandbox::{connection::Connection, pods::left_over},
    sockets,
};

impl PodSandbox {
    /// Takes over a shim that goes on, with all that it has; `None` where there is none that is of use: one that is there is ended.
    pub(super) async fn adopt(&mut self) -> Option<Live> {
        let stream = sockets::connect(&self.dir.join(SOCKET)).await.ok()?;
        let mut live = Live::over(stream);
        let why = match timeout(ANSWER_MAX, self.greet(&mut live)).await {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(_late) => Some("it does not answer"),
        };
        if let Some(why) = why {
            tracing::warn!(pod = %self.uid, why, "a pod's sandbox cannot be taken over; its containers end");
            live.end(&self.uid).await;
            return None;
        }
        let given = match self.order.take() {
            Some(order) => {
                let given = self.attach(&order, &live).await.unwrap_or_else(|why| {
                    tracing::warn!(pod = %self.uid, why, "the network of a pod that goes on could not be mended");
                    None
                });
                self.order = Some(order);
                given
            }
            None => None,
        };
        self.tell(Told::Opened { given }).await;
        self.tell(Told::Synced { runtime: live.runtime.clone() }).await;
        Some(live)
    }

    /// Starts a shim, has it open the pod, and attaches that to the node's network; answers the pod's address where the network gave it one.
    /// Where that fails nothing of it goes on.
    pub(super) async fn open(&mut self, order: &SandboxOrder) -> Result<(Live, Option<Ipv4Addr>), String> {
        let stream = self.start().await.map_err(|error| format!("failed to start the shim: {error}"))?;
        let mut live = Live::over(stream);
        let opened = async {
            timeout(ANSWER_MAX, open_pod(&mut live, order))
                .await
                .unwrap_or_else(|_late| Err("the shim does not answer".to_owned()))?;
            let given = self.attach(order, &live).await;
            given.map_err(|why| format!("failed to set up its network: {why}"))
        };
        match opened.await {
            Ok(given) => Ok((live, given)),
            Err(why) => {
                live.end(&self.uid).await;
                Err(why)
            }
        }
    }

    /// Puts the pod's network namespace onto the node's network; one that uses the machine's has none.
    async fn attach(&self, order: &SandboxOrder, live: &Live) -> Result<Option<Ipv4Addr>, String> {
        let Some(netns) = &live.netns else { return Ok(None) };
        let given = self.kit.network.attach(order, netns).await?;
        self.doors.put_network(self.uid.clone(), netns.into());
        Ok(given)
    }

    /// Removes all that is left of the pod's sandbox. What cannot be removed now is tried again by the next agent.
    pub(super) async fn clean(&self) {
        for side in [Side::Shim, Side::Runner] {
            self.doors.close(&self.door(side));
        }
        self.doors.remove_network(&self.uid);
        self.kit.network.detach(&self.uid).await;
        if !self.dir.exists() {
            return;
        }
        let cleaned = async {
            // One that takes too long ends before anything else is begun in the folder.
            let status = self.command(Purpose::Clean)?.kill_on_drop(true).status();
            let status = timeout(ANSWER_MAX, status).await.map_err(io::Error::other)??;
            if !status.success() {
                return Err(io::Error::other(format!(
                    "it ended with {status}; {} says why",
                    self.kit.log.display()
                )));
            }
            match fs::remove_dir_all(&self.dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        };
        if let Err(error) = cleaned.await {
            tracing::warn!(%error, pod = %self.uid, "what is left of a pod's sandbox could not be removed");
        }
    }

    /// How the runner inside the pod is started.
    pub(super) fn runner_spec(&self) -> RunnerSpec {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let socket = self.runner_socket();
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(self.dir.join(GUESTS)) {
            // The runner finds no place for its socket then, and says so.
            tracing::warn!(%error, pod = %self.uid, "no folder for the runner of a pod");
        }
        RunnerSpec {
            // The shim may be another program. The kernel finds this one also where its file has been replaced.
            program: format!("/proc/{}/exe", std::process::id()),
            args: self.kit.runner_args.clone(),
            socket: text(&socket),
            log: text(&self.kit.log),
        }
    }

    /// Hears what a shim has.
    async fn greet(&self, live: &mut Live) -> Result<(), &'static str> {
        let _ = live.shim.requests.send(Request::Hello { protocol: PROTOCOL }).await;
        let mut is_open = false;
        loop {
            match live.shim.events.recv().await {
                None => return Err("it ended"),
                Some(Event::Welcome { protocol, .. }) if protocol != PROTOCOL => {
                    return Err("it is of another version");
                }
                Some(Event::Welcome { runtime, .. }) => live.runtime = runtime,
                Some(Event::PodOpened { netns }) => {
                    live.netns = netns;
                    is_open = true;
                }
                Some(Event::Synced) => break,
                Some(event) => self.hear_shim(live, event).await,
            }
        }
        if !is_open {
            return Err("it had not opened the pod yet");
        }
        while !live.guests.is_settled() {
            let news = live.guests.news().await;
            for told in live.guests.hear(news).await {
                self.pass_on(Side::Runner, told).await;
            }
        }
        Ok(())
    }

    /// Starts a shim and connects to it.
    async fn start(&self) -> io::Result<UnixStream> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut child = self.command(Purpose::Serve)?.spawn()?;
        let deadline = Instant::now() + START_MAX;
        loop {
            match sockets::connect(&self.dir.join(SOCKET)).await {
                Ok(stream) => {
                    // Reaps it at its end; the connection's end is what is acted on.
                    tokio::spawn(async move { child.wait().await });
                    return Ok(stream);
                }
                Err(error) if Instant::now() > deadline => {
                    child.kill().await?;
                    return Err(error);
                }
                Err(_) => {}
            }
            if let Some(status) = child.try_wait()? {
                let log = self.kit.log.display();
                return Err(io::Error::other(format!("it ended at once ({status}); see {log}")));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    fn command(&self, purpose: Purpose) -> io::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(&self.kit.log)?;
        let args = Args {
            dir: self.dir.clone(),
            runtime: self.kit.runtime.clone(),
            runtime_version: self.kit.runtime_version.clone(),
            log_bounds: self.kit.log_bounds,
            purpose,
        };
        let mut command = Command::from(self.kit.shim.command());
        command
            .args(args.words())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: neither a terminal's interrupt nor the agent's end reaches it.
            .process_group(0)
            .kill_on_drop(false);
        Ok(command)
    }
}

impl Live {
    fn over(stream: UnixStream) -> Self {
        let peer = stream.peer_cred().ok().and_then(|peer| Pid::from_raw(peer.pid()?));
        Self {
            process: peer.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
            shim: Connection::over(stream, || {}),
            runtime: String::new(),
            guests: Guests::default(),
            netns: None,
        }
    }

    /// Ends the shim and all that it has; one that does not listen is killed.
    pub(super) async fn end(mut self, pod: &PodUid) {
        // That it is gone already is as good.
        let _ = self.shim.requests.send(Request::Shutdown).await;
        let ended = async { while self.shim.events.recv().await.is_some() {} };
        if timeout(ANSWER_MAX, ended).await.is_err() {
            tracing::warn!(%pod, "a pod's shim does not end when told, and is killed");
            if let Some(process) = &self.process {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}

/// Has a shim that was just started make what the pod's containers share.
async fn open_pod(live: &mut Live, order: &SandboxOrder) -> Result<(), String> {
    let _ = live.shim.requests.send(Request::Hello { protocol: PROTOCOL }).await;
    let _ = live.shim.requests.send(Request::OpenPod(Box::new(order.linux.clone()))).await;
    loop {
        match live.shim.events.recv().await {
            None => return Err("the shim ended; its log says why".to_owned()),
            Some(Event::Welcome { runtime, .. }) => live.runtime = runtime,
            Some(Event::PodOpened { netns }) => {
                live.netns = netns;
                return Ok(());
            }
            Some(Event::PodFailed { message }) => return Err(message),
            Some(_) => {}
        }
    }
}

/// Has the shims below a folder of pods end with all that they have, on a node that runs no Linux containers any more.
pub(crate) async fn end_left_over(folder: &Path) {
    for uid in left_over(folder) {
        let Ok(stream) = sockets::connect(&folder.join(uid.as_str()).join(SOCKET)).await else { continue };
        tracing::warn!(pod = %uid, "this node runs no Linux containers any more; those of a pod end");
        let live = Live::over(stream);
        let _ = live.shim.requests.send(Request::Hello { protocol: PROTOCOL }).await;
        live.end(&uid).await;
    }
}

/// How long a started shim may take until it answers.
const START_MAX: Duration = Duration::from_secs(10);

/// How often a starting shim's socket is tried.
const START_POLL: Duration = Duration::from_millis(1);
