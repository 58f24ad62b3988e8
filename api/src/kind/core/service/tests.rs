//! Services: defaults, rules, numbers and rows.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    Status,
    admission::{Surroundings, pod_security::Around},
    pipeline::{self, Change, Creation, Ownership, Requester, Target},
};

/// Gives 10.43.0.7, 10.43.0.8, ... and 30007, 30008, ...
struct CountingPool {
    ranges: Ranges,
    given: u8,
}

impl CountingPool {
    fn new() -> Self {
        let addresses = vec!["10.43.0.0/16".parse().unwrap()];
        Self { ranges: Ranges { addresses, node_ports: (30_000, 32_767) }, given: 6 }
    }
}

impl Pool for CountingPool {
    fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    fn next_address(&mut self) -> Option<IpAddr> {
        self.given += 1;
        Some(Ipv4Addr::new(10, 43, 0, self.given).into())
    }

    fn next_port(&mut self) -> Option<u16> {
        self.given += 1;
        Some(30_000 + u16::from(self.given))
    }
}

fn create(spec: Value) -> Result<Value, Status> {
    let creation = Creation {
        namespace: "n",
        now: Timestamp::UNIX_EPOCH,
        uid: "u",
        suffix: "",
        requester: &Requester::default(),
        ownership: Ownership::AsGiven,
        surroundings: &Surroundings::default(),
    };
    let object = json!({"metadata": {"name": "s"}, "spec": spec});
    pipeline::create(&KIND, object, &creation, &mut CountingPool::new()).map(|created| created.object)
}

fn change(current: &Value, patch: &Value) -> Result<Value, Status> {
    let mut new = current.clone();
    for (key, value) in patch.as_object().unwrap() {
        put(&mut new["spec"], key, value.clone());
    }
    let mut pool = CountingPool::new();
    pool.given = 100;
    let change = Change {
        target: Target::Object,
        now: Timestamp::UNIX_EPOCH,
        ownership: Ownership::AsGiven,
        around: &Around::Nothing,
    };
    pipeline::update(&KIND, current, new, &change, &mut pool).map(|updated| updated.object)
}

fn refusal(outcome: Result<Value, Status>) -> String {
    let message = outcome.unwrap_err().message().to_owned();
    message.strip_prefix("Service \"s\" is invalid: ").unwrap_or(&message).to_owned()
}

fn claimed(service: &Value) -> Vec<String> {
    let text = |claim| match claim {
        Claim::Address(address) => address.to_string(),
        Claim::NodePort(port) => port.to_string(),
    };
    claims(service).into_iter().map(text).collect()
}

const PORT: fn() -> Value = || json!([{"port": 80}]);

#[test]
fn services_get_what_their_type_needs() {
    let check = |spec: Value, expected: &[&str]| {
        let service = create(spec).unwrap();
        assert_eq!(claimed(&service), expected, "{service}");
    };
    check(json!({"ports": PORT()}), &["10.43.0.7"]);
    check(json!({"ports": PORT(), "clusterIP": "10.43.9.9"}), &["10.43.9.9"]);
    check(json!({"ports": PORT(), "clusterIP": "None"}), &[]);
    check(json!({"type": "ExternalName", "externalName": "a.example"}), &[]);
    check(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31000}]}), &["10.43.0.7", "31000"]);
    let local = json!({"type": "LoadBalancer", "ports": PORT(), "externalTrafficPolicy": "Local"});
    check(local, &["10.43.0.7", "30008", "30009"]);
    let none = json!({"type": "LoadBalancer", "ports": PORT(), "allocateLoadBalancerNodePorts": false});
    check(none, &["10.43.0.7"]);
    let both = json!([{"port": 53, "name": "a", "protocol": "UDP"}, {"port": 53, "name": "b"}]);
    check(json!({"type": "NodePort", "ports": both}), &["10.43.0.7", "30008"]);
}

#[test]
fn what_cannot_be_had_is_refused() {
    let check = |spec: Value, expected: &str| assert_eq!(refusal(create(spec)), expected);
    check(
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is \
         30000-32767",
    );
    check(
        json!({"ports": PORT(), "clusterIP": "10.44.0.1"}),
        "spec.clusterIPs: Invalid value: [\"10.44.0.1\"]: failed to allocate IP 10.44.0.1: the provided IP (10.44.0.1) is not \
         in the valid range. The range of valid IPs is 10.43.0.0/16",
    );
    check(
        json!({"ports": PORT(), "clusterIP": "fd00::1"}),
        "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
    );
    check(
        json!({"ports": PORT(), "ipFamilyPolicy": "RequireDualStack"}),
        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
    );
    check(
        json!({"ports": PORT(), "clusterIPs": ["10.43.0.1"]}),
        "spec.clusterIPs: Invalid value: [\"10.43.0.1\"]: must be empty when `clusterIP` is not specified",
    );
    check(
        json!({"ports": PORT(), "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less than 86400",
    );
    check(
        json!({"ports": PORT(), "loadBalancerSourceRanges": ["x"]}),
        "[spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer', \
         spec.LoadBalancerSourceRanges[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or \
         2001:db8::/64)]",
    );
}

#[test]
fn families_fall_back_to_the_one_there_is() {
    let service = create(json!({"ports": PORT(), "ipFamilyPolicy": "PreferDualStack"})).unwrap();
    assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4"]));
    let bare = create(json!({"clusterIP": "None"})).unwrap();
    assert_eq!(bare["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(bare["spec"]["ipFamilyPolicy"], "RequireDualStack");
}

#[test]
fn a_change_of_type_gives_and_takes() {
    let service = create(json!({"ports": PORT()})).unwrap();
    let check = |current: &Value, patch: Value, expected: &[&str]| {
        let changed = change(current, &patch).unwrap();
        assert_eq!(claimed(&changed), expected, "{changed}");
        changed
    };
    let ported = check(&service, json!({"type": "NodePort"}), &["10.43.0.7", "30101"]);
    // A client that does not know the port keeps it.
    let kept = json!({"ports": [{"port": 81}]});
    assert_eq!(check(&ported, kept, &["10.43.0.7", "30101"])["spec"]["ports"][0]["nodePort"], 30101);
    check(&ported, json!({"ports": [{"port": 80, "nodePort": 31000}]}), &["10.43.0.7", "31000"]);
    let plain = check(&ported, json!({"type": "ClusterIP"}), &["10.43.0.7"]);
    assert_eq!(plain["spec"]["externalTrafficPolicy"], Value::Null);
    let name = check(&plain, json!({"type": "ExternalName", "externalName": "x"}), &[]);
    assert_eq!(name["spec"]["clusterIP"], Value::Null);
    check(&name, json!({"type": "ClusterIP", "externalName": null}), &["10.43.0.101"]);
    let asked = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 7}]});
    assert_eq!(
        refusal(change(&service, &asked)),
        "spec.ports[0].nodePort: Invalid value: 7: provided port is not in the valid range. The range of valid ports is \
         30000-32767"
    );
}

#[test]
fn an_address_stays() {
    let service = create(json!({"ports": PORT()})).unwrap();
    assert_eq!(
        refusal(change(&service, &json!({"clusterIP": "10.43.0.8"}))),
        "spec.clusterIPs[0]: Invalid value: [\"10.43.0.8\"]: may not change once set"
    );
    assert_eq!(
        refusal(change(&service, &json!({"clusterIP": "None"}))),
        "spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"
    );
    assert_eq!(change(&service, &json!({"clusterIP": null, "clusterIPs": null})).unwrap(), service);
}

#[test]
fn a_number_of_another_is_refused() {
    let service = create(json!({"type": "NodePort", "ports": PORT()})).unwrap();
    let check = |claim: Claim, expected: &str| assert_eq!(refusal(Err(claim.taken(&service))), expected);
    check(
        Claim::Address(Ipv4Addr::new(10, 43, 0, 7).into()),
        "spec.clusterIPs: Invalid value: [\"10.43.0.7\"]: failed to allocate IP 10.43.0.7: provided IP is already allocated",
    );
    check(
        Claim::NodePort(30_008),
        "spec.ports[0].nodePort: Invalid value: 30008: provided port is already allocated",
    );
    check(
        Claim::NodePort(31_000),
        "Internal error occurred: failed to allocate requested HealthCheck NodePort 31000: provided port is already allocated",
    );
}

#[test]
fn rows_read_like_kubectl() {
    let check = |service: Value, expected: [&str; 5]| {
        let cells = columns::row(&service, Timestamp::UNIX_EPOCH);
        let found = [1, 2, 3, 4, 6].map(|position| cells[position].as_str().unwrap().to_owned());
        assert_eq!(found, expected.map(str::to_owned));
    };
    check(
        json!({"spec": {"type": "NodePort", "clusterIPs": ["10.43.0.7"], "selector": {"a": "b"},
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]}}),
        ["NodePort", "10.43.0.7", "<none>", "80:30080/TCP,53/UDP", "a=b"],
    );
    check(
        json!({"spec": {"type": "ExternalName", "externalName": "a.example"}}),
        ["ExternalName", "<none>", "a.example", "<none>", "<none>"],
    );
    let balanced = |ingress: Value| {
        json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.43.0.7"]},
            "status": {"loadBalancer": {"ingress": ingress}}})
    };
    check(balanced(json!([])), ["LoadBalancer", "10.43.0.7", "<pending>", "<none>", "<none>"]);
    check(
        balanced(json!([{"ip": "192.168.100.200"}, {"ip": "192.168.100.201"}])),
        ["LoadBalancer", "10.43.0.7", "192.168.100.2...", "<none>", "<none>"],
    );
}
