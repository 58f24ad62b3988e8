//! What a bench has done in a process of its own: started by the other benches of guests, which read what it prints.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use dunlin_wasm_host::{Access, Cause, Guest, Host, Preopen, Program, Stop, Target, compile};
use serde::{Deserialize, Serialize};

use super::{Running, guest, program};

/// Options of `guest-step`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Serves a handler until standard input ends
    Serve { module: PathBuf, listen: SocketAddr },
    /// Compiles a module for this machine
    Compile { module: PathBuf, artifact: PathBuf },
    /// Runs a command that was compiled, to its end
    Run { artifact: PathBuf, folder: PathBuf, args: Vec<String> },
}

/// What a step took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// From the process's own beginning.
    pub(crate) seconds: f64,
    /// The most memory that the process had.
    pub(crate) peak_kib: f64,
}

/// Does one step.
///
/// # Errors
/// When it fails.
pub(crate) fn run(args: &Args) -> Result<Option<Taken>> {
    let start = Instant::now();
    match &args.step {
        Step::Serve { module, listen } => return serve(module, *listen).map(|()| None),
        Step::Compile { module, artifact } => {
            fs::write(artifact, compile(&fs::read(module)?, Target::of_this_machine()?)?)?;
        }
        Step::Run { artifact, folder, args } => run_to_end(artifact, folder, args)?,
    }
    Ok(Some(Taken { seconds: start.elapsed().as_secs_f64(), peak_kib: peak_kib()? }))
}

fn serve(module: &Path, listen: SocketAddr) -> Result<()> {
    let host = Host::new()?;
    let program = program(&host, module)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let running = runtime.block_on(Running::start(&host, &program, guest(&["handler"], Some(listen))))?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    runtime.block_on(running.end()).map(drop)
}

fn run_to_end(artifact: &Path, folder: &Path, args: &[String]) -> Result<()> {
    let host = Host::new()?;
    let program: Arc<Program> = Arc::new(host.load(artifact)?);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let preopen = Preopen { dir: folder.to_owned(), path: "/work".to_owned(), access: Access::ReadOnly };
    let guest = Guest { preopens: vec![preopen], ..guest(&args, None) };
    let container = host.container(program, guest, Stop::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let run = host.handle().spawn(async move { container.run(|| ()).await });
    let ended = runtime.block_on(run)?;
    ensure!(ended.cause == Cause::Code(0), "the guest ended: {ended:?}");
    Ok(())
}

/// A child that does a step and ends.
///
/// # Errors
/// When it fails.
pub(crate) fn child(args: &[&str]) -> Result<Taken> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("guest-step").args(args).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a step failed: {args:?}: {said}");
    serde_json::from_slice(&output.stdout).context("a step tells what it took")
}

/// A server in a process of its own, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts it, and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Self { child: child.with_context(|| format!("cannot start {command:?}"))? };
        let start = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if start.elapsed() > START_MAX || server.child.try_wait()?.is_some() {
                bail!("{command:?} does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Processor time that it has used.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).context("a process tells its time")?;
        Ok((user + system) / rustix::param::clock_ticks_per_second() as f64)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peak_kib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("Linux")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How long a server may take to compile its module and listen.
const START_MAX: Duration = Duration::from_secs(120);
