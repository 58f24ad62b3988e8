//! Bootstrap tokens whose time is over are removed.

use jiff::Timestamp;

use super::{Action, Plan};
use crate::view::View;

/// What to do about bootstrap tokens.
pub fn reconcile(view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    for (name, token) in view.bootstrap_tokens() {
        match token.expires {
            Some(end) if end <= now => {
                plan.actions
                    .push(Action::RemoveBootstrapToken { name: name.clone(), uid: token.uid.clone() });
            }
            Some(end) => plan.wake_at(end),
            None => {}
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_go_when_their_time_is_over() {
        let mut view = View::new(Timestamp::UNIX_EPOCH, Duration::from_secs(20));
        // "1970-01-01T00:00:10Z"
        let secret = |kind: &str, end: &str| {
            json!({"metadata": {"uid": "u"}, "type": kind, "data": {"expiration": end}}).to_string()
        };
        let kind = "bootstrap.kubernetes.io/token";
        let end = "MTk3MC0wMS0wMVQwMDowMDoxMFo=";
        view.apply_bootstrap_token("a", secret(kind, end).as_bytes()).unwrap();
        view.apply_bootstrap_token("b", secret("Opaque", end).as_bytes()).unwrap();
        view.apply_bootstrap_token(
            "c",
            json!({"metadata": {"uid": "u"}, "type": kind}).to_string().as_bytes(),
        )
        .unwrap();
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        assert_eq!(reconcile(&view, at(9)), Plan { actions: Vec::new(), again_at: Some(at(10)) });
        let remove = Action::RemoveBootstrapToken { name: "a".to_owned(), uid: "u".to_owned() };
        assert_eq!(reconcile(&view, at(10)), Plan { actions: vec![remove], again_at: None });
        view.delete_bootstrap_token("a");
        assert_eq!(reconcile(&view, at(10)), Plan::nothing());
        // One whose time cannot be read is over.
        view.apply_bootstrap_token("d", secret(kind, "eA==").as_bytes()).unwrap();
        assert_eq!(reconcile(&view, at(0)).actions.len(), 1);
    }
}
