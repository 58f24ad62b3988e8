//! Where pods run: finds out what their images are, and carries between the core and the sandboxes that pods have for themselves.

use std::panic::AssertUnwindSafe;

use dunlin_edge_node_core::{
    node::{SandboxOrder, SurveyOrder, Told},
    pod::Residence,
    sandbox::State,
};
use dunlin_link::PodUid;
use futures_util::FutureExt as _;
use tokio::task::JoinError;

use super::{Agent, clerk::Heard};
use crate::{images::survey::Kind, sandbox::PodTold};

impl Agent {
    /// Answers what the images of a pod are, by what is known of them here, or has their registries asked.
    pub(super) fn survey(&mut self, order: SurveyOrder) {
        let SurveyOrder { uid, images, secrets } = order;
        let now = self.clock.now();
        if self.sandboxes.refusal().is_some() {
            // A Linux image cannot even be pulled here.
            return self.core.handle_surveyed(&uid, Residence::Shared, now);
        }
        let mut unknown = Vec::new();
        for image in images {
            match self.images.kind_here(&image, |digest| self.modules.has(digest)) {
                Some(Kind::Linux) => return self.core.handle_surveyed(&uid, Residence::Own, now),
                Some(Kind::Module) => {}
                None => unknown.push(image),
            }
        }
        if unknown.is_empty() {
            return self.core.handle_surveyed(&uid, Residence::Shared, now);
        }
        let (images, session) = (self.images.clone(), self.session.clone());
        self.surveys.spawn(async move {
            let look = AssertUnwindSafe(async {
                for image in unknown {
                    if images.look(&image, &secrets, &session).await != Some(Kind::Module) {
                        return Residence::Own;
                    }
                }
                Residence::Shared
            });
            // What nobody can tell may be a Linux image: then its pod is where that can run.
            (uid, look.catch_unwind().await.unwrap_or(Residence::Own))
        });
    }

    pub(super) fn handle_surveyed(&mut self, surveyed: Result<(PodUid, Residence), JoinError>) {
        match surveyed {
            Ok((uid, residence)) => self.core.handle_surveyed(&uid, residence, self.clock.now()),
            Err(error) => tracing::error!(%error, "a look at the images of a pod ended without an answer"),
        }
    }

    /// Has a pod's own sandbox made.
    pub(super) fn open_sandbox(&mut self, order: SandboxOrder) {
        let uid = order.pod.uid.clone();
        if let Err(why) = self.sandboxes.make(order) {
            self.core.handle_told_by(&uid, Told::NotOpened(why), self.clock.now());
        }
    }

    /// Hands on what a pod's own sandbox told; an end whose message is to come from its log waits for that.
    pub(super) fn hear_by(&mut self, heard: PodTold) {
        match self.core.log_of_failure(&heard.told) {
            Some(place) => self.clerk.read_end(place, Heard::Pod(heard)),
            None => self.tell_by(heard),
        }
    }

    pub(super) fn tell_by(&mut self, heard: PodTold) {
        if !self.sandboxes.is_current(&heard) {
            return;
        }
        if let Told::Container { id, state: State::Exited(_), .. } = &heard.told {
            self.end_followers(id);
        }
        self.core.handle_told_by(&heard.uid, heard.told, self.clock.now());
    }
}
