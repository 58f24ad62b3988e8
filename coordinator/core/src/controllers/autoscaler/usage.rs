//! How many pods would use what they should, by what they use now.
//!
//! Pods that nothing is known of, and those that only begin, must neither hide a need nor make one up: whatever they are taken for, they
//! may make the change smaller, and never turn it round.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    times,
    view::{Phase, PodInfo},
};

/// What a pod uses of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// In thousandths of the resource's unit.
    pub(super) milli: i64,
    /// Until when it was measured.
    pub(super) at: Timestamp,
    /// For how long.
    pub(super) window: Duration,
}

/// What pods should use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// This share of what they request, in hundredths.
    Utilization(i64),
    /// So much each, in thousandths.
    Each(i64),
}

/// The resource that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Cpu,
    Memory,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) replicas: i64,
    /// The share of what is requested, in hundredths.
    pub(super) utilization: i64,
    /// What a pod uses on average, in thousandths.
    pub(super) average: i64,
}

/// What all is calculated from.
pub(super) struct Calculation<'a> {
    pub(super) measure: Measure,
    pub(super) goal: Goal,
    pub(super) current: i64,
    /// Below and above.
    pub(super) tolerances: (f64, f64),
    pub(super) pods: &'a [(&'a str, &'a PodInfo)],
    /// What each pod requests, in thousandths; of no use where the goal is no share.
    pub(super) requests: BTreeMap<&'a str, i64>,
    pub(super) now: Timestamp,
}

/// Pods by what is to be thought of them.
#[derive(Debug, Default)]
struct Groups<'a> {
    ready: i64,
    unready: BTreeSet<&'a str>,
    missing: BTreeSet<&'a str>,
}

impl<'a> Calculation<'a> {
    pub(super) fn run(&self, mut samples: BTreeMap<&'a str, Sample>) -> Result<Found, String> {
        if self.pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".to_owned());
        }
        let groups = self.groups(&mut samples);
        let mut uses: BTreeMap<&str, i64> =
            samples.into_iter().map(|(name, sample)| (name, sample.milli)).collect();
        if uses.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
        }
        let (ratio, found) = self.ratio(&uses)?;
        let grows_unready = !groups.unready.is_empty() && ratio > 1.0;
        if !grows_unready && groups.missing.is_empty() {
            let replicas = if self.tolerates(ratio) { self.current } else { scaled(ratio, groups.ready) };
            return Ok(Found { replicas, ..found });
        }
        for name in &groups.missing {
            if let Some(taken) = self.taken_for(name, ratio) {
                uses.insert(name, taken);
            }
        }
        if grows_unready {
            uses.extend(groups.unready.iter().map(|name| (*name, 0)));
        }
        let (new_ratio, _) = self.ratio(&uses)?;
        let turns = (ratio < 1.0 && new_ratio > 1.0) || (ratio > 1.0 && new_ratio < 1.0);
        if self.tolerates(new_ratio) || turns {
            return Ok(Found { replicas: self.current, ..found });
        }
        let replicas = scaled(new_ratio, i64::try_from(uses.len()).unwrap_or(i64::MAX));
        let turns =
            (new_ratio < 1.0 && replicas > self.current) || (new_ratio > 1.0 && replicas < self.current);
        Ok(Found { replicas: if turns { self.current } else { replicas }, ..found })
    }

    /// What a pod that nothing is known of is taken to use: on the way down what it may, on the way up nothing.
    fn taken_for(&self, name: &str, ratio: f64) -> Option<i64> {
        match self.goal {
            Goal::Utilization(percent) if ratio < 1.0 => {
                let request = self.requests.get(name).copied().unwrap_or(0);
                Some(request.saturating_mul(percent.max(100)) / 100)
            }
            Goal::Utilization(_) if ratio > 1.0 => Some(0),
            Goal::Utilization(_) => None,
            Goal::Each(milli) if ratio < 1.0 => Some(milli),
            Goal::Each(_) => Some(0),
        }
    }

    /// What is used, as a share of what should be.
    fn ratio(&self, uses: &BTreeMap<&str, i64>) -> Result<(f64, Found), String> {
        match self.goal {
            Goal::Utilization(percent) => {
                let known: Vec<(i64, i64)> =
                    uses.iter().filter_map(|(name, used)| Some((*used, *self.requests.get(name)?))).collect();
                let used: i128 = known.iter().map(|(used, _)| i128::from(*used)).sum();
                let requested: i128 = known.iter().map(|(_, request)| i128::from(*request)).sum();
                if requested == 0 {
                    return Err("no metrics returned matched known pods".to_owned());
                }
                let utilization = narrow(used * 100 / requested);
                let average = narrow(used / i128::try_from(known.len()).unwrap_or(1));
                let found = Found { replicas: self.current, utilization, average };
                Ok((utilization as f64 / percent as f64, found))
            }
            Goal::Each(milli) => {
                let used: i128 = uses.values().map(|used| i128::from(*used)).sum();
                let average = narrow(used / i128::try_from(uses.len()).unwrap_or(1));
                let found = Found { replicas: self.current, utilization: 0, average };
                Ok((average as f64 / milli as f64, found))
            }
        }
    }

    /// Takes out samples that say nothing of how a pod will do.
    fn groups(&self, samples: &mut BTreeMap<&'a str, Sample>) -> Groups<'a> {
        let mut groups = Groups::default();
        for (name, pod) in self.pods {
            if pod.deletion.is_some() || pod.phase == Phase::Failed {
                samples.remove(name);
                continue;
            }
            if pod.phase == Phase::Pending {
                samples.remove(name);
                groups.unready.insert(name);
                continue;
            }
            match samples.get(name) {
                None => drop(groups.missing.insert(name)),
                Some(sample) if self.measure == Measure::Cpu && self.begins(pod, sample) => {
                    samples.remove(name);
                    groups.unready.insert(name);
                }
                Some(_) => groups.ready += 1,
            }
        }
        // Of pods that are no more, or not of this target.
        samples.retain(|name, _| self.pods.iter().any(|(known, _)| known == name));
        groups
    }

    /// Whether what a pod computes is still that of its beginning.
    fn begins(&self, pod: &PodInfo, sample: &Sample) -> bool {
        let Some((is_ready, _)) = &pod.ready else { return true };
        // Of a node that did not know the time there is none.
        let started = pod.started.unwrap_or(pod.created);
        let changed = pod.ready_changed_at.unwrap_or_default();
        let is_young = times::after(started, INITIALIZATION) > self.now
            && !times::is_of_another_clock(started, self.now);
        if is_young {
            !is_ready || sample.at < times::after(changed, sample.window)
        } else {
            !is_ready && times::after(started, READINESS_DELAY) > changed
        }
    }

    fn tolerates(&self, ratio: f64) -> bool {
        let (below, above) = self.tolerances;
        (1.0 - below..=1.0 + above).contains(&ratio)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates; the bounds of the autoscaler come after it")]
fn scaled(ratio: f64, count: i64) -> i64 {
    (ratio * count as f64).ceil() as i64
}

fn narrow(value: i128) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// How long after its start a pod may compute more than it will later.
const INITIALIZATION: Duration = Duration::from_secs(300);

/// How long after its start a pod may become unready and still count as never having been ready.
const READINESS_DELAY: Duration = Duration::from_secs(30);
