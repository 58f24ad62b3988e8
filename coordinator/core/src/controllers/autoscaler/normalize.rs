//! From what metrics recommend to what is done: nothing in a hurry, within bounds, and no faster than rules allow.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HPAScalingRules;

use super::{
    memory::{Memory, within},
    status::{Holds, Report},
};

/// The size that a target gets of the one that is recommended.
pub(super) fn normalize(report: &mut Report<'_>, memory: &mut Memory, current: i64, recommended: i64) -> i64 {
    let behavior = report.autoscaler.spec.behavior.as_ref();
    let rules =
        behavior.and_then(|behavior| Some((behavior.scale_up.as_ref()?, behavior.scale_down.as_ref()?)));
    let now = report.now;
    let (least, most) = (report.autoscaler.least(), report.autoscaler.most());
    let (stable, limit) = match rules {
        None => {
            let cutoff = now - DOWN_WINDOW;
            let recent =
                memory.recommended.iter().filter(|(at, _)| *at >= cutoff).map(|(_, count)| *count).max();
            let stable = recent.unwrap_or(recommended).max(recommended);
            memory.recommend(recommended, DOWN_WINDOW, now);
            (stable, bounded(current, stable, least, most))
        }
        Some((up, down)) => {
            let (up_window, down_window) = (window(up, Duration::ZERO), window(down, DOWN_WINDOW));
            let stable = if recommended >= current {
                within(&memory.recommended, up_window, now).min().unwrap_or(recommended).min(recommended)
            } else {
                within(&memory.recommended, down_window, now).max().unwrap_or(recommended).max(recommended)
            };
            memory.recommend(recommended, up_window.max(down_window), now);
            let limit = if stable > current {
                limited_up(current, stable, most, up_limit(current, memory, up, report))
            } else if stable < current {
                limited_down(current, stable, least, down_limit(current, memory, down, report))
            } else {
                WITHIN_RANGE
            };
            (stable, limit)
        }
    };
    tell_stabilized(report, current, recommended, stable);
    match limit {
        Limit { replicas: Some(replicas), reason, message } => {
            let holds = if replicas == stable { Holds::No } else { Holds::Yes };
            report.limited(holds, reason, message);
            replicas
        }
        Limit { replicas: None, reason, message } => {
            report.limited(Holds::No, reason, message);
            stable
        }
    }
}

fn tell_stabilized(report: &mut Report<'_>, current: i64, recommended: i64, stable: i64) {
    let (reason, message) = if stable == recommended {
        ("ReadyForNewScale", "recommended size matches current size")
    } else if report.autoscaler.spec.behavior.is_some() && recommended >= current {
        (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        )
    } else {
        (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        )
    };
    report.able(Holds::Yes, reason, message.to_owned());
}

/// What keeps a target from the recommended size.
struct Limit {
    /// The size that it gets in its place.
    replicas: Option<i64>,
    reason: &'static str,
    message: &'static str,
}

/// Where there are no rules: no more than twice as many at a time, or four.
fn bounded(current: i64, wanted: i64, least: i64, most: i64) -> Limit {
    let fastest = (2 * current).max(UP_LEAST);
    if wanted < least {
        return Limit { replicas: Some(least), ..TOO_FEW };
    }
    if wanted > most.min(fastest) {
        let why = if most > fastest { TOO_FAST_UP } else { TOO_MANY };
        return Limit { replicas: Some(most.min(fastest)), ..why };
    }
    WITHIN_RANGE
}

fn limited_up(current: i64, wanted: i64, most: i64, fastest: i64) -> Limit {
    // What was added lately may already be more than is allowed; nothing is taken back for that.
    let fastest = fastest.max(current);
    let (allowed, why) = if most > fastest { (fastest, TOO_FAST_UP) } else { (most, TOO_MANY) };
    if wanted > allowed { Limit { replicas: Some(allowed), ..why } } else { WITHIN_RANGE }
}

fn limited_down(current: i64, wanted: i64, least: i64, fastest: i64) -> Limit {
    let fastest = fastest.min(current);
    let (allowed, why) = if least < fastest { (fastest, TOO_FAST_DOWN) } else { (least, TOO_FEW) };
    if wanted < allowed { Limit { replicas: Some(allowed), ..why } } else { WITHIN_RANGE }
}

/// The most replicas that the rules allow now.
fn up_limit(current: i64, memory: &Memory, rules: &HPAScalingRules, report: &Report<'_>) -> i64 {
    let proposals = rules.policies.iter().flatten().map(|policy| {
        let start = current - changed(&memory.added, policy.period_seconds, report);
        match policy.type_.as_str() {
            "Pods" => start + i64::from(policy.value),
            // Rounded up, for else few would never become more.
            _ => {
                (start * (100 + i64::from(policy.value))).div_euclid(100)
                    + i64::from((start * (100 + i64::from(policy.value))).rem_euclid(100) > 0)
            }
        }
    });
    match rules.select_policy.as_deref() {
        Some("Disabled") => current,
        Some("Min") => proposals.min().unwrap_or(0),
        _ => proposals.max().unwrap_or(0),
    }
}

/// The fewest replicas that the rules allow now.
fn down_limit(current: i64, memory: &Memory, rules: &HPAScalingRules, report: &Report<'_>) -> i64 {
    let proposals = rules.policies.iter().flatten().map(|policy| {
        let start = current + changed(&memory.removed, policy.period_seconds, report);
        match policy.type_.as_str() {
            "Pods" => start - i64::from(policy.value),
            // Towards zero, as a conversion to a whole number is.
            _ => start * (100 - i64::from(policy.value)) / 100,
        }
    });
    match rules.select_policy.as_deref() {
        Some("Disabled") => current,
        Some("Min") => proposals.max().unwrap_or(i64::MAX),
        _ => proposals.min().unwrap_or(i64::MAX),
    }
}

fn changed(changes: &[(jiff::Timestamp, i64)], period_seconds: i32, report: &Report<'_>) -> i64 {
    let period = Duration::from_secs(u64::try_from(period_seconds).unwrap_or(0));
    within(changes, period, report.now).sum()
}

fn window(rules: &HPAScalingRules, default: Duration) -> Duration {
    let seconds = rules.stabilization_window_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(default, Duration::from_secs)
}

const WITHIN_RANGE: Limit = Limit {
    replicas: None,
    reason: "DesiredWithinRange",
    message: "the desired count is within the acceptable range",
};

const TOO_FEW: Limit = Limit {
    replicas: None,
    reason: "TooFewReplicas",
    message: "the desired replica count is less than the minimum replica count",
};

const TOO_MANY: Limit = Limit {
    replicas: None,
    reason: "TooManyReplicas",
    message: "the desired replica count is more than the maximum replica count",
};

const TOO_FAST_UP: Limit = Limit {
    replicas: None,
    reason: "ScaleUpLimit",
    message: "the desired replica count is increasing faster than the maximum scale rate",
};

const TOO_FAST_DOWN: Limit = Limit {
    replicas: None,
    reason: "ScaleDownLimit",
    message: "the desired replica count is decreasing faster than the maximum scale rate",
};

/// How long what is recommended has to stay lower until it is followed, where nothing else is said.
const DOWN_WINDOW: Duration = Duration::from_secs(300);

/// Replicas that a target may always have at once, where there are no rules.
const UP_LEAST: i64 = 4;
