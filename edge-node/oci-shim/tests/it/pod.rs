//! A pod's shim as an agent has it.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    process::Child,
    sync::OnceLock,
    time::{Duration, Instant},
};

use dunlin_edge_node_core::sandbox::{
    Event, Exit, Owner, PROTOCOL, Request, State,
    linux::{
        LinuxPod, LinuxResources, LinuxSpec, LinuxUser, PodNetwork, ProcessSharing, Security, Share, Stdio,
    },
};
use dunlin_link::{ContainerId, codec};
use dunlin_oci_shim::{Args, LogBounds, Program, Purpose, SOCKET, SocketPath};

/// The runtimes that can be tried; says why there are none.
pub(crate) fn runtimes() -> Vec<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run containers");
        return Vec::new();
    }
    if !Path::new(BUSYBOX).exists() {
        eprintln!("skipped: there is no {BUSYBOX}, of the package busybox-static");
        return Vec::new();
    }
    // For instance `/opt/youki`, to see what another one makes of it.
    if let Some(asked) = env::var_os("DUNLIN_OCI_RUNTIMES") {
        return env::split_paths(&asked).collect();
    }
    let found = ["/usr/bin/crun", "/usr/sbin/runc", "/usr/bin/runc", "/usr/bin/youki"];
    let found: Vec<PathBuf> = found.into_iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    if found.is_empty() {
        eprintln!("skipped: there is no OCI runtime");
    }
    found
}

/// A shim that runs, and an agent's connection to it.
pub(crate) struct Pod {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) shim: Child,
    pub(crate) args: Args,
    stream: UnixStream,
    pub(crate) cgroup: String,
}

impl Pod {
    /// Starts a shim in a folder of its own, with an image of busybox.
    pub(crate) fn start(runtime: &Path) -> Self {
        let mut pod = Self::start_closed(runtime);
        pod.open(pod.shared());
        pod
    }

    /// The same, without what containers share.
    pub(crate) fn start_closed(runtime: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Deeper than the kernel would have a socket.
        let folder = dir.path().join("deep/".repeat(24)).join("pod");
        Self::start_in(runtime, dir, folder)
    }

    /// In a folder that the shim knows by a name with a link in it.
    pub(crate) fn start_by_link(runtime: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        symlink(".", dir.path().join("link")).unwrap();
        let folder = dir.path().join("link/pod");
        let mut pod = Self::start_in(runtime, dir, folder);
        pod.open(pod.shared());
        pod
    }

    fn start_in(runtime: &Path, dir: tempfile::TempDir, folder: PathBuf) -> Self {
        make_image(&dir.path().join("image"));
        fs::create_dir_all(&folder).unwrap();
        let args = Args {
            dir: folder,
            runtime: runtime.to_owned(),
            runtime_version: "test://1".into(),
            log_bounds: LogBounds::DEFAULT,
            purpose: Purpose::Serve,
        };
        let (shim, stream) = launch(&args);
        let name = dir.path().file_name().unwrap().to_string_lossy().replace('.', "");
        let mut pod = Self { dir, shim, args, stream, cgroup: format!("/dunlin-test/pod{name}") };
        assert_eq!(pod.greet(), []);
        pod
    }

    /// Makes what its containers share.
    pub(crate) fn open(&mut self, spec: LinuxPod) -> Option<String> {
        self.ask(&Request::OpenPod(Box::new(spec)));
        match self.hear() {
            Event::PodOpened { netns } => netns,
            event => panic!("{event:?}"),
        }
    }

    /// What containers of a pod share that says nothing.
    pub(crate) fn shared(&self) -> LinuxPod {
        LinuxPod {
            hostname: "gull".into(),
            network: PodNetwork::Own,
            ipc: Share::Own,
            processes: ProcessSharing::Container,
            cgroup: self.cgroup.clone(),
            resources: LinuxResources::default(),
            sysctls: Vec::new(),
        }
    }

    /// Kills the shim and starts another in its place, whose pod is not open.
    pub(crate) fn replace_shim(&mut self) {
        self.kill_shim();
        (self.shim, self.stream) = launch(&self.args);
        assert_eq!(self.greet(), []);
    }

    pub(crate) fn kill_shim(&mut self) {
        self.shim.kill().unwrap();
        self.shim.wait().unwrap();
    }

    /// Takes away what a killed shim left, as an agent does that has no more use for the pod.
    pub(crate) fn clean(&self) {
        let args = Args { purpose: Purpose::Clean, ..self.args.clone() };
        assert!(program().command().args(args.words()).status().unwrap().success());
    }

    /// The pod's own folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.args.dir
    }

    /// Another agent connects; returns what it is told.
    pub(crate) fn reconnect(&mut self) -> Vec<(ContainerId, State)> {
        self.stream = connect(&self.args.dir.join(SOCKET));
        self.greet()
    }

    /// Says who it is, on a connection of whatever age; returns what it is told.
    pub(crate) fn greet(&mut self) -> Vec<(ContainerId, State)> {
        self.account().0
    }

    /// The same, with what it is told of the pod.
    pub(crate) fn account(&mut self) -> (Vec<(ContainerId, State)>, Vec<Event>) {
        self.ask(&Request::Hello { protocol: PROTOCOL });
        let Event::Welcome { protocol: PROTOCOL, pid, .. } = self.hear() else { panic!("no welcome") };
        assert_eq!(pid, self.shim.id());
        let (mut told, mut of_pod) = (Vec::new(), Vec::new());
        loop {
            match self.hear() {
                Event::Container { id, state, .. } => told.push((id, state)),
                Event::Synced => return (told, of_pod),
                event @ (Event::PodOpened { .. } | Event::RunnerOpened { .. }) => of_pod.push(event),
                event => panic!("not of an account: {event:?}"),
            }
        }
    }

    pub(crate) fn ask(&mut self, request: &Request) {
        let frame = codec::encode(request);
        self.stream.write_all(&u32::try_from(frame.len()).unwrap().to_le_bytes()).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    /// Closes the connection as far as the shim reads it.
    pub(crate) fn say_no_more(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn hear(&mut self) -> Event {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        codec::decode(&frame).unwrap()
    }

    /// A container of busybox that runs a line of its shell.
    pub(crate) fn spec(&self, id: &str, line: &str) -> LinuxSpec {
        LinuxSpec {
            id: ContainerId::new(id),
            owner: Owner {
                pod_uid: "u".into(),
                namespace: "n".into(),
                pod: "gull".into(),
                container: "c".into(),
                attempt: 0,
            },
            layers: vec![self.image().display().to_string()],
            args: ["sh", "-c", line].map(str::to_owned).to_vec(),
            env: Vec::new(),
            working_dir: String::new(),
            user: LinuxUser::default(),
            stdio: Stdio::Log,
            log: self.log(id).display().to_string(),
            resources: LinuxResources::default(),
            security: Security::default(),
            mounts: Vec::new(),
            volumes: Vec::new(),
            devices: Vec::new(),
            hosts: "127.0.0.1 localhost\n".into(),
            resolv_conf: "nameserver 192.0.2.1\n".into(),
            termination_message: None,
            processes_of: None,
            stop_signal: 15,
        }
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn log(&self, id: &str) -> PathBuf {
        self.dir.path().join(format!("{id}.log"))
    }

    /// What a container wrote, each line with its stream.
    pub(crate) fn output(&self, id: &str) -> String {
        let text = fs::read_to_string(self.log(id)).unwrap();
        let lines = text.lines().map(|line| line.splitn(4, ' ').collect::<Vec<_>>());
        lines.map(|parts| format!("{}: {}\n", parts[1], parts[3])).collect()
    }

    pub(crate) fn start_container(&mut self, spec: LinuxSpec) {
        self.ask(&Request::StartLinux(Box::new(spec)));
    }

    /// Waits until a container runs.
    pub(crate) fn running(&mut self, id: &str) {
        loop {
            match self.hear() {
                Event::Container { id: other, state: State::Running { .. }, .. } if other.as_str() == id => {
                    return;
                }
                Event::Container { id: other, state: State::Exited(exit), .. } if other.as_str() == id => {
                    panic!("{id} ended: {exit:?}")
                }
                _ => {}
            }
        }
    }

    /// Waits for a container's end.
    pub(crate) fn exit(&mut self, id: &str) -> Exit {
        loop {
            if let Event::Container { id: other, state: State::Exited(exit), .. } = self.hear()
                && other.as_str() == id
            {
                return exit;
            }
        }
    }

    /// Waits for the end of any, and says whose it was.
    pub(crate) fn exit_of_any(&mut self) -> String {
        loop {
            if let Event::Container { id, state: State::Exited(_), .. } = self.hear() {
                return id.as_str().to_owned();
            }
        }
    }

    /// Processes that are the shim's children.
    pub(crate) fn children(&self) -> Vec<u32> {
        let shim = self.shim.id();
        let text = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Runs a container to its end.
    pub(crate) fn run(&mut self, spec: LinuxSpec) -> Exit {
        let id = spec.id.clone();
        self.start_container(spec);
        self.exit(id.as_str())
    }

    /// Waits until a container has written something.
    pub(crate) fn wrote(&self, id: &str, what: &str) {
        eventually(&format!("{id} writes {what}"), || {
            self.log(id).exists() && self.output(id).contains(what)
        });
    }

    /// Ends everything; the shim ends by itself.
    pub(crate) fn shut_down(mut self) {
        self.ask(&Request::Shutdown);
        assert!(self.shim.wait().unwrap().success());
        let left: Vec<_> = fs::read_dir(&self.args.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".sock"))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "the pod's folder is empty");
        assert!(!self.has_cgroup(), "its cgroups are gone");
    }

    /// What a file of its cgroup says, which is called differently in each version.
    pub(crate) fn limit(&self, controller: &str, one: &str, two: &str) -> String {
        let root = Path::new("/sys/fs/cgroup");
        let file = match root.join(controller) {
            of_one if of_one.exists() => of_one.join(&self.cgroup[1..]).join(one),
            _ => root.join(&self.cgroup[1..]).join(two),
        };
        fs::read_to_string(&file).unwrap().trim().to_owned()
    }

    pub(crate) fn has_cgroup(&self) -> bool {
        let roots = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
        let roots = roots.chain([PathBuf::from("/sys/fs/cgroup")]);
        roots.into_iter().any(|root| root.join(&self.cgroup[1..]).exists())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // A test that failed leaves nothing that runs.
        if self.shim.try_wait().unwrap().is_none() {
            self.kill_shim();
        }
        self.clean();
    }
}

/// Waits for something that takes a moment.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + wait_max();
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::yield_now();
    }
}

fn launch(args: &Args) -> (Child, UnixStream) {
    // Behind that of a killed shim may be a copy of it for a moment: what answers is to be the new one.
    let _ = fs::remove_file(args.dir.join(SOCKET));
    let shim = program().command().args(args.words()).spawn().unwrap();
    (shim, connect(&args.dir.join(SOCKET)))
}

pub(crate) fn connect(socket: &Path) -> UnixStream {
    let mut stream = None;
    eventually("the shim answers", || {
        stream = SocketPath::of(socket).and_then(|socket| UnixStream::connect(socket.path())).ok();
        stream.is_some()
    });
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(wait_max())).unwrap();
    stream
}

/// The small program, started from memory as an agent of a release starts it.
fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let content = fs::read(env!("CARGO_BIN_EXE_dunlin-shim")).unwrap();
        Program::in_memory(&content).unwrap()
    })
}

/// A stand-in for `dunlin runner`: an example of this crate, which is built with the tests.
pub(crate) fn runner_program() -> PathBuf {
    let deps = env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("examples/runner")
}

/// A file system with busybox.
pub(crate) fn make_image(image: &Path) {
    for folder in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(image.join(folder)).unwrap();
    }
    fs::copy(BUSYBOX, image.join("bin/busybox")).unwrap();
    for name in [
        "sh", "id", "cat", "ls", "hostname", "mount", "sleep", "touch", "kill", "ps", "head", "ip", "stat",
        "mknod", "chroot", "true", "readlink", "sysctl", "mkdir", "env", "find", "dd", "unshare", "insmod",
        "grep", "ln", "nproc", "tty", "stty", "wc", "tr",
    ] {
        symlink("busybox", image.join("bin").join(name)).unwrap();
    }
    fs::write(image.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/tmp:/bin/sh\n")
        .unwrap();
    fs::write(image.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:70:web\n").unwrap();
}

const BUSYBOX: &str = "/bin/busybox";

/// For a machine that does other things meanwhile, and longer on one that is said to be slow.
fn wait_max() -> Duration {
    let patience = env::var("DUNLIN_TEST_PATIENCE").ok().and_then(|times| times.parse::<u32>().ok());
    Duration::from_secs(30) * patience.unwrap_or(1)
}
