//! Carries out what the core asks for.

use std::sync::Arc;

use dunlin_edge_node_core::node::{Notice, Output};
use futures_util::FutureExt;

use super::Agent;

impl Agent {
    /// Takes all that the core asks for.
    pub(super) fn carry(&mut self) {
        let now = self.clock.now();
        while let Some(output) = self.core.poll_output(now) {
            self.carry_out(output);
        }
        self.clerk.work();
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Write { ticket, batch } => {
                let write = self.local.write(*batch);
                self.writes.push(write.map(move |result| (ticket, result)).boxed());
            }
            Output::Committed { ticket, result } => {
                self.shared.set_applied(self.core.applied());
                if let Some(reply) = self.replies.remove(&ticket) {
                    // The session may have ended meanwhile; its next one learns the revision anew.
                    let _ = reply.send(result.map_err(std::io::Error::other));
                }
            }
            Output::Ask(request) => self.requests.outbox.push_back(request),
            Output::AskPod(uid, request) => self.sandboxes.ask(&uid, request),
            Output::Survey(order) => self.survey(*order),
            Output::OpenSandbox(order) => self.open_sandbox(*order),
            Output::CloseSandbox(uid) => self.sandboxes.close(&uid),
            Output::Locate(digest) => self.locate_image(digest),
            Output::Fetch { digest, reference } => self.fetch(digest, &reference),
            Output::Pull(order) => self.pull_image(*order),
            Output::AskToken(order) => self.ask_token(*order),
            Output::Check(order) => {
                self.checks.spawn(self.prober.clone().look(*order));
            }
            Output::Prepare(preparation) => self.prepare(preparation),
            Output::Report(report) => {
                self.shared.reported((*report).clone());
                self.session.report(*report);
            }
            Output::Forgotten { uid, pod } => {
                self.shared.forget(&uid);
                self.clerk.remove_logs(pod.iter().map(Arc::clone));
                pod.into_iter().for_each(|pod| self.clerk.unmount(pod));
            }
            Output::Sweep(named) => self.sweep(&named),
            Output::Reclaim(named) => self.reclaim(&named),
            Output::Project(projecting) => self.clerk.project(projecting),
            Output::Unmount(pod) => self.clerk.unmount(pod),
            Output::DropLogs(pod) => self.clerk.remove_logs(std::iter::once(pod)),
            Output::State(state) => self.session.state(*state),
            Output::StartOver => {
                tracing::warn!("content cannot be opened with this node's sealing key; asking for it again");
                self.session.start_over();
            }
            Output::Event(event) => self.session.event(event),
            Output::Facts(facts) => self.session.facts(*facts),
            Output::StaticPods(pods) => self.session.static_pods(pods),
            Output::Pods(pods) => self.shared.set_pods(pods),
            Output::Notice(notice) => log(notice),
        }
    }
}

fn log(notice: Notice) {
    match notice {
        Notice::OtherSet { base, revision } => {
            let (base, revision) = (base.map(|base| base.0), revision.0);
            tracing::warn!(base, revision, "a change leads to another set than the coordinator means");
        }
        Notice::MissingContent(content) => {
            tracing::warn!(%content, "a change names content that is not here; asking for everything");
        }
        Notice::Held(pod) => {
            tracing::warn!(%pod, "the coordinator neither names nor buries a pod; it is held");
        }
        Notice::Panicked(pod) => tracing::error!(%pod, "a pod's turn panicked"),
        Notice::Stranger(pod) => {
            tracing::warn!(%pod, "a container runs whose pod is not known here; it is kept");
        }
        Notice::SandboxLost { containers } => {
            tracing::warn!(containers, "the runner is gone, and its containers ended with it");
        }
        Notice::RunsRecovered { runs } => {
            tracing::info!(
                runs,
                "runs that nobody remembered left logs, as after a power cut; they count as killed"
            );
        }
        Notice::StaticPod(event) => {
            let pod = event.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
            let (pod, reason, message) = (pod.unwrap_or_default(), event.reason, event.message);
            tracing::info!(pod, reason, message, "static pod");
        }
        Notice::NotRemembered(error) => {
            // That the state cannot be written is said once, with the first write that fails.
            tracing::debug!(error, "memories of pods could not be written and are tried again");
        }
    }
}
