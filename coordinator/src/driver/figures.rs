//! Figures about controllers and scheduler.

use crate::metrics::{Collect, Counter, Gauge, Text, Type};

/// Kept by the driver's task.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) turns: Counter,
    pub(super) plans: Counter,
    pub(super) reconciliations: Counter,
    pub(super) failures: Counter,
    pub(super) pending_pods: Gauge,
    pub(super) jobs: Gauge,
}

impl Collect for Figures {
    fn collect(&self, text: &mut Text) {
        let help = "Times that controllers and scheduler looked at what changed.";
        text.counter("dunlin_driver_turns_total", help, self.turns.value());
        let help = "Times that a controller was asked what is to be done about something.";
        text.counter("dunlin_controller_plans_total", help, self.plans.value());
        let help = "Plans of controllers that were carried out.";
        text.counter("dunlin_reconciliations_total", help, self.reconciliations.value());
        let help = "Plans that could not be carried out and are tried again.";
        text.counter("workqueue_retries_total", help, self.failures.value());
        let name = "workqueue_depth";
        text.family(name, Type::Gauge, "Things that are being worked on, or wait for it.");
        text.sample(name, &[("name", "scheduler")], self.pending_pods.value());
        text.sample(name, &[("name", "jobs")], self.jobs.value());
    }
}
