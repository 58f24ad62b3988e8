//! Probes of running containers, and what follows from them: when to look next, whether a container has started and is ready, and
//! which runs are given up.

use dunlin_link::{
    UnixMillis,
    care::{Action, ContainerCare, ContainerProbe, HttpGet, PortName},
};

use super::{
    Command, ContainerIndex, Pod, Severity, Stage,
    asking::{PostStart, ProbeKind, Purpose, Verdict},
    worker::{Run, Then},
};
use crate::{
    check::{Accept, Check, CheckTicket, HttpCheck, Outcome, Place, Target, What},
    clock::{Mono, Now},
    reasons,
};

impl Pod {
    /// A look that a [`Command::Check`] asked for has ended. One that nobody waits for any more changes nothing.
    pub fn handle_checked(&mut self, index: ContainerIndex, ticket: CheckTicket, outcome: Outcome, now: Now) {
        let Some(worker) = self.workers.get(index.0) else { return };
        if let Run::Stopping { signal, .. } = &worker.run
            && signal.awaits(ticket)
        {
            self.pre_stop_answered(index, &outcome, now);
        } else {
            match worker.asking.purpose(ticket) {
                Some(Purpose::Probe(kind)) => self.probe_answered(index, kind, outcome, now),
                Some(Purpose::PostStart) => self.post_start_answered(index, &outcome, now),
                None => return,
            }
        }
        self.settle(now);
    }

    /// Begins every look that is due.
    pub(super) fn ask_due(&mut self, now: Now) {
        for index in self.indexes() {
            for kind in self.kinds_asked(index) {
                let Some(probe) = self.probe(index, kind).cloned() else { continue };
                let Some(due) = self.due(index, kind) else { continue };
                if due <= now.mono {
                    self.ask(index, kind, &probe, now);
                }
            }
        }
    }

    /// When the next look is due.
    pub(super) fn asks_at(&self) -> Option<Mono> {
        let kinds = self
            .indexes()
            .flat_map(|index| self.kinds_asked(index).into_iter().map(move |kind| (index, kind)));
        kinds.filter_map(|(index, kind)| self.due(index, kind)).min()
    }

    /// Whether the run has come as far as its startup probe and its hook want it to.
    pub(super) fn is_started(&self, index: ContainerIndex) -> bool {
        let worker = self.worker(index);
        let passed = self.probe(index, ProbeKind::Startup).is_none()
            || worker.asking.startup.verdict == Some(Verdict::Success);
        let hooked = !self.post_start_goes_on(index) && worker.asking.post_start != PostStart::Failed;
        worker.run.is_running() && hooked && passed
    }

    /// Whether the run can serve.
    pub(super) fn is_ready(&self, index: ContainerIndex) -> bool {
        let passed = self.probe(index, ProbeKind::Readiness).is_none()
            || self.worker(index).asking.readiness.verdict == Some(Verdict::Success);
        self.is_started(index) && passed
    }

    /// Whether something that an earlier agent knew of the pod's runs is not known again yet. Until then, and no longer than a look may
    /// take, there is nothing to report: nothing has changed as far as anybody knows.
    pub(super) fn is_catching_up(&self, now: Now) -> bool {
        self.catching_up_until.is_some_and(|until| now.mono < until)
            && self.indexes().any(|index| {
                self.kinds_asked(index).into_iter().any(|kind| {
                    kind != ProbeKind::Liveness
                        && self.probe(index, kind).is_some()
                        && self.worker(index).asking.watch(kind).is_unheard()
                })
            })
    }

    /// What was running before this agent is taken over now: its probes are asked at once.
    pub(super) fn begin_catching_up(&mut self, now: Now) {
        let kinds = [ProbeKind::Startup, ProbeKind::Readiness];
        let pairs = self.indexes().flat_map(|index| kinds.map(|kind| (index, kind)));
        let unheard = pairs.filter(|(index, kind)| self.worker(*index).asking.watch(*kind).is_unheard());
        let probes = unheard.filter_map(|(index, kind)| self.probe(index, kind));
        let longest = probes.map(|probe| probe.timeout_seconds).max();
        self.catching_up_until = longest.map(|seconds| {
            now.mono.plus_millis((u64::from(seconds) * 2 * 1000 + CATCH_UP_MS).min(CATCH_UP_MS_MAX))
        });
    }

    pub(super) fn care(&self, index: ContainerIndex) -> Option<&ContainerCare> {
        self.assignment.care.of(index.0)
    }

    pub(super) fn next_ticket(&mut self) -> CheckTicket {
        self.checks += 1;
        CheckTicket(self.checks)
    }

    /// What to do for an action, with names resolved.
    ///
    /// # Errors
    /// When it cannot be done at all, in words.
    pub(super) fn check(
        &self,
        index: ContainerIndex,
        action: &Action,
        (accept, timeout_ms): (Accept, u64),
    ) -> Result<Check, String> {
        let what = match action {
            Action::HttpGet(get) => What::Http(self.http_check(index, get, accept)?),
            Action::TcpSocket { host, port } => What::Tcp(self.target(index, host, port)?),
            Action::Grpc { port, service } => What::Grpc {
                target: self.target(index, "", &PortName::Number(*port))?,
                service: service.clone(),
            },
            Action::Exec { command } => {
                What::Exec { container: self.container(index).name.clone(), command: command.clone() }
            }
            Action::Sleep { .. } => return Err("a probe cannot sleep".to_owned()),
        };
        Ok(Check { what, timeout_ms })
    }

    fn http_check(&self, index: ContainerIndex, get: &HttpGet, accept: Accept) -> Result<HttpCheck, String> {
        let slash = if get.path.starts_with('/') { "" } else { "/" };
        Ok(HttpCheck {
            scheme: get.scheme,
            target: self.target(index, &get.host, &get.port)?,
            path: format!("{slash}{}", get.path),
            headers: get.headers.clone(),
            accept,
        })
    }

    fn target(&self, index: ContainerIndex, host: &str, port: &PortName) -> Result<Target, String> {
        let port = match port {
            PortName::Number(number) => *number,
            PortName::Name(name) => {
                let ports = &self.container(index).ports;
                let port = ports.iter().find(|port| port.name == *name);
                port.map(|port| port.container_port).ok_or_else(|| format!("port {name} not found"))?
            }
        };
        if port == 0 {
            return Err("invalid port number: 0".to_owned());
        }
        if !host.is_empty() {
            let shown =
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            return Ok(Target { place: Place::Host(host.to_owned(), port), shown });
        }
        let address = self.place.address.way_to(&self.assignment, port);
        Ok(Target { place: Place::Address(address), shown: format!("{}:{port}", self.ip()) })
    }

    fn probe(&self, index: ContainerIndex, kind: ProbeKind) -> Option<&ContainerProbe> {
        let care = self.care(index)?;
        match kind {
            ProbeKind::Startup => care.startup.as_deref(),
            ProbeKind::Liveness => care.liveness.as_deref(),
            ProbeKind::Readiness => care.readiness.as_deref(),
        }
    }

    /// The probes that are asked in the state that the run is in. One that is being stopped is asked only whether it still serves.
    fn kinds_asked(&self, index: ContainerIndex) -> Vec<ProbeKind> {
        if self.care(index).is_none() || !self.synced {
            return Vec::new();
        }
        match &self.worker(index).run {
            Run::Running { .. } if self.stage != Stage::Active => Vec::new(),
            Run::Running { .. } if self.post_start_goes_on(index) => Vec::new(),
            Run::Running { .. } if self.is_started(index) => vec![ProbeKind::Liveness, ProbeKind::Readiness],
            Run::Running { .. } => vec![ProbeKind::Startup],
            Run::Stopping { started_at: Some(_), .. } if self.is_started(index) => vec![ProbeKind::Readiness],
            _ => Vec::new(),
        }
    }

    fn due(&self, index: ContainerIndex, kind: ProbeKind) -> Option<Mono> {
        self.probe(index, kind)?;
        let worker = self.worker(index);
        let since = worker.asking.since.unwrap_or_default();
        worker.asking.watch(kind).due(since.plus_millis(self.delay(index, kind)))
    }

    fn delay(&self, index: ContainerIndex, kind: ProbeKind) -> u64 {
        self.probe(index, kind).map_or(0, |probe| u64::from(probe.initial_delay_seconds) * 1000)
    }

    /// Takes note of when a run began by the clock that never jumps.
    pub(super) fn note_start(&mut self, index: ContainerIndex, started_at: UnixMillis, now: Now) {
        self.worker_mut(index).asking.since.get_or_insert_with(|| now.mono_at(started_at));
    }

    fn ask(&mut self, index: ContainerIndex, kind: ProbeKind, probe: &ContainerProbe, now: Now) {
        let Some(id) = self.worker(index).live_id().cloned() else { return };
        let timeout_ms = u64::from(probe.timeout_seconds.max(1)) * 1000;
        match self.check(index, &probe.action, (Accept::Healthy, timeout_ms)) {
            Ok(check) => {
                let ticket = self.next_ticket();
                self.worker_mut(index).asking.watch_mut(kind).ask(ticket, now.mono);
                self.commands.push_back(Command::Check { container: index, id, ticket, check });
            }
            Err(why) => {
                self.worker_mut(index).asking.watch_mut(kind).skip(probe, now.mono);
                self.tell_errored(index, kind, &why, now);
            }
        }
    }

    fn probe_answered(&mut self, index: ContainerIndex, kind: ProbeKind, outcome: Outcome, now: Now) {
        if !self.kinds_asked(index).contains(&kind) {
            // The run is being stopped, for whatever reason: what it says of itself is nothing to tell.
            return;
        }
        let Some(probe) = self.probe(index, kind).cloned() else { return };
        let warning = |reason| (Severity::Warning, reason);
        let said = match outcome {
            Outcome::Success => Verdict::Success,
            Outcome::Warning(text) => {
                let message = format!("{} probe warning: {text}", kind.name());
                self.push_event(now, index, warning(reasons::PROBE_WARNING), message);
                Verdict::Success
            }
            Outcome::Failure(text) => {
                let message = format!("{} probe failed: {text}", kind.name());
                self.push_event(now, index, warning(reasons::UNHEALTHY), message);
                Verdict::Failure
            }
            Outcome::Error(text) => {
                self.worker_mut(index).asking.watch_mut(kind).skip(&probe, now.mono);
                self.tell_errored(index, kind, &text, now);
                return;
            }
        };
        let reached = self.worker_mut(index).asking.watch_mut(kind).hear(said, &probe, now.mono);
        match (kind, reached) {
            (ProbeKind::Startup, Some(Verdict::Success)) => self.worker_mut(index).asking.startup.close(),
            (ProbeKind::Startup | ProbeKind::Liveness, Some(Verdict::Failure)) => {
                self.worker_mut(index).asking.watch_mut(kind).close();
                self.give_up(index, kind, &probe, now);
            }
            _ => {}
        }
    }

    fn tell_errored(&mut self, index: ContainerIndex, kind: ProbeKind, why: &str, now: Now) {
        let message = format!("{} probe errored and resulted in unknown state: {why}", kind.name());
        self.push_event(now, index, (Severity::Warning, reasons::UNHEALTHY), message);
    }

    /// A run that does not do what it should is stopped; what follows is the restart policy's.
    fn give_up(&mut self, index: ContainerIndex, kind: ProbeKind, probe: &ContainerProbe, now: Now) {
        let Run::Running { id, .. } = &self.worker(index).run else { return };
        if self.stage != Stage::Active {
            return;
        }
        let id = id.clone();
        let (name, kind) = (&self.container(index).name, kind.name().to_lowercase());
        let follows = if self.restarts_at_all(index) { ", will be restarted" } else { "" };
        let message = format!("Container {name} failed {kind} probe{follows}");
        self.push_event(now, index, (Severity::Normal, reasons::KILLING), message);
        let own = probe.termination_grace_seconds.map(|seconds| u64::from(seconds) * 1000);
        let grace_ms = own.unwrap_or_else(|| self.grace_ms());
        self.stop(index, id, (grace_ms, Then::Restart), now);
    }

    /// Whether the hook after the start has not come to its end.
    pub(super) fn post_start_goes_on(&self, index: ContainerIndex) -> bool {
        let worker = self.worker(index);
        worker.run.is_running()
            && !matches!(worker.asking.post_start, PostStart::Done | PostStart::Failed)
            && self.care(index).is_some_and(|care| care.post_start.is_some())
    }
}

impl ProbeKind {
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// How long more than its probes' own time a pod that is taken over waits before it reports.
const CATCH_UP_MS: u64 = 500;

/// The longest such wait: whoever has slow probes is reported as not ready meanwhile.
const CATCH_UP_MS_MAX: u64 = 10_000;
