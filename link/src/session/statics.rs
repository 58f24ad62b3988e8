//! What the node's side has to say of its static pods.

use std::collections::BTreeMap;

use crate::{
    PodUid, frame,
    limits::{STATIC_PODS_ASKED_MAX, STATIC_PODS_MAX},
    statics::{StaticPod, StaticPodName, StaticPods},
};

/// All static pods, and answers about some that are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Statics {
    /// `None` until the caller has said which there are.
    pods: Option<Vec<StaticPodName>>,
    /// Whether this session's coordinator has heard of them as they are now.
    told: bool,
    answers: BTreeMap<PodUid, StaticPod>,
}

impl Statics {
    /// Another connection: whoever is there has heard nothing.
    pub(super) fn handle_connected(&mut self) {
        self.told = false;
        self.answers.clear();
    }

    /// These are all. More than a frame may hold are left out.
    pub(super) fn state(&mut self, mut pods: Vec<StaticPodName>) {
        pods.truncate(STATIC_PODS_MAX);
        if self.pods.as_ref() != Some(&pods) {
            self.pods = Some(pods);
            self.told = false;
        }
    }

    /// Answers what a pod is, unless more wait than a coordinator asks for at a time: it asks again.
    pub(super) fn tell(&mut self, pod: StaticPod) {
        if self.answers.len() < STATIC_PODS_ASKED_MAX {
            self.answers.insert(pod.uid.clone(), pod);
        }
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        if !self.told
            && let Some(pods) = &self.pods
        {
            self.told = true;
            return Some(frame::encode(&StaticPods { pods: pods.clone() }));
        }
        self.answers.pop_first().map(|(_, pod)| frame::encode(&pod))
    }

    /// Whose reports only a coordinator understands that knows static pods.
    pub(super) fn uids(&self) -> impl Iterator<Item = &PodUid> {
        self.pods.iter().flatten().map(|pod| &pod.uid)
    }
}
