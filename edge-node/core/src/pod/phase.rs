//! `status.phase`, from container statuses, as the kubelet derives it.

use dunlin_link::{
    pod::{PodAssignment, RestartPolicy},
    status::{ContainerState, ContainerStatus, PodPhase},
};

use super::{ContainerIndex, decide::restart_policy};

/// Whether a pod still has something to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Containers may start and end.
    Open,
    /// Nothing runs or will run: the phase is final.
    Over,
}

/// The phase of a pod with these statuses.
pub(super) fn phase(
    pod: &PodAssignment,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
    life: Life,
) -> PodPhase {
    let mut init_pending = false;
    for (index, (status, container)) in init.iter().zip(&pod.spec.init_containers).enumerate() {
        let progress = progress(status);
        let failed = matches!(progress, Progress::Stopped { code } if code != 0);
        let policy = restart_policy(pod, ContainerIndex(index));
        if failed && !container.sidecar && policy == RestartPolicy::Never {
            return if life == Life::Over { PodPhase::Failed } else { PodPhase::Pending };
        }
        init_pending |= match progress {
            Progress::Waiting => true,
            Progress::Running => !container.sidecar,
            Progress::Stopped { .. } => false,
        };
    }
    let progresses: Vec<_> = containers.iter().map(progress).collect();
    let waiting = progresses.contains(&Progress::Waiting);
    let running = progresses.contains(&Progress::Running);
    let succeeded = progresses.iter().all(|progress| *progress == Progress::Stopped { code: 0 });
    match life {
        Life::Over if succeeded => PodPhase::Succeeded,
        Life::Over => PodPhase::Failed,
        // While sidecars are being stopped, a finished pod is still running something.
        Life::Open if waiting || init_pending && !running => PodPhase::Pending,
        Life::Open => PodPhase::Running,
    }
}

/// How far a container came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Running,
    Stopped { code: i32 },
}

fn progress(status: &ContainerStatus) -> Progress {
    match (&status.state, &status.last_state) {
        (ContainerState::Running { .. }, _) => Progress::Running,
        (ContainerState::Terminated(end), _) | (ContainerState::Waiting { .. }, Some(end)) => {
            Progress::Stopped { code: end.exit_code }
        }
        (ContainerState::Waiting { .. }, None) => Progress::Waiting,
    }
}
