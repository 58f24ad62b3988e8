//! One container from its spec to its end.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node_core::sandbox::{ContainerSpec, ExitCause, GuestNetwork};
use dunlin_link::UnixMillis;
use dunlin_wasm_host::{Cause, Container, Ended, Guest, Host, Input, Loopback, OnDenied, OnFailure, Stop};
use futures_util::FutureExt as _;

use super::{
    core_file::CoreFile,
    files::{Folders, last_words, with_last_words},
    log::Logs,
    modules::{ModuleError, Modules},
    settings,
    tee::Tee,
};
use crate::local::keyvalue::KeyValues;

/// What containers of one table share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) host: Host,
    pub(crate) modules: Arc<Modules>,
    pub(crate) logs: Logs,
    pub(crate) keyvalues: Arc<KeyValues>,
    /// A folder in which nothing ever is; `None` where none could be made.
    pub(crate) empty: Option<Arc<Path>>,
}

/// A container that runs, for those who want to look into it.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) container: Container,
    pub(crate) input: Input,
    pub(crate) output: Arc<Tee>,
}

/// Who hears of what happens while a container runs.
pub(crate) struct Ears {
    pub(crate) failed: OnFailure,
    pub(crate) denied: OnDenied,
}

/// Runs a container to its end; `started` is called if it gets that far. A panic on the way is this container's end. The spec is
/// boxed, since the future of every container holds it several times over.
pub(crate) async fn run(
    parts: &Parts,
    spec: Box<ContainerSpec>,
    stop: Stop,
    (started, ears): (impl FnOnce(Live) + Send + 'static, Ears),
) -> (ExitCause, String) {
    let ended = AssertUnwindSafe(run_unguarded(parts, spec, stop, (started, ears))).catch_unwind().await;
    let ended =
        ended.unwrap_or_else(|_panic| end(Cause::HostError, "the host failed while it ran the container"));
    (exit_cause(ended.cause), ended.message)
}

async fn run_unguarded(
    parts: &Parts,
    spec: Box<ContainerSpec>,
    stop: Stop,
    (started, ears): (impl FnOnce(Live) + Send + 'static, Ears),
) -> Ended {
    let log = match parts.logs.open(Path::new(&spec.log)) {
        Ok(log) => log,
        Err(error) => {
            return end(Cause::HostError, &format!("failed to open the log `{}`: {error}", spec.log));
        }
    };
    let program = tokio::select! {
        program = parts.modules.program(Path::new(&spec.module)) => program,
        // Nothing runs yet that could use its grace.
        () = stop.requested() => return end(Cause::Stopped, "stopped before it started"),
    };
    let folders = match Folders::open(&spec.mounts) {
        Ok(folders) => match &parts.empty {
            Some(empty) => folders.with_root(empty),
            None => folders,
        },
        Err(error) => return end(Cause::HostError, &error),
    };
    let output = Arc::new(Tee::new(Arc::clone(&log)));
    let words = spec.termination_message.clone();
    let core = Arc::new(CoreFile::beside(Path::new(&spec.log)));
    let mut ended = match program {
        Ok(program) => {
            let input = Input::new();
            let buckets = spec
                .keyvalue
                .as_ref()
                .map(|path| parts.keyvalues.buckets(PathBuf::from(path), &spec.owner.namespace));
            let mut guest = guest(*spec, input.clone(), Arc::clone(&output));
            guest.buckets = buckets;
            guest.preopens.clone_from(&folders.preopens);
            guest.core_dumps = Some(Arc::clone(&core) as _);
            guest.on_failure = Some(ears.failed);
            guest.on_denied = Some(ears.denied);
            match parts.host.container(program, guest, stop) {
                Ok(container) => {
                    let live = Live { container: container.clone(), input, output: Arc::clone(&output) };
                    container.run(move || started(live)).await
                }
                Err(error) => end(Cause::CannotRun, &error.to_string()),
            }
        }
        Err(error @ ModuleError::CannotRun(_)) => end(Cause::CannotRun, &error.to_string()),
        Err(error @ ModuleError::Host(_)) => end(Cause::HostError, &error.to_string()),
    };
    ended.message = core.tell(ended.message);
    if let Some(path) = words {
        ended.message = with_last_words(ended.message, &last_words(Path::new(&path)));
    }
    output.close();
    // Whoever sees the container ended finds all of its output; a disk that hangs does not hold up the news for ever.
    if tokio::time::timeout(LOG_DRAIN_MAX, log.finish()).await.is_err() {
        tracing::warn!("a log was not written in time");
    }
    ended
}

fn guest(spec: ContainerSpec, input: Input, output: Arc<Tee>) -> Guest {
    Guest {
        entry: settings::entry(&spec.settings),
        args: spec.args,
        env: spec.env,
        working_dir: spec.working_dir,
        input,
        memory_bytes_max: spec.memory_limit.map(|bytes| bytes.0),
        cpu_milli_max: spec.cpu_limit.map(|cpu| cpu.0),
        listen: settings::listening(&spec.listen),
        pod_ip: spec.pod_ip.map(IpAddr::V4),
        loopback: match spec.network {
            GuestNetwork::Machine => Loopback::Machine,
            GuestNetwork::Pod => Loopback::Pod,
        },
        egress: settings::egress(&spec.settings),
        serving: settings::serving(&spec.settings),
        ..Guest::new(output)
    }
}

fn end(cause: Cause, message: &str) -> Ended {
    Ended { cause, message: message.to_owned() }
}

fn exit_cause(cause: Cause) -> ExitCause {
    match cause {
        Cause::Code(code) => ExitCause::Code(code),
        Cause::Trap => ExitCause::Trap,
        Cause::OutOfMemory => ExitCause::OutOfMemory,
        Cause::Stopped => ExitCause::Stopped,
        Cause::Killed => ExitCause::Killed,
        Cause::CannotRun => ExitCause::CannotRun,
        Cause::HostError => ExitCause::HostError,
    }
}

/// The machine's clock.
pub(crate) fn now() -> UnixMillis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// How long the end of a container waits for its log.
const LOG_DRAIN_MAX: Duration = Duration::from_secs(5);
