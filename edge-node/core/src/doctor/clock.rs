//! Whether the machine knows what time it is.

use super::{Clock, Finding, TimeService};

/// A node works with a wrong clock, because it never trusts one below what must have passed; but its logs and events lie.
pub(super) fn clock(clock: &Clock) -> Finding {
    let service = "switch a time service on: `timedatectl set-ntp true` (systemd-timesyncd), or install chrony; a site without \
                   Internet needs a server of its own: the line `NTP=ADDRESS` in /etc/systemd/timesyncd.conf";
    if clock.now < clock.released_at {
        let cause = if clock.battery { "its battery may be empty" } else { "it has no battery" };
        return Finding::warning(
            CHECK,
            format!(
                "the clock is before the release of this program, so it is wrong ({cause}); pods run, but times in logs are wrong"
            ),
            service,
        );
    }
    match clock.service {
        TimeService::Reached => Finding::good(CHECK, "a time service has set the clock"),
        TimeService::Unreached => Finding::warning(
            CHECK,
            "the time service has not reached a server yet; times in logs may be wrong",
            "look at `timedatectl timesync-status` or `chronyc sources`; a site without Internet needs a server of its own: the line `NTP=ADDRESS` in \
             /etc/systemd/timesyncd.conf",
        ),
        TimeService::Untold => Finding::warning(
            CHECK,
            "chrony runs, but whether it has reached a server cannot be told from here; times in logs may be wrong",
            "look at `chronyc tracking`: its leap status is `Normal` once it has",
        ),
        TimeService::Absent => {
            Finding::warning(CHECK, "no time service was found; the clock will drift", service)
        }
    }
}

const CHECK: &str = "clock";
