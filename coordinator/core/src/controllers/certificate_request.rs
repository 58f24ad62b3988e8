//! Requests for certificates: approved ones are signed, and each goes when it is of no use any more.

use jiff::Timestamp;

use super::{Action, Plan};
use crate::view::View;

/// What to do about a request.
pub fn reconcile(view: &View, name: &str, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let Some(request) = view.certificate_request(name) else { return plan };
    let (name, uid) = (name.to_owned(), request.uid.clone());
    if request.ends <= now {
        plan.actions.push(Action::RemoveCertificateRequest { name, uid });
        return plan;
    }
    plan.wake_at(request.ends);
    if request.awaits_signature {
        plan.actions.push(Action::SignCertificateRequest { name, uid });
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const OURS: &str = "kubernetes.io/kube-apiserver-client";

    fn check(signer: &str, conditions: &[(&str, i64)], certificate: &str, expected: (bool, i64)) {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, minutes)| json!({"type": kind, "lastUpdateTime": at(*minutes).to_string()}))
            .collect();
        let request = json!({
            "metadata": {"uid": "u", "creationTimestamp": at(0).to_string()},
            "spec": {"signerName": signer},
            "status": {"conditions": conditions, "certificate": certificate},
        });
        let mut view = View::new(Timestamp::UNIX_EPOCH, Duration::from_secs(20));
        view.apply_certificate_request("r", request.to_string().as_bytes()).unwrap();
        let (signs, end) = expected;
        let plan = reconcile(&view, "r", at(end - 1));
        let sign = Action::SignCertificateRequest { name: "r".to_owned(), uid: "u".to_owned() };
        let actions = if signs { vec![sign] } else { Vec::new() };
        assert_eq!(plan, Plan { actions, again_at: Some(at(end)) }, "{request}");
        let remove = Action::RemoveCertificateRequest { name: "r".to_owned(), uid: "u".to_owned() };
        assert_eq!(
            reconcile(&view, "r", at(end)),
            Plan { actions: vec![remove], again_at: None },
            "{request}"
        );
        view.delete_certificate_request("r");
        assert_eq!(reconcile(&view, "r", at(end)), Plan::nothing());
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    #[test]
    fn requests_are_signed_when_approved_and_go_in_their_time() {
        const DAY: i64 = 24 * 60;
        check(OURS, &[], "", (false, DAY));
        check(OURS, &[("Approved", 5)], "", (true, DAY));
        check(OURS, &[("Approved", 5)], "eA==", (false, 65));
        check(OURS, &[("Denied", 7)], "", (false, 67));
        check(OURS, &[("Approved", 5), ("Failed", 7)], "", (false, 67));
        check("kubernetes.io/kubelet-serving", &[("Approved", 5)], "", (false, DAY));
        check("example.dev/signer", &[("Approved", 5)], "eA==", (false, 65));
    }
}
