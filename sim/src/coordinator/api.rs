//! What the API makes of objects before they are stored: defaults, checks, and what the system sets.

use dunlin_api::{
    Kind, Status,
    admission::{self, PriorityClass, Surroundings, pod_security::Around},
    kind::service::NoPool,
    pipeline::{self, Change, Creation, Ownership, Requester, SUFFIX_ALPHABET, Target},
};
use jiff::Timestamp;
use serde_json::Value;

/// Numbers what a coordinator's clients and controllers make, for uids and generated names; restarts and restores do not reset it.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    made: u64,
}

impl Registrar {
    /// A new object as it is stored.
    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
        now: Timestamp,
    ) -> Result<Value, Status> {
        self.made += 1;
        let class = admission::needs(kind, &object).and_then(|needs| priority_class(needs.priority_class));
        let surroundings = Surroundings { priority_class: class, ..Surroundings::default() };
        let creation = Creation {
            namespace,
            now,
            uid: &format!("c{}", self.made),
            suffix: &suffix(self.made),
            requester: &Requester::default(),
            ownership: Ownership::AsGiven,
            surroundings: &surroundings,
        };
        pipeline::create(kind, object, &creation, &mut NoPool).map(|accepted| accepted.object)
    }
}

/// A changed object as it is stored.
pub(crate) fn update(
    kind: &'static Kind,
    current: &Value,
    object: Value,
    target: Target,
    now: Timestamp,
) -> Result<Value, Status> {
    let change = Change { target, now, ownership: Ownership::AsGiven, around: &Around::Nothing };
    pipeline::update(kind, current, object, &change, &mut NoPool).map(|accepted| accepted.object)
}

/// The classes of worlds where room is scarce: their names tell what they are worth.
fn priority_class(name: &str) -> Option<PriorityClass> {
    let value = name.strip_prefix("worth-")?.parse().ok()?;
    Some(PriorityClass { name: name.to_owned(), value, preemption_policy: "PreemptLowerPriority".to_owned() })
}

fn suffix(mut number: u64) -> String {
    let letters = SUFFIX_ALPHABET.len();
    let mut letter = || {
        let place = usize::try_from(number).unwrap_or_default() % letters;
        number /= letters as u64;
        char::from(SUFFIX_ALPHABET[place])
    };
    (0..5).map(|_| letter()).collect()
}
