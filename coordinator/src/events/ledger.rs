//! Decides which occurrences become new events, which raise the count of one, and which are too many.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::{Occurrence, Regarding, Severity};

/// What to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A new event.
    Create {
        /// The first of its kind.
        occurrence: Box<Occurrence>,
        /// `metadata.name`.
        name: String,
        /// How many there are already.
        count: u64,
    },
    /// A higher count of an event.
    Raise {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Including the new ones.
        count: u64,
        /// `lastTimestamp`.
        at: Timestamp,
    },
}

/// What was written lately.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    known: HashMap<Text, Known>,
    /// The same, by the time they were last seen, so that the oldest are forgotten first.
    oldest_first: BTreeSet<(Timestamp, String)>,
    by_name: HashMap<String, Text>,
    hosts: HashMap<String, Host>,
}

/// What makes two occurrences the same event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text {
    regarding: Regarding,
    severity: Severity,
    reason: String,
    message: String,
    host: String,
}

#[derive(Debug)]
struct Known {
    name: String,
    count: u64,
    last: Timestamp,
}

/// What one host may still tell. The coordinator's own events have the empty name and are bound by object only.
#[derive(Debug)]
struct Host {
    budget: Budget,
    /// By uid, which is the host's own word.
    objects: HashMap<String, Budget>,
}

/// How many more events an object or a host may tell.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    refilled: Timestamp,
}

impl Ledger {
    /// Judges a batch at `now`; occurrences of one text in it become one verdict.
    pub(super) fn judge(&mut self, batch: impl Iterator<Item = Occurrence>, now: Timestamp) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::new();
        let mut in_batch: HashMap<String, usize> = HashMap::new();
        for occurrence in batch {
            let at = occurrence.at;
            if !self.within_budget(&occurrence, now) {
                continue;
            }
            let text = Text::of(&occurrence);
            let repeat =
                self.known.get_mut(&text).filter(|known| at.duration_since(known.last) < REPEAT_WINDOW);
            let Some(known) = repeat else {
                let name = self.remember(text, at);
                in_batch.insert(name.clone(), verdicts.len());
                verdicts.push(Verdict::Create { occurrence: Box::new(occurrence), name, count: 1 });
                continue;
            };
            known.count += 1;
            self.oldest_first.remove(&(known.last, known.name.clone()));
            known.last = known.last.max(at);
            self.oldest_first.insert((known.last, known.name.clone()));
            let (name, newest_count, newest) = (known.name.clone(), known.count, known.last);
            match in_batch.get(&name).map(|index| &mut verdicts[*index]) {
                Some(Verdict::Create { count, .. }) => *count = newest_count,
                Some(Verdict::Raise { count, at, .. }) => (*count, *at) = (newest_count, newest),
                None => {
                    in_batch.insert(name.clone(), verdicts.len());
                    let namespace = super::namespace(&occurrence.regarding).to_owned();
                    verdicts.push(Verdict::Raise { namespace, name, count: newest_count, at: newest });
                }
            }
        }
        verdicts
    }

    /// Notes a new event; answers its name.
    fn remember(&mut self, text: Text, at: Timestamp) -> String {
        // Kubernetes takes the nanoseconds of the clock; counting up from there keeps names apart that fall together.
        let mut nanoseconds = at.as_nanosecond();
        let name = loop {
            let name = format!("{}.{nanoseconds:x}", text.regarding.name);
            if !self.by_name.contains_key(&name) {
                break name;
            }
            nanoseconds += 1;
        };
        if let Some(earlier) =
            self.known.insert(text.clone(), Known { name: name.clone(), count: 1, last: at })
        {
            self.oldest_first.remove(&(earlier.last, earlier.name.clone()));
            self.by_name.remove(&earlier.name);
        }
        self.oldest_first.insert((at, name.clone()));
        self.by_name.insert(name.clone(), text);
        while self.oldest_first.len() > KNOWN_MAX
            && let Some((_, oldest)) = self.oldest_first.pop_first()
            && let Some(text) = self.by_name.remove(&oldest)
        {
            self.known.remove(&text);
        }
        name
    }

    fn within_budget(&mut self, occurrence: &Occurrence, now: Timestamp) -> bool {
        // Hosts are registered nodes, so that their number is bounded by the cluster's.
        let host = self
            .hosts
            .entry(occurrence.host.clone())
            .or_insert_with(|| Host { budget: Budget::full(HOST, now), objects: HashMap::new() });
        if !occurrence.host.is_empty() && !host.budget.spend(HOST, now) {
            return false;
        }
        let uid = &occurrence.regarding.uid;
        if host.objects.len() >= KNOWN_MAX && !host.objects.contains_key(uid) {
            // Everybody starts anew, which costs little: whoever makes up objects has a host's budget to spend.
            host.objects.clear();
        }
        host.objects.entry(uid.clone()).or_insert_with(|| Budget::full(OBJECT, now)).spend(OBJECT, now)
    }
}

impl Budget {
    const fn full(rate: Rate, now: Timestamp) -> Self {
        Self { left: rate.burst, refilled: now }
    }

    /// Takes one, if there is one left.
    fn spend(&mut self, rate: Rate, now: Timestamp) -> bool {
        let passed = now.duration_since(self.refilled).as_secs().max(0) / rate.refill_seconds;
        if passed > 0 {
            let earned = u32::try_from(passed).unwrap_or(rate.burst);
            *self = Self { left: self.left.saturating_add(earned).min(rate.burst), refilled: now };
        }
        let within = self.left > 0;
        self.left = self.left.saturating_sub(1);
        within
    }
}

impl Text {
    fn of(occurrence: &Occurrence) -> Self {
        Self {
            regarding: occurrence.regarding.clone(),
            severity: occurrence.severity,
            reason: occurrence.reason.clone(),
            message: occurrence.message.clone(),
            host: occurrence.host.clone(),
        }
    }
}

/// A repeat after longer is a new event, as in Kubernetes' aggregation.
const REPEAT_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// Texts and objects remembered; Kubernetes' cache has the same size.
const KNOWN_MAX: usize = 4096;

/// How much may be told at once, and how soon there is one more.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    refill_seconds: i64,
}

/// Kubernetes' rate for one object.
const OBJECT: Rate = Rate { burst: 25, refill_seconds: 300 };

/// A host's rate: hundreds of pods may start together, and then nothing much happens.
const HOST: Rate = Rate { burst: 2_000, refill_seconds: 1 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::User;

    fn occurrence(message: &str, seconds: i64) -> Occurrence {
        Occurrence {
            user: User::scheduler(),
            regarding: Regarding {
                api_version: "v1".into(),
                kind: "Pod",
                namespace: "ns".into(),
                name: "p".into(),
                uid: "u".into(),
                field_path: String::new(),
            },
            severity: Severity::Normal,
            reason: "R".into(),
            message: message.into(),
            component: "test",
            host: String::new(),
            at: Timestamp::from_second(seconds).unwrap(),
        }
    }

    fn batch_time(batch: &[Occurrence]) -> Timestamp {
        batch.iter().map(|occurrence| occurrence.at).max().unwrap()
    }

    fn judged(ledger: &mut Ledger, batch: &[(&str, i64)]) -> Vec<(String, u64)> {
        let batch: Vec<Occurrence> =
            batch.iter().map(|(message, seconds)| occurrence(message, *seconds)).collect();
        let summary = |verdict| match verdict {
            Verdict::Create { occurrence, count, .. } => (occurrence.message, count),
            Verdict::Raise { name, count, .. } => (name, count),
        };
        let now = batch_time(&batch);
        ledger.judge(batch.into_iter(), now).into_iter().map(summary).collect()
    }

    #[test]
    fn repeats_are_counted_and_late_ones_start_anew() {
        let mut ledger = Ledger::default();
        assert_eq!(judged(&mut ledger, &[("a", 1), ("b", 1), ("a", 1)]), [("a".into(), 2), ("b".into(), 1)]);
        assert_eq!(judged(&mut ledger, &[("a", 2), ("a", 3)]), [("p.3b9aca00".into(), 4)]);
        assert_eq!(judged(&mut ledger, &[("b", 700)]), [("b".into(), 1)]);
    }

    #[test]
    fn one_object_tells_so_much_and_no_more() {
        let mut ledger = Ledger::default();
        let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let batch: Vec<(&str, i64)> = many.iter().map(|message| (message.as_str(), 0)).collect();
        assert_eq!(judged(&mut ledger, &batch).len(), 25);
        assert_eq!(judged(&mut ledger, &[("x", 299)]).len(), 0);
        assert_eq!(judged(&mut ledger, &[("x", 300), ("y", 300)]).len(), 1);
    }

    #[test]
    fn one_host_tells_so_much_however_many_objects_it_makes_up() {
        let mut ledger = Ledger::default();
        let now = Timestamp::from_second(9).unwrap();
        let mut flood = |host: &str, count: usize| {
            let told = (0..count).map(|number| {
                let mut one = occurrence("m", 9);
                one.regarding.uid = number.to_string();
                one.host = host.to_owned();
                one
            });
            ledger.judge(told, now).len()
        };
        assert_eq!(flood("n1", 5_000), 2_000);
        assert_eq!(flood("n1", 1), 0);
        assert_eq!(flood("n2", 1), 1);
        assert_eq!(flood("", 5_000), 5_000);
    }

    #[test]
    fn names_never_fall_together() {
        let mut ledger = Ledger::default();
        let names: Vec<String> = ledger
            .judge(
                ["a", "b", "c"].into_iter().map(|message| occurrence(message, 5)),
                Timestamp::from_second(5).unwrap(),
            )
            .into_iter()
            .filter_map(|verdict| match verdict {
                Verdict::Create { name, .. } => Some(name),
                Verdict::Raise { .. } => None,
            })
            .collect();
        assert_eq!(names, ["p.12a05f200", "p.12a05f201", "p.12a05f202"]);
    }
}
