//! The shim's one loop: waits for whatever may happen, tells the machine, and does what it says.

mod act;
mod dying;
mod operation;
mod pod;
mod postponed;
mod runner;
mod strays;
mod streams;
mod wait;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node_core::{
    clock::{Mono, Now},
    sandbox::{Event, PROTOCOL, Request, stream},
};
use dunlin_link::{ContainerId, UnixMillis};

pub(crate) use self::pod::{HOSTNAME, HOSTS, RESOLV_CONF, SHARED_MEMORY};
use self::{
    dying::Dying, operation::Running, pod::Pod, postponed::Postponed, runner::Runners, streams::Stream,
};
use crate::{
    Args,
    cgroup::Cgroups,
    clean,
    connection::{Connection, Greeting},
    container::{Container, Held},
    machine::Machine,
    runtime::Runtime,
    say,
    socket::SocketPath,
    spec::Available,
    sys,
    volume::Mounts,
};

/// One pod's.
#[derive(Debug)]
pub(crate) struct Shim {
    args: Args,
    runtime: Runtime,
    available: Available,
    cgroups: Cgroups,
    began: Instant,
    machine: Machine,
    mounts: Mounts,
    listener: UnixListener,
    agent: Option<Connection>,
    pod: Option<Pod>,
    /// What is to be told of it: the latest.
    untold_of_pod: Option<Event>,
    /// Its runners of WASM.
    runners: Runners,
    containers: BTreeMap<ContainerId, Container>,
    /// Containers that cannot begin yet.
    postponed: Vec<Postponed>,
    operations: Vec<Running>,
    /// Containers whose last processes end.
    dying: BTreeMap<ContainerId, Dying>,
    /// Where streams are opened.
    callers: UnixListener,
    streams: BTreeMap<u64, Stream>,
    /// The number of the latest stream.
    latest_stream: u64,
    /// Processes that were killed because their callers are gone, until they end.
    abandoned: Vec<Held>,
    /// Until when children may turn up that nobody knows.
    strays_until: Option<Instant>,
}

impl Shim {
    /// Takes away what an earlier shim of the pod left, and opens the socket.
    pub(crate) fn new(args: Args) -> io::Result<Self> {
        sys::keep_inherited_files()?;
        // Environments, which may hold secrets, are in bundles.
        fs::set_permissions(&args.dir, fs::Permissions::from_mode(0o700))?;
        let (listener, callers) = (listen(&args.dir.join(SOCKET))?, listen(&args.dir.join(STREAMS))?);
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mounts = Mounts::leave_machine()?;
        let runtime = Runtime { program: args.runtime.clone(), root: args.dir.join("runtime") };
        let cgroups = Cgroups::of_this_machine();
        clean::leftovers(&args.dir, &runtime, &cgroups);
        fs::create_dir_all(args.dir.join(CONTAINERS))?;
        Ok(Self {
            runtime,
            available: Available::of_this_process()?,
            cgroups,
            began: Instant::now(),
            machine: Machine::default(),
            mounts,
            listener,
            agent: None,
            pod: None,
            untold_of_pod: None,
            runners: Runners::default(),
            containers: BTreeMap::new(),
            postponed: Vec::new(),
            operations: Vec::new(),
            dying: BTreeMap::new(),
            callers,
            streams: BTreeMap::new(),
            latest_stream: 0,
            abandoned: Vec::new(),
            strays_until: None,
            args,
        })
    }

    /// Serves until an agent has it shut down and nothing is left.
    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            self.act();
            self.tell();
            if self.machine.is_finished() && self.operations.is_empty() && !self.runners.has_one() {
                break;
            }
            for what in self.wait()? {
                self.handle(&what);
            }
            self.give_up_slow_operations();
            self.give_up_dying();
            self.give_up_postponed();
            self.give_up_stalled();
            self.bury_strays();
            let now = self.now();
            self.machine.handle_timeout(now);
        }
        if let Some(pod) = &self.pod {
            // The first process of those that are shared, and what the runner started.
            clean::processes(&self.cgroups, &pod.cgroup);
            self.cgroups.remove(&pod.cgroup);
            self.cgroups.weigh_above(&pod.cgroup);
        }
        clean::folder(&self.args.dir);
        Ok(())
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mono = self.began.elapsed().as_millis();
        Now {
            wall: UnixMillis(i64::try_from(wall).unwrap_or(i64::MAX)),
            mono: Mono(i64::try_from(mono).unwrap_or(i64::MAX)),
        }
    }

    /// A new agent replaces an older one.
    fn accept(&mut self) {
        let accepted = self.listener.accept().and_then(|(stream, _address)| {
            if is_same_user(&stream) {
                Connection::new(stream)
            } else {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        });
        match accepted {
            Ok(connection) => self.agent = Some(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => say(&format!("a connection was refused: {error}")),
        }
    }

    /// Reads what the agent asks, and writes what it has not been told.
    fn serve_agent(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        match agent.read().and_then(|requests| agent.write().map(|()| requests)) {
            Ok(requests) => requests.into_iter().for_each(|request| self.handle_request(request)),
            Err(error) => {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    say(&format!("an agent's connection failed: {error}"));
                }
                self.agent = None;
            }
        }
    }

    fn handle_request(&mut self, request: Request) {
        let now = self.now();
        let greeting = self.agent.as_ref().map_or(Greeting::NotYet, |agent| agent.greeting);
        match (request, greeting) {
            (Request::Hello { protocol }, _) => self.greet(protocol),
            (Request::Shutdown, _) => {
                self.machine.handle_shutdown(now);
                self.kill_runner();
            }
            (_, Greeting::NotYet | Greeting::OtherVersion) => {
                say("a request came before a greeting of our version; it is ignored");
            }
            (Request::StartLinux(spec), Greeting::Done) => self.machine.handle_start(spec),
            (Request::Start(spec), Greeting::Done) => {
                say(&format!("container {} is WASM, which a shim does not run; it is ignored", spec.id));
            }
            (Request::Stop { id, grace_ms }, Greeting::Done) => self.machine.handle_stop(&id, grace_ms, now),
            (Request::Remove { id }, Greeting::Done) => self.machine.handle_remove(&id),
            (Request::OpenPod(pod), Greeting::Done) => self.open_pod(*pod),
            (Request::OpenRunner { spec, after }, Greeting::Done) => self.open_runner(*spec, after),
        }
    }

    fn greet(&mut self, protocol: u32) {
        let Some(agent) = &mut self.agent else { return };
        agent.tell(&Event::Welcome {
            protocol: PROTOCOL,
            pid: std::process::id(),
            runtime: self.args.runtime_version.clone(),
            target: String::new(),
        });
        if protocol != PROTOCOL {
            agent.greeting = Greeting::OtherVersion;
            return;
        }
        agent.greeting = Greeting::Done;
        self.machine.tell_all();
        self.tell_pod();
        self.tell_runner();
        let Some(agent) = &mut self.agent else { return };
        let shared = [self.untold_of_pod.take(), self.runners.untold.take()];
        shared.iter().flatten().for_each(|event| agent.tell(event));
        // How many there are is bounded, and so is what is said of each.
        while let Some((id, owner, state)) = self.machine.poll_changed() {
            agent.tell(&Event::Container { id, owner, state });
        }
        agent.tell(&Event::Synced);
    }

    /// Tells the agent what changed, as far as it reads. Without one nothing need be kept: the next is told everything.
    fn tell(&mut self) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.greeting == Greeting::Done) else {
            return;
        };
        for untold in [&mut self.untold_of_pod, &mut self.runners.untold] {
            if agent.has_room()
                && let Some(event) = untold.take()
            {
                agent.tell(&event);
            }
        }
        while agent.has_room()
            && let Some((id, owner, state)) = self.machine.poll_changed()
        {
            agent.tell(&Event::Container { id, owner, state });
        }
        // A connection that has ended is noticed when it is read.
        let _ = agent.write();
    }

    fn containers_dir(&self) -> PathBuf {
        self.args.dir.join(CONTAINERS)
    }
}

/// Opens the socket at `path`, replacing one that nobody answers on.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let until = Instant::now() + FORKED_MAX;
    // A shim that was killed while it started a command has left a copy of itself, which goes when it becomes that command.
    let socket = SocketPath::of(path)?;
    while UnixStream::connect(socket.path()).is_ok() {
        if Instant::now() > until {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another shim answers on this socket"));
        }
        thread::sleep(FORKED_MAX / 100);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket.path())?;
    // Whoever can speak here can run anything on the machine.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

pub(super) fn is_same_user(stream: &UnixStream) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    peer.is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

/// How long a process may take from its beginning as a copy to its own program.
const FORKED_MAX: Duration = Duration::from_secs(1);
/// The socket for agents, in the pod's folder.
pub(crate) const SOCKET: &str = "shim.sock";
/// The folder that holds those of containers, in the pod's.
pub(crate) const CONTAINERS: &str = "containers";
/// The socket for streams.
const STREAMS: &str = stream::SOCKET;
