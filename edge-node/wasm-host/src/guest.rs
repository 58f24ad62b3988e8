//! What one run of a program is given.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{coredump::CoreDumps, input::Input, keyvalue::Buckets, stdio::Output};

/// Arguments, environment, limits and streams of one run.
#[derive(Clone)]
pub struct Guest {
    /// What of the program is called.
    pub entry: EntryChoice,
    /// `argv`, the program's name included; a first word of `#NAME` calls the exported function of that name instead.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Initial working directory, where the guest's interface has one.
    pub working_dir: Option<String>,
    /// What standard input holds.
    pub input: Input,
    /// Where standard output and standard error go.
    pub output: Arc<dyn Output>,
    /// Limit on all linear memories, tables, and what the host holds for instances, together; `None` is half of the machine's memory,
    /// or of what this process may have of it. Together guests have less, and those without a limit are refused first.
    pub memory_bytes_max: Option<u64>,
    /// CPU limit in thousandths of a core; `None` is none.
    pub cpu_milli_max: Option<u64>,
    /// The only ports that the guest may listen on; an HTTP handler is served on the first for TCP.
    pub listen: Vec<Listening>,
    /// The pod's address as others know it.
    pub pod_ip: Option<IpAddr>,
    /// Whose `localhost` it sees.
    pub loopback: Loopback,
    /// Where the guest may connect to.
    pub egress: Egress,
    /// How the instances of an HTTP handler are used.
    pub serving: Serving,
    /// Keeps the buckets of `wasi:keyvalue`; `None` where there are none.
    pub buckets: Option<Arc<dyn Buckets>>,
    /// Told of each request whose instance trapped, with what is said of the trap.
    pub on_failure: Option<OnFailure>,
    /// Told of what the guest was refused of the network, in words.
    pub on_denied: Option<OnDenied>,
    /// Who keeps core dumps of its traps; `None` is nobody.
    pub core_dumps: Option<Arc<dyn CoreDumps>>,
    /// The only folders that the guest sees.
    pub preopens: Vec<Preopen>,
}

/// Hears what went wrong. It must not block.
pub type OnFailure = Arc<dyn Fn(&str) + Send + Sync>;

/// Hears what was refused. It must not block.
pub type OnDenied = Arc<dyn Fn(&str) + Send + Sync>;

impl Guest {
    /// A guest that writes to `output`, and has nothing else and no limits.
    pub fn new(output: Arc<dyn Output>) -> Self {
        Self {
            entry: EntryChoice::Detected,
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            input: Input::new(),
            output,
            memory_bytes_max: None,
            cpu_milli_max: None,
            listen: Vec::new(),
            pod_ip: None,
            loopback: Loopback::Machine,
            egress: Egress::Open,
            serving: Serving::default(),
            buckets: None,
            on_failure: None,
            on_denied: None,
            core_dumps: None,
            preopens: Vec::new(),
        }
    }
}

impl Guest {
    /// The port on which an HTTP handler is served.
    pub(crate) fn served(&self) -> Option<&Listening> {
        self.listen.iter().find(|listening| listening.transport == Transport::Tcp)
    }
}

/// A port that a container declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// As it was declared, and as the guest knows it.
    pub port: u16,
    /// What it is for.
    pub transport: Transport,
    /// Where it is on the machine.
    pub address: SocketAddr,
    /// Where others reach it from outside of the machine, if anywhere (`hostPort`): at one address of the machine, or at all that it has
    /// where this is the unspecified one. A port with several such places is listed with each.
    pub host: Option<SocketAddr>,
}

impl Listening {
    /// A port for connections that is on the machine as it was declared.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { port: address.port(), transport: Transport::Tcp, address, host: None }
    }

    /// Whether both are places of the same port.
    pub(crate) fn is_same_port(&self, other: &Self) -> bool {
        (self.port, self.transport) == (other.port, other.transport)
    }
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Whose `localhost` a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// The machine's, on which other pods and the node itself listen; what they declare may be reached, and no more.
    Machine,
    /// That of its own pod: the process is in the pod's network.
    Pod,
}

/// Where a guest may connect to, whatever it connects with. The machine's own loopback is nowhere in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Anywhere.
    #[default]
    Open,
    /// To these targets; only their names may be looked up.
    Only(Vec<EgressTarget>),
}

/// Hosts, and one port of them if it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressTarget {
    /// Which.
    pub hosts: EgressHosts,
    /// The only port; `None` is any.
    pub port: Option<u16>,
}

/// Hosts of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressHosts {
    /// One name, in lower case; an address is one of it when a look-up said so.
    Name(String),
    /// All names below this one, in lower case.
    Below(String),
    /// All addresses that begin with as many bits of this one.
    Range {
        /// The first of them.
        address: IpAddr,
        /// Bits.
        prefix: u8,
    },
}

/// What of a program is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryChoice {
    /// Whatever it has: a command, an HTTP handler, or, where there is a port for it, both beside each other.
    #[default]
    Detected,
    /// Its command.
    Run,
    /// Its HTTP handler.
    Http,
}

/// How the instances of an HTTP handler are used; what is not said depends on the version of its interface. A handler of 0.2 takes one
/// request at a time, and an instance answers one request; an instance of 0.3 takes more at a time, and more in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Instances at once.
    pub instances_max: Option<NonZeroU32>,
    /// Requests that an instance takes at once.
    pub concurrency: Option<NonZeroU32>,
    /// Requests that an instance takes in all.
    pub reuse_max: Option<NonZeroU32>,
    /// How long a handler may take until its answer begins.
    pub request_timeout: Option<Duration>,
    /// How long an instance without requests is kept.
    pub idle_timeout: Option<Duration>,
}

/// A folder of the machine that a guest sees. It must stay there for as long as the guest runs: each instance opens it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preopen {
    /// On the machine.
    pub dir: PathBuf,
    /// Where the guest sees it; absolute.
    pub path: String,
    /// What the guest may do there.
    pub access: Access,
}

/// What a guest may do in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and change.
    ReadWrite,
    /// Read.
    ReadOnly,
}

/// A command that runs beside a container's own guest, in its environment and limits.
#[derive(Clone)]
pub struct Exec {
    /// `argv`; a first word of `#NAME` calls the exported function of that name.
    pub command: Vec<String>,
    /// What standard input holds.
    pub input: Input,
    /// Where standard output and standard error go.
    pub output: Arc<dyn Output>,
    /// Whether its streams are a terminal's.
    pub terminal: Terminal,
}

/// Whether a guest's streams are a terminal's, which guests can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// They are not.
    No,
    /// They are.
    Yes,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be secret.
        f.debug_struct("Exec").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may hold secrets.
        f.debug_struct("Guest")
            .field("args", &self.args)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
