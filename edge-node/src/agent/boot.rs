//! How the agent comes up: from its disk, with nobody's help.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    sync::Arc,
};

use dunlin_edge_node_core::{
    address::{BlockRange, Loopback},
    admission::AllowedSysctls,
    app_armor::AppArmor,
    content::Seal,
    env::ApiAddress,
    node::{Loaded, NodeCore, NodeOptions},
    pressure::Thresholds,
};
use dunlin_link::status::NodeFacts;
use futures_util::stream::FuturesUnordered;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Agent, AgentHost, Clerk, Clock, Codes, Ears, Requests, RunnerTarget, Shared};
use crate::{
    app_armor,
    images::{ImageBounds, Images},
    local::Local,
    modules::Modules,
    pod_network::PodNetwork,
    prober::Prober,
    sandbox::{self, ContainerKit, Doors, PodSandboxes, PodTold, Sandbox},
    session::SessionHandle,
    statics::Scan,
    volumes::Volumes,
};

/// An agent that has read its disk and waits for its session and its sandbox.
pub(crate) struct AgentParts {
    agent: Box<dyn FnOnce(SessionHandle, Requests) -> Agent + Send>,
    target: RunnerTarget,
    /// Of pods with Linux containers, if the node runs any.
    network: Option<PodNetwork>,
    inputs: mpsc::Receiver<super::Input>,
    told_by: mpsc::Receiver<PodTold>,
}

/// What an agent must be told of its node.
#[derive(Debug)]
pub(crate) struct AgentOptions<'a> {
    pub(crate) node_name: &'a str,
    pub(crate) state_dir: &'a Path,
    pub(crate) facts: NodeFacts,
    /// Where its pods reach the API.
    pub(crate) api: Option<ApiAddress>,
    /// What pods may set of the kernel.
    pub(crate) sysctls: AllowedSysctls,
    pub(crate) blocks: BlockRange,
    pub(crate) loopback: Loopback,
    pub(crate) seal: Arc<Seal>,
    /// Where its pods' volumes are.
    pub(crate) volumes: Volumes,
    /// Below which it ends pods.
    pub(crate) thresholds: Thresholds,
    /// How full the disk may get of images that no pod needs.
    pub(crate) image_bounds: ImageBounds,
    /// Where the code of modules comes from.
    pub(crate) codes: Codes,
    /// Where streams into containers are opened.
    pub(crate) doors: Doors,
    /// With what it runs Linux containers, or why it runs none.
    pub(crate) containers: Result<ContainerKit, String>,
}

impl fmt::Debug for AgentParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentParts").field("target", &self.target).finish_non_exhaustive()
    }
}

impl AgentParts {
    /// Takes over what is on disk; also the handle that the session needs.
    pub(crate) fn new(
        options: AgentOptions<'_>,
        (local, loaded): (Local, Loaded),
        (modules, images): (Modules, Images),
    ) -> (Self, AgentHost) {
        let AgentOptions {
            node_name,
            state_dir,
            facts,
            api,
            sysctls,
            blocks,
            loopback,
            seal,
            volumes,
            thresholds,
            image_bounds,
            codes,
            doors,
            containers,
        } = options;
        let clock = Clock::start();
        let (tell_by, told_by) = mpsc::channel(SANDBOX_QUEUE_MAX);
        let network = containers.as_ref().ok().map(|kit| kit.network.clone());
        let mut sandboxes = PodSandboxes::open(containers, doors.clone(), tell_by);
        let node = NodeOptions {
            name: node_name.to_owned(),
            facts,
            blocks,
            loopback,
            seal,
            thresholds,
            own_sandboxes: sandboxes.inherited().clone(),
            api,
            sysctls,
            se_linux: Path::new(SE_LINUX).exists(),
            app_armor: app_armor_for(network.as_ref()),
        };
        let core = NodeCore::boot(node, loaded, clock.now());
        sandboxes.take_over(|uid| core.sandbox_order(uid));
        let shared = Arc::new(Shared::new(core.applied()));
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let prober = Prober::new(doors.clone());
        let host = AgentHost::new(sender, Arc::clone(&shared), doors);
        let clerk = Clerk::new(state_dir, volumes);
        let target = codes.target.clone();
        let agent = move |session, requests| Agent {
            core,
            clock,
            local,
            modules,
            clerk,
            session,
            shared,
            requests,
            sandboxes,
            surveys: JoinSet::new(),
            prober,
            checks: JoinSet::new(),
            fetches: JoinSet::new(),
            codes,
            code_waits: JoinSet::new(),
            images,
            image_bounds,
            pulls: JoinSet::new(),
            token_asks: JoinSet::new(),
            writes: FuturesUnordered::new(),
            replies: HashMap::new(),
            changes: 0,
            is_state_failing: false,
            shutting_down: Vec::new(),
            followers: HashMap::new(),
            manifests: BTreeMap::new(),
        };
        (Self { agent: Box::new(agent), target, network, inputs, told_by }, host)
    }

    /// Starts all pods that the disk knows, and keeps them until `shutdown`. `statics` is what the folder of static pods holds, if
    /// there is one.
    pub(crate) async fn run(
        self,
        session: SessionHandle,
        sandbox: Sandbox,
        statics: Option<Scan>,
        shutdown: CancellationToken,
    ) {
        let (requests, asked) = mpsc::channel(SANDBOX_QUEUE_MAX);
        let (tell, told) = mpsc::channel(SANDBOX_QUEUE_MAX);
        let Self { agent, target, network, inputs, told_by } = self;
        let tended = network.map(|network| tokio::spawn(network.tend(session.clone(), shutdown.clone())));
        let driver = tokio::spawn(sandbox::run(sandbox, target, (asked, tell), shutdown.clone()));
        let mut agent = agent(session, Requests::new(requests));
        let ears = Ears { inputs, told, told_by };
        // Before anything is heard of the sandbox: what is not in the folder any more is not started either.
        if let Some(scan) = statics {
            agent.handle_statics(scan);
        }
        agent.run(ears, shutdown).await;
        if driver.await.is_err() {
            tracing::error!("the sandbox's driver panicked");
        }
        if let Some(tended) = tended
            && tended.await.is_err()
        {
            tracing::error!("what sees to the network of pods panicked");
        }
    }
}

/// What the machine has of AppArmor, which is of no use where no Linux container has a network to be in.
fn app_armor_for(network: Option<&PodNetwork>) -> AppArmor {
    network.map_or(AppArmor::Absent, |_| app_armor::of_this_machine().clone())
}

/// Orders of the session that may wait: it sends one change at a time, and questions about logs.
const INPUTS_MAX: usize = 64;

/// What a kernel with SELinux shows.
const SE_LINUX: &str = "/sys/fs/selinux/enforce";

/// Messages to and from the sandbox that may wait.
const SANDBOX_QUEUE_MAX: usize = 1024;
