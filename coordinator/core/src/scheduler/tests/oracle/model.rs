//! Random nodes, pods and budgets, as plain values and as they are stored.

use serde_json::{Value, json};

/// SplitMix64: enough to vary, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    fn number(&mut self, bound: usize) -> i64 {
        i64::try_from(self.below(bound)).unwrap()
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) nodes: Vec<Node>,
    pub(super) pods: Vec<Pod>,
    pub(super) budgets: Vec<Budget>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) zone: Option<&'static str>,
    pub(super) has_hostname: bool,
    pub(super) disk: &'static str,
    pub(super) taint: Option<&'static str>,
    pub(super) cordoned: bool,
    pub(super) milli_cpu: i64,
    pub(super) mebibytes: i64,
    pub(super) pods_max: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) app: &'static str,
    pub(super) node: Option<String>,
    pub(super) deleting: bool,
    pub(super) milli_cpu: i64,
    pub(super) mebibytes: i64,
    pub(super) port: Option<u16>,
    pub(super) priority: i64,
    pub(super) started: i64,
    pub(super) tolerates: bool,
    pub(super) disk: Option<&'static str>,
    pub(super) prefers_disk: Option<(i64, &'static str)>,
    pub(super) terms: Vec<Term>,
    pub(super) spread: Vec<Spread>,
}

#[derive(Clone, Debug)]
pub(super) struct Term {
    /// `None` is required.
    pub(super) weight: Option<i64>,
    pub(super) anti: bool,
    pub(super) app: &'static str,
    pub(super) key: &'static str,
    pub(super) namespaces: Namespaces,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Namespaces {
    Own,
    Other,
    All,
    TeamY,
}

#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub(super) hard: bool,
    pub(super) skew: i64,
    pub(super) key: &'static str,
    pub(super) app: &'static str,
    pub(super) min_domains: Option<i64>,
    pub(super) honors_taints: bool,
    pub(super) ignores_affinity: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Budget {
    pub(super) name: String,
    pub(super) app: &'static str,
    pub(super) allowed: i64,
}

pub(super) const ZONE: &str = "zone";
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";
const APPS: [&str; 3] = ["a", "b", "c"];

impl Model {
    pub(super) fn new(random: &mut Random) -> Self {
        let nodes = 1 + random.below(7);
        let nodes = (0..nodes).map(|index| Node::new(&format!("n{index}"), random)).collect();
        let budgets = random.below(3);
        let budgets = (0..budgets).map(|index| Budget {
            name: format!("b{index}"),
            app: random.pick(&APPS),
            allowed: random.number(2),
        });
        let budgets = budgets.collect();
        Self { nodes, pods: Vec::new(), budgets }
    }
}

impl Node {
    pub(super) fn new(name: &str, random: &mut Random) -> Self {
        Self {
            name: name.to_owned(),
            zone: random.pick(&[None, Some("1"), Some("2"), Some("3"), Some("1")]),
            has_hostname: !random.one_in(10),
            disk: random.pick(&["ssd", "hdd"]),
            taint: random.pick(&[None, None, None, Some("NoSchedule"), Some("PreferNoSchedule")]),
            cordoned: random.one_in(12),
            milli_cpu: 1000 + 500 * random.number(5),
            mebibytes: 1000 + 1000 * random.number(3),
            pods_max: 2 + random.below(6),
        }
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        match key {
            ZONE => self.zone,
            HOSTNAME => self.has_hostname.then_some(&*self.name),
            _ => Some(self.disk),
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut labels = json!({ "disk": self.disk });
        for key in [ZONE, HOSTNAME] {
            if let Some(value) = self.label(key) {
                labels[key] = json!(value);
            }
        }
        let taints: Vec<_> =
            self.taint.iter().map(|effect| json!({ "key": "k", "effect": effect })).collect();
        json!({
            "name": self.name, "labels": labels,
            "spec": { "unschedulable": self.cordoned, "taints": taints },
            "allocatable": {
                "cpu": format!("{}m", self.milli_cpu), "memory": format!("{}Mi", self.mebibytes),
                "pods": self.pods_max.to_string(),
            },
        })
    }
}

impl Pod {
    pub(super) fn new(name: &str, random: &mut Random) -> Self {
        let terms = if random.one_in(2) { 1 + random.below(3) } else { 0 };
        let spread = if random.one_in(2) { 1 + random.below(2) } else { 0 };
        Self {
            name: name.to_owned(),
            namespace: random.pick(&["default", "default", "other"]).to_owned(),
            app: random.pick(&APPS),
            node: None,
            deleting: false,
            milli_cpu: 100 * random.number(8),
            mebibytes: 100 * random.number(8),
            port: random.one_in(8).then_some(80),
            priority: random.pick(&[0, 0, 10, 20]),
            started: random.number(4),
            tolerates: random.one_in(4),
            disk: random.one_in(6).then(|| random.pick(&["ssd", "hdd"])),
            prefers_disk: random.one_in(4).then(|| (1 + random.number(100), random.pick(&["ssd", "hdd"]))),
            terms: (0..terms).map(|_| Term::new(random)).collect(),
            spread: (0..spread).map(|_| Spread::new(random)).collect(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut affinity = json!({});
        for term in &self.terms {
            let (kind, list) = (
                if term.anti { "podAntiAffinity" } else { "podAffinity" },
                if term.weight.is_some() {
                    "preferredDuringSchedulingIgnoredDuringExecution"
                } else {
                    "requiredDuringSchedulingIgnoredDuringExecution"
                },
            );
            if !affinity[kind][list].is_array() {
                affinity[kind][list] = json!([]);
            }
            affinity[kind][list].as_array_mut().unwrap().push(term.json());
        }
        if let Some((weight, disk)) = self.prefers_disk {
            affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = json!([{
                "weight": weight,
                "preference": { "matchExpressions": [{ "key": "disk", "operator": "In", "values": [disk] }] },
            }]);
        }
        let spread: Vec<_> = self.spread.iter().map(Spread::json).collect();
        let ports: Vec<_> =
            self.port.iter().map(|port| json!({ "containerPort": 80, "hostPort": port })).collect();
        let mut metadata = json!({
            "name": self.name, "namespace": self.namespace, "uid": self.name, "labels": { "app": self.app },
        });
        if self.deleting {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let node = self.node.as_deref().unwrap_or_default();
        json!({
            "metadata": metadata,
            "spec": {
                "nodeName": node, "priority": self.priority, "affinity": affinity,
                "topologySpreadConstraints": spread,
                "nodeSelector": self.disk.map(|disk| json!({ "disk": disk })).unwrap_or_else(|| json!({})),
                "tolerations": if self.tolerates { json!([{ "operator": "Exists" }]) } else { json!([]) },
                "containers": [{ "name": "c", "ports": ports, "resources": { "requests": {
                    "cpu": format!("{}m", self.milli_cpu), "memory": format!("{}Mi", self.mebibytes),
                } } }],
            },
            "status": { "startTime": format!("2026-01-01T00:00:0{}Z", self.started) },
        })
    }
}

impl Term {
    fn new(random: &mut Random) -> Self {
        Self {
            weight: (!random.one_in(3)).then(|| 1 + random.number(100)),
            anti: random.one_in(2),
            app: random.pick(&APPS),
            key: random.pick(&[ZONE, ZONE, HOSTNAME]),
            namespaces: random.pick(&[
                Namespaces::Own,
                Namespaces::Other,
                Namespaces::All,
                Namespaces::TeamY,
            ]),
        }
    }

    fn json(&self) -> Value {
        let mut term = json!({
            "topologyKey": self.key, "labelSelector": { "matchLabels": { "app": self.app } },
        });
        match self.namespaces {
            Namespaces::Own => {}
            Namespaces::Other => term["namespaces"] = json!(["other"]),
            Namespaces::All => term["namespaceSelector"] = json!({}),
            Namespaces::TeamY => term["namespaceSelector"] = json!({ "matchLabels": { "team": "y" } }),
        }
        match self.weight {
            Some(weight) => json!({ "weight": weight, "podAffinityTerm": term }),
            None => term,
        }
    }
}

impl Spread {
    fn new(random: &mut Random) -> Self {
        let hard = random.one_in(2);
        Self {
            hard,
            skew: 1 + random.number(3),
            key: random.pick(&[ZONE, ZONE, HOSTNAME]),
            app: random.pick(&APPS),
            min_domains: (hard && random.one_in(4)).then(|| 1 + random.number(4)),
            honors_taints: random.one_in(3),
            ignores_affinity: random.one_in(3),
        }
    }

    fn json(&self) -> Value {
        json!({
            "maxSkew": self.skew, "topologyKey": self.key, "minDomains": self.min_domains,
            "whenUnsatisfiable": if self.hard { "DoNotSchedule" } else { "ScheduleAnyway" },
            "labelSelector": { "matchLabels": { "app": self.app } },
            "nodeTaintsPolicy": if self.honors_taints { "Honor" } else { "Ignore" },
            "nodeAffinityPolicy": if self.ignores_affinity { "Ignore" } else { "Honor" },
        })
    }
}

impl Budget {
    pub(super) fn json(&self) -> Value {
        json!({
            "metadata": { "name": self.name, "uid": self.name },
            "spec": { "selector": { "matchLabels": { "app": self.app } }, "minAvailable": 1 },
            "status": { "disruptionsAllowed": self.allowed },
        })
    }
}
