//! One pod's turn: it hears what happened, and what it asks for becomes outputs.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use dunlin_link::{ContainerId, Digest, PodUid, pod::ConfigKind, tokens::TokenClaim};

use super::{
    Arrived, CheckKey, CheckOrder, Desk, Entry, Files, NodeCore, Notice, Output, Preparation, Prepared,
    Presence, Projecting, PullKey, PullOrder, PullSecret, RunKey, SandboxOrder, SurveyOrder, SurveyedImage,
};
use crate::{
    check::Outcome,
    clock::Now,
    content::NoContent,
    env::{ConfigError, Surroundings},
    launch::{self, Launch, Material, container_spec},
    pod::{Command, ContainerIndex, Fetch, ImagePull, Pod, Pulled, PulledImage, Residence},
    reasons,
    sandbox::Request,
    volumes::{self, SetupError},
};

/// Containers that wait for a module.
#[derive(Debug, Default)]
pub(super) struct PodsPulling {
    /// Those that wait to hear whether it is here.
    asking: Vec<(PodUid, ContainerIndex, Fetch)>,
    /// Those that wait for its fetch.
    fetching: Vec<(PodUid, ContainerIndex)>,
    /// By which name it is being fetched, if it is: the coordinator gives it to none that it does not belong to.
    by: Option<String>,
}

impl NodeCore {
    /// A module is here or not.
    pub fn handle_module(&mut self, digest: Digest, presence: Presence, now: Now) {
        let Some(pulling) = self.desk.pulls.get_mut(&digest) else { return };
        let mut fetching = Vec::new();
        for (uid, container, fetch) in std::mem::take(&mut pulling.asking) {
            let answer = match (presence, fetch) {
                (Presence::Here, _) => Pulled::Present,
                (Presence::Missing, Fetch::Forbidden) => Pulled::Absent,
                (Presence::Missing, Fetch::Allowed) => {
                    fetching.push((uid.clone(), container));
                    Pulled::Fetching
                }
            };
            self.answer_pull(&uid, (container, digest), answer, now);
        }
        self.desk.pulls.entry(digest).or_default().fetching.append(&mut fetching);
        self.fetch_next(digest);
    }

    /// A fetch ended: with the module, or in words why not. One that failed by one name is tried by the others that containers have for it.
    pub fn handle_fetched(&mut self, digest: Digest, result: Result<Arrived, String>, now: Now) {
        let Some(pulling) = self.desk.pulls.get_mut(&digest) else { return };
        let (by, waiting) = (pulling.by.take(), std::mem::take(&mut pulling.fetching));
        let (outcome, (through, others)) = match result {
            Ok(Arrived { took_ms, bytes }) => {
                (Pulled::Fetched { took_ms, size_bytes: bytes }, (waiting, Vec::new()))
            }
            Err(error) => {
                let is_by_it = |(uid, container): &(PodUid, _)| self.image_of(uid, *container) == by;
                (Pulled::Failed(error), waiting.into_iter().partition(is_by_it))
            }
        };
        self.desk.pulls.entry(digest).or_default().fetching = others;
        for (uid, container) in through {
            self.answer_pull(&uid, (container, digest), outcome.clone(), now);
        }
        self.fetch_next(digest);
    }

    /// Has what containers wait for fetched, by the name that the first of them has for it, unless that is being done.
    fn fetch_next(&mut self, digest: Digest) {
        let Some(mut pulling) = self.desk.pulls.remove(&digest) else { return };
        // Nobody waits for a pod that has gone meanwhile, or for what a container had before.
        let reference = |(uid, container): &(PodUid, ContainerIndex)| {
            let image = self.pods.get(uid)?.pod.wanted_of(*container)?;
            (image.digest == Some(digest)).then_some(image.reference)
        };
        pulling.fetching.retain(|waiting| reference(waiting).is_some());
        if pulling.by.is_none()
            && let Some(reference) = pulling.fetching.first().and_then(reference)
        {
            pulling.by = Some(reference.clone());
            self.desk.outputs.push_back(Output::Fetch { digest, reference });
        }
        if pulling.by.is_some() || !pulling.asking.is_empty() {
            self.desk.pulls.insert(digest, pulling);
        }
    }

    /// The pull of an image goes on or has ended.
    pub fn handle_image(&mut self, key: &PullKey, answer: PulledImage, now: Now) {
        self.with_pod(&key.uid, now, |pod, now| pod.handle_image(key.container, &key.reference, answer, now));
    }

    /// What a pod's own sandbox is, whether there is one or not; `None` for a pod that is not here.
    pub fn sandbox_order(&self, uid: &PodUid) -> Option<SandboxOrder> {
        self.pods.get(uid).map(|entry| sandbox_order(&entry.pod))
    }

    /// It was found out what the images of a pod are.
    pub fn handle_surveyed(&mut self, uid: &PodUid, residence: Residence, now: Now) {
        let entry = self.pods.get(uid).filter(|entry| entry.pod.is_active() && residence == Residence::Own);
        match entry.and_then(|entry| self.desk.node.app_armor.refusal(entry.pod.assignment())) {
            Some(message) => self.reject(uid, reasons::APP_ARMOR, message, now),
            None => self.with_pod(uid, now, |pod, now| pod.handle_surveyed(residence, now)),
        }
    }

    /// Room was made for a run's log, or not.
    pub fn handle_prepared(&mut self, run: RunKey, prepared: Prepared, now: Now) {
        let Some(entry) = self.pods.get_mut(&run.uid) else { return };
        // The pod may have ended meanwhile, or its image changed: then another run follows, or none.
        if !entry.pod.awaits(run.container, &run.id, run.module) {
            return;
        }
        let desk = &mut self.desk;
        let turn = AssertUnwindSafe(|| {
            match prepared {
                Prepared::Ready { log, material } => desk.start(&mut entry.pod, &run, (log, material), now),
                Prepared::Unmounted(error) => {
                    entry.pod.handle_not_mounted(run.container, error.to_string(), now);
                }
                Prepared::Begun { attempt } => {
                    desk.runs_recovered += 1;
                    entry.pod.handle_begun(run.container, attempt, now);
                }
                Prepared::CannotRun(message) => entry.pod.handle_cannot_run(run.container, message, now),
                Prepared::NoCode(message) => entry.pod.handle_no_code(run.container, message, now),
                Prepared::Failed(message) => {
                    entry.pod.handle_config_error(run.container, message, now);
                }
            }
            desk.turn(entry, now);
        });
        if catch_unwind(turn).is_err() {
            self.desk.notice(Notice::Panicked(run.uid));
        }
    }

    /// What a run is made of is still being compiled elsewhere.
    pub fn handle_compiling(&mut self, run: &RunKey, target: &str, now: Now) {
        self.with_pod(&run.uid, now, |pod, now| {
            if pod.awaits(run.container, &run.id, run.module) {
                pod.handle_compiling(run.container, target, now);
            }
        });
    }

    /// A look at a container has ended.
    pub fn handle_checked(&mut self, key: &CheckKey, outcome: Outcome, now: Now) {
        self.with_pod(&key.uid, now, |pod, now| pod.handle_checked(key.container, key.ticket, outcome, now));
    }

    /// Lets a pod hear something and take its steps. A panic on the way is this pod's failure: it keeps what it got to.
    pub(super) fn with_pod(&mut self, uid: &PodUid, now: Now, hear: impl FnOnce(&mut Pod, Now)) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        let (desk, was_over) = (&mut self.desk, entry.pod.is_over());
        let turn = AssertUnwindSafe(|| {
            hear(&mut entry.pod, now);
            desk.turn(entry, now);
        });
        let is_panicked = catch_unwind(turn).is_err();
        let gives_room = entry.is_held() && entry.pod.is_over() && !was_over;
        if is_panicked {
            self.desk.notice(Notice::Panicked(uid.clone()));
        }
        if gives_room {
            self.tell_room();
        }
    }

    pub(super) fn with_all(&mut self, now: Now, hear: impl Fn(&mut Pod, Now)) {
        let uids: Vec<_> = self.pods.keys().cloned().collect();
        for uid in uids {
            self.with_pod(&uid, now, &hear);
        }
    }

    /// Has the files of a pod's volumes follow what they are made of.
    pub(super) fn project_anew(&mut self, uid: &PodUid) {
        if let Some(entry) = self.pods.get(uid).filter(|entry| entry.files == Files::Kept) {
            self.desk.project(&entry.pod);
        }
    }

    /// What a pod calls the image of a container.
    fn image_of(&self, uid: &PodUid, container: ContainerIndex) -> Option<String> {
        Some(self.pods.get(uid)?.pod.wanted_of(container)?.reference)
    }

    /// Answers a container, unless it wants another module by now.
    fn answer_pull(
        &mut self,
        uid: &PodUid,
        (container, digest): (ContainerIndex, Digest),
        answer: Pulled,
        now: Now,
    ) {
        self.with_pod(uid, now, |pod, now| {
            if pod.wanted_of(container).is_some_and(|image| image.digest == Some(digest)) {
                pod.handle_pull(container, answer, now);
            }
        });
    }
}

/// A run that is to be put together.
struct RunOf {
    container: ContainerIndex,
    id: ContainerId,
    attempt: u32,
}

impl Desk {
    /// Does all that a pod asks for, then tells what became of it.
    fn turn(&mut self, entry: &mut Entry, now: Now) {
        while let Some(command) = entry.pod.poll_command() {
            self.obey(entry, command, now);
        }
        if entry.pod.leave_sandbox() {
            self.close(entry.pod.uid());
        }
        if entry.pod.is_over() && entry.files == Files::Kept {
            entry.files = Files::Gone;
            self.outputs.push_back(Output::Unmount(Arc::clone(entry.pod.assignment())));
        }
        self.see_to_tokens(entry, now);
        let uid = entry.pod.uid();
        self.to_remember.add(uid, entry.pod.recording(now), now.mono);
        if !self.unburied.contains(uid)
            && let Some(mut report) = entry.pod.poll_report(now)
            && entry.is_told()
        {
            // Its end is nobody's order, so nobody has to hear that it was obeyed: it is in the list of static pods no more.
            report.stopped &= !entry.is_static();
            self.outputs.push_back(Output::Report(Box::new(report)));
        }
        let wakes_at = entry.pod.poll_timeout().into_iter().chain(self.tokens.due(entry.pod.uid())).min();
        if wakes_at != entry.wakes_at
            && let Some(at) = wakes_at
        {
            self.timers.set(at, entry.pod.uid().clone());
        }
        entry.wakes_at = wakes_at;
    }

    fn obey(&mut self, entry: &mut Entry, command: Command, now: Now) {
        let pod = &mut entry.pod;
        match command {
            Command::Pull { container, digest, fetch } => {
                let pulling = self.pulls.entry(digest).or_default();
                if pulling.asking.is_empty() {
                    self.outputs.push_back(Output::Locate(digest));
                }
                pulling.asking.push((pod.uid().clone(), container, fetch));
            }
            Command::PullImage { container, pull } => {
                let ImagePull { reference, policy, last } = pull;
                let key = PullKey { uid: pod.uid().clone(), container, reference };
                let secrets = self.pull_secrets(pod);
                self.outputs.push_back(Output::Pull(Box::new(PullOrder { key, policy, last, secrets })));
            }
            Command::Create { container, id, attempt } => {
                entry.files = Files::Kept;
                self.prepare(pod, RunOf { container, id, attempt }, now);
            }
            Command::Survey => {
                let order = SurveyOrder {
                    uid: pod.uid().clone(),
                    images: surveyed(pod),
                    secrets: self.pull_secrets(pod),
                };
                self.outputs.push_back(Output::Survey(Box::new(order)));
            }
            Command::Open => self.open(pod),
            Command::Stop { id, grace_ms } => self.ask(pod.uid(), Request::Stop { id, grace_ms }),
            Command::Check { container, id, ticket, check } => {
                let key = CheckKey { uid: pod.uid().clone(), container, ticket };
                self.outputs.push_back(Output::Check(Box::new(CheckOrder { key, id, check })));
            }
            Command::Remove { id } => self.ask(pod.uid(), Request::Remove { id }),
            Command::Event(event) => {
                if entry.is_static() {
                    self.notice(Notice::StaticPod(Box::new(event.clone())));
                }
                self.outputs.push_back(Output::Event(event));
            }
        }
    }

    /// The Secrets of a pod that hold credentials of registries. Nothing else is in Secrets of that form, so that those which a pod
    /// names for another purpose do no harm here.
    fn pull_secrets(&mut self, pod: &Pod) -> Vec<PullSecret> {
        let assignment = pod.assignment();
        let secrets = assignment.config.iter().filter(|config| config.kind == ConfigKind::Secret);
        let (mut found, mut closed) = (Vec::new(), Vec::new());
        for config in secrets {
            let Some(id) = config.digest else { continue };
            match self.objects.open(&id) {
                Ok(object) if object.data.iter().any(|(key, _)| PULL_SECRET_KEYS.contains(&key.as_str())) => {
                    found.push(PullSecret { name: config.name.clone(), content: object });
                }
                Ok(_) | Err(NoContent::Absent) => {}
                Err(NoContent::Closed) => closed.push(id),
            }
        }
        self.give_up(closed);
        found
    }

    fn prepare(&mut self, pod: &mut Pod, RunOf { container, id, attempt }: RunOf, now: Now) {
        if let Some(error) = self.tokens.lacking(pod.assignment()) {
            return pod.handle_not_mounted_yet(container, error.to_string(), now);
        }
        let declared = pod.container(container);
        let (module, name) = (pod.module(container), declared.name.clone());
        let setup = self.with_surroundings(pod, |around| {
            let mut setup = volumes::setup(pod.assignment(), (container, declared), around)?;
            let images =
                volumes::image_mounts(pod.assignment(), (container, declared), pod.image_volumes(), around)?;
            setup.mounts.extend(images);
            Ok::<_, SetupError>(setup)
        });
        match setup {
            Ok(setup) => self.outputs.push_back(Output::Prepare(Preparation {
                run: RunKey { uid: pod.uid().clone(), container, id, attempt, module },
                pod: Arc::clone(pod.assignment()),
                container: name,
                setup,
            })),
            Err(SetupError::Mount(error)) => pod.handle_not_mounted(container, error.to_string(), now),
            Err(SetupError::Config(error)) => pod.handle_config_error(container, error.to_string(), now),
        }
    }

    /// Makes a sandbox for a pod alone.
    fn open(&mut self, pod: &Pod) {
        self.own.insert(pod.uid().clone());
        self.outputs.push_back(Output::OpenSandbox(Box::new(sandbox_order(pod))));
    }

    fn start(&mut self, pod: &mut Pod, run: &RunKey, (log, material): (String, Material), now: Now) {
        let wants_own = pod.has_own_sandbox() || matches!(material, Material::Linux(_));
        if wants_own && !pod.is_sandbox_open() {
            if !pod.handle_homeless(run.container, now) {
                let why = if pod.is_ephemeral(run.container) { NO_NAMESPACES } else { MOVES_NOT };
                pod.handle_config_error(run.container, why.to_owned(), now);
            }
            return;
        }
        let target = match (&material, pod.process_target(run.container)) {
            (Material::Linux(_), Ok(target)) => target,
            (Material::Linux(_), Err(why)) => return pod.handle_create_error(run.container, why, now),
            // A guest sees no processes, whoever it is added to.
            (Material::Module { .. }, _) => None,
        };
        let launch = Launch { id: run.id.clone(), attempt: run.attempt, log, target };
        let request: Result<Request, ConfigError> = self.with_surroundings(pod, |around| {
            let place = &pod.place().address;
            let of = (pod.assignment().as_ref(), run.container);
            Ok(match material {
                Material::Module { module, files } => {
                    Request::Start(Box::new(container_spec(of, launch, (module, files), place, around)?))
                }
                Material::Linux(linux) => {
                    Request::StartLinux(Box::new(launch::linux::container_spec(of, launch, *linux, around)?))
                }
            })
        });
        match request {
            Ok(request) => {
                self.ask(pod.uid(), request);
                pod.handle_created(run.container, run.id.clone());
            }
            Err(error @ ConfigError::NoCommand) => {
                pod.handle_create_error(run.container, error.to_string(), now);
            }
            Err(error) => pod.handle_config_error(run.container, error.to_string(), now),
        }
    }

    /// Has files written anew that are made of what may have changed.
    pub(super) fn project(&mut self, pod: &Pod) {
        let volumes =
            self.with_surroundings(pod, |around| volumes::projected_volumes(pod.assignment(), around));
        if !volumes.is_empty() {
            let pod = Arc::clone(pod.assignment());
            self.outputs.push_back(Output::Project(Projecting { pod, volumes }));
        }
    }

    /// Answers what needs to know where a pod is, and what it names.
    fn with_surroundings<T>(&mut self, pod: &Pod, ask: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let pod_ip = pod.place().address.ip().map(|ip| ip.to_string());
        // Opened once for a container, however many variables come from it, and only for as long as it takes to create it.
        let opened = RefCell::new(BTreeMap::new());
        let objects =
            |id: &Digest| opened.borrow_mut().entry(*id).or_insert_with(|| self.objects.open(id)).clone();
        let tokens = |claim: &TokenClaim| self.tokens.get(pod.uid(), claim);
        let api = self.node.api.as_ref().map(|api| api.seen_from(&pod.place().address));
        let around = Surroundings {
            node_name: &self.node.name,
            host_name: &self.node.facts.hostname,
            host_ip: &self.node.host_ip,
            pod_ip: pod_ip.as_deref().unwrap_or(&self.node.host_ip),
            allocatable: self.node.facts.allocatable,
            capacity: self.node.facts.capacity,
            mounts_read_only_recursively: self.node.mounts_read_only_recursively(),
            se_linux: self.node.se_linux,
            api: api.as_ref(),
            objects: &objects,
            tokens: &tokens,
        };
        let answer = ask(&around);
        let closed =
            opened.into_inner().into_iter().filter(|(_, content)| content == &Err(NoContent::Closed));
        self.give_up(closed.map(|(id, _)| id).collect());
        answer
    }

    /// Takes content out of use that cannot be opened, and asks for it again unless that was done already.
    fn give_up(&mut self, closed: Vec<Digest>) {
        let news: Vec<_> = closed.into_iter().filter(|id| self.objects.holds(id)).collect();
        if !news.is_empty() {
            news.into_iter().for_each(|id| self.objects.close(id));
            self.outputs.push_back(Output::StartOver);
        }
    }
}

fn sandbox_order(pod: &Pod) -> SandboxOrder {
    let assignment = pod.assignment();
    SandboxOrder {
        pod: Arc::clone(assignment),
        linux: launch::linux::pod_spec(assignment),
        address: pod.place().address.slot.map(|slot| slot.pod_ip()),
    }
}

/// The images of a pod, once each. What was added to it moves it nowhere.
fn surveyed(pod: &Pod) -> Vec<SurveyedImage> {
    let mut images: Vec<SurveyedImage> = Vec::new();
    for index in pod.indexes().filter(|index| !pod.is_ephemeral(*index)) {
        let reference = &pod.container(index).image.reference;
        if !images.iter().any(|known| known.reference == *reference) {
            images.push(SurveyedImage { reference: reference.clone(), digest: pod.module(index) });
        }
    }
    images
}

/// A container of a pod that runs turns out to be what the others are not.
const MOVES_NOT: &str = "the image is a Linux image, and the pod's other containers run in the node's runner for WASM; delete the pod and create \
                         it anew";

/// A Linux container was added to a pod that has no place for one.
const NO_NAMESPACES: &str = "the image is a Linux image, and the pod has WASM containers alone, which run in the node's runner and have no namespaces to share: \
                             add a WASM image, or debug a copy of the pod (kubectl debug --copy-to)";

/// Keys of Secrets of the types `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`.
const PULL_SECRET_KEYS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];
