//! A coordinator and edge nodes as processes of their own, to be killed and started again.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cluster::{Answer, BINARY, run, wait_until, workloads},
    leftovers,
};

/// A coordinator's folder and port, whether it runs or not.
#[derive(Debug)]
pub(crate) struct Site {
    // Ends before its folder is removed.
    coordinator: Option<Process>,
    dir: tempfile::TempDir,
    host: Ipv4Addr,
    port: u16,
    options: &'static [&'static str],
    grace_seconds: u32,
    clock: Option<&'static str>,
    program: PathBuf,
}

/// A machine that is a node, whether its agent runs or not. Its runner, its pods and their network end with it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) state: PathBuf,
    name: String,
    log: PathBuf,
    agent: Option<Process>,
    address_blocks: u16,
    clock: Option<&'static str>,
}

impl Site {
    /// Starts a coordinator that notices silence soon.
    pub(crate) fn start() -> Self {
        Self::start_as(5, &[])
    }

    /// Starts a coordinator that takes a node for gone after so long.
    pub(crate) fn start_with_grace(grace_seconds: u32) -> Self {
        Self::start_as(grace_seconds, &[])
    }

    /// Starts one that notices silence soon, with further options.
    pub(crate) fn start_with(options: &'static [&'static str]) -> Self {
        Self::start_as(5, options)
    }

    /// Starts another program as the coordinator.
    pub(crate) fn start_by(program: &Path) -> Self {
        let mut site = Self::new(5, &[]);
        site.set_program(program);
        site.start_coordinator();
        site
    }

    /// Starts one at an address that is not loopback's, which the machine has.
    pub(crate) fn start_at(host: Ipv4Addr) -> Self {
        let mut site = Self { host, ..Self::new(5, &[]) };
        site.start_coordinator();
        site
    }

    fn start_as(grace_seconds: u32, options: &'static [&'static str]) -> Self {
        let mut site = Self::new(grace_seconds, options);
        site.start_coordinator();
        site
    }

    fn new(grace_seconds: u32, options: &'static [&'static str]) -> Self {
        let (dir, program) = (tempfile::tempdir().unwrap(), BINARY.into());
        let host = Ipv4Addr::LOCALHOST;
        Self { coordinator: None, dir, host, port: free_port(), options, grace_seconds, clock: None, program }
    }

    /// Sets the program that is the coordinator from its next start on.
    pub(crate) fn set_program(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// Starts the coordinator on what it left, and waits until it answers.
    pub(crate) fn start_coordinator(&mut self) {
        self.start_coordinator_with(&[]);
    }

    /// The same with options for this one start.
    pub(crate) fn start_coordinator_with(&mut self, once: &[&str]) {
        let mut command = Command::new(&self.program);
        command.arg("coordinator").arg("--data-dir").arg(self.data());
        command.args(["--listen", &self.address()]).args(self.options).args(once);
        see_clock(&mut command, self.clock);
        command.args(["--node-grace-seconds", &self.grace_seconds.to_string()]);
        self.coordinator = Some(Process::spawn(command, &self.log_path()));
        wait_until("an answering coordinator", || {
            let answer = self.dunlin(&["get", "nodes"], "");
            if answer.code == 0 { Ok(()) } else { Err(format!("{answer:?}\n{}", self.log())) }
        });
    }

    /// Sets the clock that the coordinator sees from its next start on; none is the machine's own. Whether it can be done here.
    pub(crate) fn set_clock(&mut self, clock: Option<&'static str>) -> bool {
        self.clock = clock;
        faketime().is_some()
    }

    /// Ends the coordinator as a power cut would.
    pub(crate) fn kill_coordinator(&mut self) {
        drop(self.coordinator.take().unwrap());
    }

    /// Where nodes and commands find the coordinator.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The administrator's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.data().join("admin.config")
    }

    /// Runs a command as administrator.
    pub(crate) fn dunlin(&self, args: &[&str], stdin: &str) -> Answer {
        run(args, stdin, self.dir.path(), &self.config())
    }

    /// Runs a command that must succeed, and answers its stdout.
    pub(crate) fn ok(&self, args: &[&str], stdin: &str) -> String {
        let answer = self.dunlin(args, stdin);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}\n{}", self.log());
        answer.stdout
    }

    /// Stores a guest program under its own name.
    pub(crate) fn push(&self, module: &str) {
        let file = workloads().join(format!("{module}.wasm"));
        self.ok(&["push", file.to_str().unwrap(), module], "");
    }

    /// A join token.
    pub(crate) fn token(&self, args: &[&str]) -> String {
        self.ok(&[&["node", "token", "create"], args].concat(), "").trim().to_owned()
    }

    /// Joins a new node and waits until it is Ready.
    pub(crate) fn join(&self, name: &str, token: &str) -> Machine {
        let mut machine = self.machine(name, name);
        machine.start_agent(&["--join", token]);
        self.wait_for_ready(&machine);
        machine
    }

    /// A machine in a folder of its own, that is to be the node `name`.
    pub(crate) fn machine(&self, folder: &str, name: &str) -> Machine {
        let home = self.dir.path().join(folder);
        fs::create_dir(&home).unwrap();
        let (state, log) = (home.join("state"), home.join("log"));
        let address_blocks = free_block();
        Machine { state, name: name.to_owned(), log, agent: None, address_blocks, clock: None }
    }

    /// Waits until a machine's agent answers and its node is Ready, which may still be said of an agent before.
    pub(crate) fn wait_for_ready(&self, machine: &Machine) {
        let state = machine.state.to_str().unwrap();
        wait_until(&format!("agent of {}", machine.name), || {
            let answer = self.dunlin(&["local", "--state", state, "pods"], "");
            if answer.code == 0 { Ok(()) } else { Err(format!("{answer:?}\n{}", machine.log())) }
        });
        wait_until(&format!("node {} Ready", machine.name), || {
            let row = self.dunlin(&["get", "node", &machine.name, "--no-headers"], "").stdout;
            let ready = row.split_whitespace().nth(1) == Some("Ready");
            if ready { Ok(()) } else { Err(format!("{row}\n{}", machine.log())) }
        });
    }

    /// Waits until what a command prints is as wanted.
    pub(crate) fn wait_for(&self, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        wait_until(&format!("wanted answer to {args:?}"), || {
            let answer = self.dunlin(args, "");
            if answer.code == 0 && wanted(&answer.stdout) {
                Ok(answer.stdout)
            } else {
                Err(format!("{answer:?}"))
            }
        })
    }

    /// Bytes of memory that the coordinator has now.
    pub(crate) fn memory(&self) -> u64 {
        let id = self.coordinator.as_ref().unwrap().0.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// What the coordinator logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap()
    }

    /// The folder of the coordinator.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("coordinator")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("coordinator.log")
    }
}

impl Machine {
    /// A machine that is no node of any cluster; its files are in `dir`.
    pub(crate) fn alone(dir: &Path, name: &str) -> Self {
        let address_blocks = free_block();
        let (state, log) = (dir.join("state"), dir.join("log"));
        Self { state, name: name.to_owned(), log, agent: None, address_blocks, clock: None }
    }

    /// Starts the agent; only a machine that has not joined needs further arguments.
    pub(crate) fn start_agent(&mut self, args: &[&str]) {
        self.start_agent_by(Command::new(BINARY), args);
    }

    /// The same with another program than this machine's own.
    pub(crate) fn start_agent_by(&mut self, mut command: Command, args: &[&str]) {
        command.args(["edge-node", "--node-name", &self.name]).args(args);
        command.arg("--state-dir").arg(&self.state);
        // Dev clusters use the default network of pods; another run of these tests may go on, or have left a runner behind.
        let network = 43 + std::process::id() % 200;
        command.args(["--loopback", &network.to_string()]);
        command.args(["--address-blocks", &self.address_blocks.to_string()]);
        see_clock(&mut command, self.clock);
        self.agent = Some(Process::spawn(command, &self.log));
    }

    /// Sets the clock that the agent, and what it starts, see from its next start on; with an `@` before it, it goes on from there. Where
    /// clocks cannot be faked it stays as it is, which is said.
    pub(crate) fn set_clock(&mut self, clock: &'static str) {
        self.clock = faketime().map(|_| clock);
        if self.clock.is_none() {
            let words =
                format!("SKIPPED: a clock at {clock}, because the package `faketime` is not installed\n");
            // Past what a test that passes has its words hidden by. Nobody may be there to read it.
            let _ = std::io::stderr().write_all(words.as_bytes());
        }
    }

    /// Whether the agent sees another clock than this test.
    pub(crate) fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Copies what this machine keeps into another's empty folder, as whoever clones a disk does. The agent must not run.
    pub(crate) fn copy_to(&self, other: &Self) {
        copy_folder(&self.state, &other.state);
    }

    /// Ends the agent as the kernel would when memory is short.
    pub(crate) fn kill_agent(&mut self) {
        drop(self.agent.take().unwrap());
    }

    /// Ends the agent as systemd would, and waits until it has written what it knows.
    pub(crate) fn stop_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.signal(Signal::TERM);
        agent.0.wait().unwrap();
    }

    /// Lets the agent stand still, which to the coordinator is a cut link; what it has started goes on.
    pub(crate) fn freeze_agent(&self) {
        self.agent.as_ref().unwrap().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw_agent(&self) {
        self.agent.as_ref().unwrap().signal(Signal::CONT);
    }

    /// Ends the runner in the same way, and waits until it is gone. An agent that runs may have started another by then.
    pub(crate) fn kill_runner(&self) {
        let runner = self.runner().unwrap();
        kill_process(runner, Signal::KILL).unwrap();
        wait_until("end of the runner", || {
            if self.runner() == Some(runner) { Err(format!("{runner:?}")) } else { Ok(()) }
        });
    }

    /// The process that serves this machine's runner socket.
    pub(crate) fn runner(&self) -> Option<Pid> {
        let socket = self.state.join("runner.sock");
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let pid = pids.find(|pid| {
            // A process may end while it is looked at; one that has ended has no arguments.
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut arguments = arguments.split(|byte| *byte == 0).skip(1);
            arguments.next() == Some(b"runner")
                && arguments.any(|argument| argument == socket.as_os_str().as_encoded_bytes())
        });
        pid.and_then(Pid::from_raw)
    }

    /// The node that it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the agent logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// What a pod's container printed in one run, read from the machine's own disk.
    pub(crate) fn printed(&self, pod: &str, container: &str, run: u32) -> Vec<String> {
        // There is none before the first container starts.
        let Ok(folders) = fs::read_dir(self.state.join("logs")) else { return Vec::new() };
        let folders = folders.flatten().map(|entry| entry.path());
        let named = format!("default_{pod}_");
        let mut folders =
            folders.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&named));
        let Some(folder) = folders.next() else { return Vec::new() };
        let text = fs::read_to_string(folder.join(container).join(format!("{run}.log"))).unwrap_or_default();
        // Time, stream, and whether the line is whole come first.
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Else it would start another.
        drop(self.agent.take());
        if let Some(runner) = self.runner() {
            // It may have ended meanwhile.
            let _ = kill_process(runner, Signal::KILL);
        }
        leftovers::remove(&self.state, &bridge(self.address_blocks));
    }
}

/// A process that is killed, without a chance to clean up, when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a process whose words are appended to a file.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that stays free while the coordinator is down: below those that the kernel gives to sockets without a port.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other runs of these tests start elsewhere.
    let start = u16::try_from(std::process::id() % 1000).unwrap() * 10;
    let candidates =
        std::iter::repeat_with(|| 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000);
    let mut free = candidates.take(12_000).filter(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

/// Copies files and folders; sockets are of processes and not of the disk.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Lets a process see another time of day.
fn see_clock(command: &mut Command, clock: Option<&str>) {
    if let (Some(clock), Some(library)) = (clock, faketime()) {
        command.env("LD_PRELOAD", library).env("FAKETIME", clock);
        // Only the time of day: intervals are those of a machine whose clock is wrong and runs.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}

/// Makes a process of many threads see another clock; from Debian's package `faketime`.
fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    places.map(|place| place.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}

/// A block of pod addresses: nodes on one machine need their own. Dev clusters use the first ones; another run of these tests may go on.
fn free_block() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = FIRST_BLOCK + u16::try_from(std::process::id() % 8).unwrap() * BLOCKS_PER_RUN;
    let candidates = std::iter::repeat_with(|| start + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCKS_PER_RUN);
    let mut candidates = candidates.take(BLOCKS_PER_RUN.into());
    candidates.find(|block| !Path::new("/sys/class/net").join(bridge(*block)).exists()).unwrap()
}

/// The bridge that a node with this block makes for its pods.
fn bridge(block: u16) -> String {
    format!("dunlin{block}")
}

const FIRST_BLOCK: u16 = 100;

/// More than tests make machines.
const BLOCKS_PER_RUN: u16 = 100;
