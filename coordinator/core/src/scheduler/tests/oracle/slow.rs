//! The slow scheduler: Kubernetes' rules, each written as it is told, over the whole list of pods.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Model, Namespaces, Node, Pod, Spread, Term};

/// Score or reasons per node.
pub(super) type Judged = BTreeMap<String, Result<i64, String>>;

impl Model {
    pub(super) fn judge(&self, pod: &Pod) -> Judged {
        let verdicts: Vec<(&Node, Result<(), String>)> =
            self.nodes.iter().map(|node| (node, self.fits(pod, node).map_err(|(why, _)| why))).collect();
        let fitting: Vec<&Node> =
            verdicts.iter().filter(|(_, fits)| fits.is_ok()).map(|(node, _)| *node).collect();
        let scores = self.scores(pod, &fitting);
        let judged =
            verdicts.into_iter().map(|(node, fits)| (node.name.clone(), fits.map(|()| scores[&node.name])));
        judged.collect()
    }

    pub(super) fn best(&self, judged: &Judged) -> Option<String> {
        let fitting = judged.iter().filter_map(|(name, verdict)| Some((verdict.as_ref().ok()?, name)));
        let count = |name: &String| self.on(name).count();
        let best = fitting.min_by_key(|(score, name)| (-**score, count(name), (*name).clone()));
        best.map(|(_, name)| name.clone())
    }

    fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().filter(move |pod| pod.node.as_deref() == Some(node))
    }

    /// Reasons, and whether pods that go away could help.
    fn fits(&self, pod: &Pod, node: &Node) -> Result<(), (String, bool)> {
        let never = |why: &str| Err((why.to_owned(), false));
        let perhaps = |why: &str| Err((why.to_owned(), true));
        if node.cordoned && !pod.tolerates {
            return never("node(s) were unschedulable");
        }
        if node.taint == Some("NoSchedule") && !pod.tolerates {
            return never("node(s) had untolerated taint(s)");
        }
        if pod.disk.is_some_and(|disk| disk != node.disk) {
            return never("node(s) didn't match Pod's node affinity/selector");
        }
        if pod.port.is_some() && self.on(&node.name).any(|other| other.port == pod.port) {
            return perhaps("node(s) didn't have free ports for the requested pod ports");
        }
        self.resources(pod, node)?;
        self.spread_fits(pod, node)?;
        if !self.near(pod, node) {
            return never("node(s) didn't match pod affinity rules");
        }
        let near = |key: &str| -> Vec<&Pod> { self.in_domain(node, key) };
        for term in pod.terms.iter().filter(|term| term.anti && term.weight.is_none()) {
            if near(term.key).iter().any(|other| means(pod, term, other)) {
                return perhaps("node(s) didn't match pod anti-affinity rules");
            }
        }
        for other in &self.pods {
            for term in other.terms.iter().filter(|term| term.anti && term.weight.is_none()) {
                if means(other, term, pod) && near(term.key).iter().any(|one| one.name == other.name) {
                    return perhaps("node(s) didn't satisfy existing pods anti-affinity rules");
                }
            }
        }
        Ok(())
    }

    fn resources(&self, pod: &Pod, node: &Node) -> Result<(), (String, bool)> {
        let mut reasons = Vec::new();
        let mut helpful = true;
        if self.on(&node.name).count() >= node.pods_max {
            reasons.push("Too many pods");
        }
        let cpu: i64 = self.on(&node.name).map(|pod| pod.milli_cpu).sum();
        let memory: i64 = self.on(&node.name).map(|pod| pod.mebibytes).sum();
        for (reason, wanted, held, there) in [
            ("Insufficient cpu", pod.milli_cpu, cpu, node.milli_cpu),
            ("Insufficient memory", pod.mebibytes, memory, node.mebibytes),
        ] {
            if wanted > 0 && wanted > there - held {
                reasons.push(reason);
                helpful &= wanted <= there;
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err((reasons.join(", "), helpful)) }
    }

    /// Pods on nodes with the same value of the label as `node`; none when it has none.
    fn in_domain(&self, node: &Node, key: &str) -> Vec<&Pod> {
        let Some(value) = node.label(key) else { return Vec::new() };
        let same = self.nodes.iter().filter(|other| other.label(key) == Some(value));
        same.flat_map(|other| self.on(&other.name)).collect()
    }

    fn near(&self, pod: &Pod, node: &Node) -> bool {
        let terms: Vec<&Term> = pod.terms.iter().filter(|term| !term.anti && term.weight.is_none()).collect();
        if terms.iter().any(|term| node.label(term.key).is_none()) {
            return false;
        }
        let all = |other: &Pod| terms.iter().all(|term| means(pod, term, other));
        let here = terms.iter().all(|term| self.in_domain(node, term.key).into_iter().any(all));
        let anywhere = terms
            .iter()
            .any(|term| self.nodes.iter().any(|node| self.in_domain(node, term.key).into_iter().any(all)));
        here || !anywhere && all(pod)
    }

    /// Nodes that count for a constraint.
    fn counted(&self, pod: &Pod, spread: &Spread, keys: &[&str]) -> Vec<&Node> {
        let counts = |node: &&Node| {
            keys.iter().all(|key| node.label(key).is_some())
                && (spread.ignores_affinity || pod.disk.is_none_or(|disk| disk == node.disk))
                && (!spread.honors_taints || pod.tolerates || node.taint != Some("NoSchedule"))
        };
        self.nodes.iter().filter(counts).collect()
    }

    fn spread_count(&self, pod: &Pod, spread: &Spread, nodes: &[&Node], value: &str) -> i64 {
        let here = nodes.iter().filter(|node| node.label(spread.key) == Some(value));
        let pods = here.flat_map(|node| self.on(&node.name));
        let like =
            pods.filter(|one| !one.deleting && one.namespace == pod.namespace && one.app == spread.app);
        number(like.count())
    }

    fn spread_fits(&self, pod: &Pod, node: &Node) -> Result<(), (String, bool)> {
        let hard: Vec<&Spread> = pod.spread.iter().filter(|spread| spread.hard).collect();
        let keys: Vec<&str> = hard.iter().map(|spread| spread.key).collect();
        let broken = "node(s) didn't match pod topology spread constraints";
        for spread in &hard {
            let Some(value) = node.label(spread.key) else {
                return Err((format!("{broken} (missing required label)"), false));
            };
            let nodes = self.counted(pod, spread, &keys);
            let values: BTreeSet<&str> = nodes.iter().filter_map(|node| node.label(spread.key)).collect();
            let counts = values.iter().map(|value| self.spread_count(pod, spread, &nodes, value));
            let mut least = counts.min().unwrap_or(0);
            if number(values.len()) < spread.min_domains.unwrap_or(1) {
                least = 0;
            }
            let own = i64::from(pod.app == spread.app);
            if self.spread_count(pod, spread, &nodes, value) + own - least > spread.skew {
                return Err((broken.to_owned(), true));
            }
        }
        Ok(())
    }

    fn scores(&self, pod: &Pod, fitting: &[&Node]) -> BTreeMap<String, i64> {
        let taints = |node: &Node| i64::from(node.taint == Some("PreferNoSchedule") && !pod.tolerates);
        let disk = |node: &Node| {
            pod.prefers_disk.map_or(0, |(weight, disk)| if disk == node.disk { weight } else { 0 })
        };
        let most = |score: &dyn Fn(&Node) -> i64| fitting.iter().map(|node| score(node)).max().unwrap_or(0);
        let (most_taints, most_disk) = (most(&taints), most(&disk));
        let spread = self.spread_scores(pod, fitting);
        let affinity = self.affinity_scores(pod, fitting);
        let score = |(index, node): (usize, &&Node)| {
            let taints = 100 - if most_taints == 0 { 0 } else { 100 * taints(node) / most_taints };
            let disk = if most_disk == 0 { 0 } else { 100 * disk(node) / most_disk };
            let sum = 3 * taints + 2 * disk + 2 * spread[index] + 2 * affinity[index];
            (node.name.clone(), sum + self.least_allocated(pod, node) + self.balance(pod, node))
        };
        fitting.iter().enumerate().map(score).collect()
    }

    fn least_allocated(&self, pod: &Pod, node: &Node) -> i64 {
        let assumed = |amount: i64, otherwise: i64| if amount == 0 { otherwise } else { amount };
        let pods = || self.on(&node.name).chain([pod]);
        let cpu: i64 = pods().map(|pod| assumed(pod.milli_cpu, 100)).sum();
        let memory: i64 = pods().map(|pod| assumed(pod.mebibytes, 200)).sum();
        let left = |used: i64, there: i64| if used > there { 0 } else { (there - used) * 100 / there };
        i64::midpoint(left(cpu, node.milli_cpu), left(memory, node.mebibytes))
    }

    fn balance(&self, pod: &Pod, node: &Node) -> i64 {
        if pod.milli_cpu == 0 && pod.mebibytes == 0 {
            return 0;
        }
        let even = |pods: &[&Pod]| {
            let part = |used: i64, there: i64| (used * 1_000_000 / there).min(1_000_000);
            let cpu = part(pods.iter().map(|pod| pod.milli_cpu).sum(), node.milli_cpu);
            let memory = part(pods.iter().map(|pod| pod.mebibytes).sum(), node.mebibytes);
            (2_000_000 - (cpu - memory).abs()) * 100 / 2_000_000
        };
        let mut pods: Vec<&Pod> = self.on(&node.name).collect();
        let without = even(&pods);
        pods.push(pod);
        50 + (50 + even(&pods) - without) / 2
    }

    fn spread_scores(&self, pod: &Pod, fitting: &[&Node]) -> Vec<i64> {
        let soft: Vec<&Spread> = pod.spread.iter().filter(|spread| !spread.hard).collect();
        if soft.is_empty() {
            return vec![0; fitting.len()];
        }
        let keys: Vec<&str> = soft.iter().map(|spread| spread.key).collect();
        let scored = |node: &Node| keys.iter().all(|key| node.label(key).is_some());
        let raw: Vec<Option<i64>> = fitting
            .iter()
            .map(|node| {
                if !scored(node) {
                    return None;
                }
                let mut sum = 0.0;
                for spread in &soft {
                    let value = node.label(spread.key).unwrap();
                    let domains: BTreeSet<&str> = fitting
                        .iter()
                        .filter(|node| scored(node))
                        .filter_map(|node| node.label(spread.key))
                        .collect();
                    let nodes = self.counted(pod, spread, &keys);
                    let count = self.spread_count(pod, spread, &nodes, value);
                    sum += float(count) * float(number(domains.len()) + 2).ln() + float(spread.skew - 1);
                }
                Some(whole(sum.round()))
            })
            .collect();
        let most = raw.iter().flatten().max().copied().unwrap_or(0);
        let least = raw.iter().flatten().min().copied().unwrap_or(0);
        let normal = |score: &Option<i64>| match score {
            None => 0,
            Some(_) if most == 0 => 100,
            Some(score) => 100 * (most + least - score) / most,
        };
        raw.iter().map(normal).collect()
    }

    fn affinity_scores(&self, pod: &Pod, fitting: &[&Node]) -> Vec<i64> {
        let raw: Vec<i64> = fitting
            .iter()
            .map(|node| {
                let mut sum = 0;
                for other in &self.pods {
                    let near = |key: &str| self.in_domain(node, key).iter().any(|one| one.name == other.name);
                    let signed = |term: &Term, weight: i64| if term.anti { -weight } else { weight };
                    for term in pod.terms.iter().filter(|term| means(pod, term, other) && near(term.key)) {
                        sum += term.weight.map_or(0, |weight| signed(term, weight));
                    }
                    for term in other.terms.iter().filter(|term| means(other, term, pod) && near(term.key)) {
                        let required = i64::from(!term.anti);
                        sum += term.weight.map_or(required, |weight| signed(term, weight));
                    }
                }
                sum
            })
            .collect();
        let (least, most) = (raw.iter().min().copied().unwrap_or(0), raw.iter().max().copied().unwrap_or(0));
        let normal = |score: &i64| {
            if most == least { 0 } else { whole(100.0 * (float(score - least) / float(most - least))) }
        };
        raw.iter().map(normal).collect()
    }

    /// The node, and who goes from it.
    pub(super) fn preempt(&self, pod: &Pod, judged: &Judged) -> Option<(String, Vec<String>)> {
        if judged.values().any(Result::is_ok) {
            return None;
        }
        let candidates = self.nodes.iter().filter_map(|node| {
            let helpful = self.fits(pod, node).is_err_and(|(_, helpful)| helpful);
            if helpful {
                self.victims(pod, node).map(|(broken, victims)| (node, broken, victims))
            } else {
                None
            }
        });
        let best = candidates.min_by_key(|(node, broken, victims)| {
            let highest = victims.iter().map(|pod| pod.priority).max();
            let sum: i64 = victims.iter().map(|pod| pod.priority + (1 << 31)).sum();
            let of_highest = victims.iter().filter(|pod| Some(pod.priority) == highest);
            let first = of_highest.map(|pod| pod.started).min().unwrap_or(0);
            (*broken, highest, sum, victims.len(), -first, node.name.clone())
        });
        best.map(|(node, _, victims)| {
            (node.name.clone(), victims.into_iter().map(|pod| pod.name.clone()).collect())
        })
    }

    fn victims(&self, pod: &Pod, node: &Node) -> Option<(usize, Vec<Pod>)> {
        let goes = |one: &&Pod| one.node.as_ref() == Some(&node.name) && one.priority < pod.priority;
        let mut lower: Vec<&Pod> = self.pods.iter().filter(goes).collect();
        lower.sort_by_key(|pod| (-pod.priority, pod.started, (pod.namespace.clone(), pod.name.clone())));
        let mut gone: Vec<String> = lower.iter().map(|pod| pod.name.clone()).collect();
        if gone.is_empty() || self.without(&gone).fits(pod, node).is_err() {
            return None;
        }
        let mut left: Vec<i64> = self.budgets.iter().map(|budget| budget.allowed).collect();
        let (mut breaking, mut harmless) = (Vec::new(), Vec::new());
        for one in &lower {
            let mut breaks = false;
            for (budget, left) in self.budgets.iter().zip(&mut left) {
                if budget.app == one.app && one.namespace == "default" {
                    *left -= 1;
                    breaks |= *left < 0;
                }
            }
            if breaks { breaking.push(*one) } else { harmless.push(*one) }
        }
        let mut broken = 0;
        for (one, counts) in breaking.iter().map(|one| (one, 1)).chain(harmless.iter().map(|one| (one, 0))) {
            let kept: Vec<String> = gone.iter().filter(|name| **name != one.name).cloned().collect();
            if self.without(&kept).fits(pod, node).is_ok() {
                gone = kept;
            } else {
                broken += counts;
            }
        }
        Some((broken, lower.into_iter().filter(|pod| gone.contains(&pod.name)).cloned().collect()))
    }

    fn without(&self, gone: &[String]) -> Self {
        let pods = self.pods.iter().filter(|pod| !gone.contains(&pod.name)).cloned().collect();
        Self { nodes: self.nodes.clone(), pods, budgets: self.budgets.clone() }
    }
}

/// Whether a term of `of` means `other`.
fn means(of: &Pod, term: &Term, other: &Pod) -> bool {
    let namespace = match term.namespaces {
        Namespaces::Own => other.namespace == of.namespace,
        Namespaces::Other | Namespaces::TeamY => other.namespace == "other",
        Namespaces::All => true,
    };
    namespace && other.app == term.app
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}

fn float(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "only the part before the point counts")]
fn whole(number: f64) -> i64 {
    number as i64
}
