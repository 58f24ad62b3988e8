//! CronJobs.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::{super::DecodeError, meta::Meta, object::ObjectShape};

/// What is looked at of a CronJob.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJob {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.schedule`.
    pub schedule: String,
    /// `spec.timeZone`; `None` is that of the coordinator, which is UTC.
    pub time_zone: Option<String>,
    /// `spec.concurrencyPolicy`.
    pub concurrency: Concurrency,
    /// `spec.suspend`.
    pub is_suspended: bool,
    /// `spec.startingDeadlineSeconds`.
    pub starting_deadline_seconds: Option<i64>,
    /// `spec.successfulJobsHistoryLimit`.
    pub successful_limit: i64,
    /// `spec.failedJobsHistoryLimit`.
    pub failed_limit: i64,
    /// `status`.
    pub status: CronJobStatus,
}

/// What to do when a Job is due while another runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// Start it beside.
    Allow,
    /// Leave it out.
    Forbid,
    /// End the other.
    Replace,
}

/// `status` of a CronJob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CronJobStatus {
    /// Uids of `active`.
    pub active: BTreeSet<String>,
    /// `lastScheduleTime`.
    pub last_scheduled: Option<Timestamp>,
    /// `lastSuccessfulTime`.
    pub last_successful: Option<Timestamp>,
}

impl CronJob {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ObjectShape<SpecShape, StatusShape> = serde_json::from_slice(json)?;
        let ObjectShape { metadata, spec, status } = shape;
        Ok(Self {
            meta: metadata.into(),
            schedule: spec.schedule,
            time_zone: spec.time_zone,
            concurrency: match spec.concurrency_policy.as_deref() {
                Some("Forbid") => Concurrency::Forbid,
                Some("Replace") => Concurrency::Replace,
                _ => Concurrency::Allow,
            },
            is_suspended: spec.suspend,
            starting_deadline_seconds: spec.starting_deadline_seconds,
            successful_limit: spec.successful_jobs_history_limit.unwrap_or(SUCCESSFUL_DEFAULT),
            failed_limit: spec.failed_jobs_history_limit.unwrap_or(FAILED_DEFAULT),
            status: CronJobStatus {
                active: status.active.into_iter().map(|job| job.uid).collect(),
                last_scheduled: status.last_schedule_time,
                last_successful: status.last_successful_time,
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecShape {
    schedule: String,
    time_zone: Option<String>,
    concurrency_policy: Option<String>,
    #[serde(default)]
    suspend: bool,
    starting_deadline_seconds: Option<i64>,
    successful_jobs_history_limit: Option<i64>,
    failed_jobs_history_limit: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusShape {
    active: Vec<ReferenceShape>,
    last_schedule_time: Option<Timestamp>,
    last_successful_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ReferenceShape {
    uid: String,
}

/// What the limits are when they are missing.
const SUCCESSFUL_DEFAULT: i64 = 3;
const FAILED_DEFAULT: i64 = 1;
