//! When autoscalers look at their targets, and what they remember of it.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Key, Reconciler};
use crate::{
    ObjectKey,
    controllers::{
        Action, Plan,
        autoscaler::{self, Measured, Memory, PERIOD},
    },
    view::DecodeError,
};

/// What is remembered of autoscalers, by name: more than the store holds.
#[derive(Debug, Default)]
pub struct Memories(HashMap<ObjectKey, Memory>);

impl Reconciler {
    /// Folds in a HorizontalPodAutoscaler as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_autoscaler(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        let before = self.view.apply_autoscaler(key, json)?;
        let after = self.view.autoscaler(key);
        let is_same = before
            .zip(after)
            .is_some_and(|(before, after)| before.meta.uid == after.meta.uid && before.spec == after.spec);
        if !is_same {
            // What somebody has just written is followed at once, and then every period.
            self.memories.0.entry(key.clone()).or_default().next = None;
            self.keys.touch(Key::Autoscaler(key.clone()));
        }
        Ok(())
    }

    /// Forgets a HorizontalPodAutoscaler.
    pub fn forget_autoscaler(&mut self, key: &ObjectKey) {
        self.view.delete_autoscaler(key);
        self.memories.0.remove(key);
    }

    /// Takes what was found out about an autoscaler's target.
    pub fn measured(&mut self, key: &ObjectKey, measured: Measured) {
        if let Some(memory) = self.memories.0.get_mut(key) {
            memory.measured = Some(measured);
            self.keys.touch(Key::Autoscaler(key.clone()));
        }
    }

    /// Takes out what is remembered beside the view, for whoever starts over with a new view.
    pub fn take_memories(&mut self) -> Memories {
        std::mem::take(&mut self.memories)
    }

    /// Puts it back.
    pub fn remember(&mut self, memories: Memories) {
        self.memories = memories;
    }

    pub(super) fn plan_autoscaler(&mut self, key: &ObjectKey, now: Timestamp) -> Plan {
        let Some(autoscaler) = self.view.autoscaler(key) else { return Plan::nothing() };
        let memory = self.memories.0.entry(key.clone()).or_default();
        // Nothing further ahead than a period was noted by the clock that there is now.
        let is_due = memory.next.is_none_or(|next| next <= now || next > now + PERIOD);
        let mut plan = if let Some(measured) = memory.measured.take() {
            autoscaler::reconcile(&self.view, (key, autoscaler), memory, measured, now)
        } else if is_due {
            memory.next = Some(now + PERIOD);
            let target = &autoscaler.spec.scale_target_ref;
            let measure = Action::Measure {
                key: key.clone(),
                api_version: target.api_version.clone().unwrap_or_default(),
                kind: target.kind.clone(),
                name: target.name.clone(),
            };
            Plan { actions: vec![measure], again_at: None }
        } else {
            Plan::nothing()
        };
        if let Some(next) = memory.next {
            plan.wake_at(next);
        }
        plan
    }
}
