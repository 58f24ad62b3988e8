//! Options of requests: `ListOptions`, `CreateOptions` and their kin, read from the query and checked.

use std::time::Duration;

use dunlin_api::{
    Kind, Status,
    field::FieldError,
    managed::{self, Force},
    pipeline::{FieldValidation, Ownership},
    selector::{FieldSelector, LabelSelector},
    status::OptionsKind,
};
use dunlin_link::Revision;

use super::{User, continue_token::ContinueToken, query::Query};

/// Which objects of a collection are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `labelSelector`.
    pub labels: LabelSelector,
    /// `fieldSelector`.
    pub fields: FieldSelector,
}

impl Selection {
    pub(super) fn parse(kind: &Kind, query: &Query) -> Result<Self, Status> {
        Ok(Self {
            labels: LabelSelector::parse(query.text("labelSelector"))?,
            fields: FieldSelector::parse(kind, query.text("fieldSelector"))?,
        })
    }

    /// Whether everything is meant.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether `object`, of this kind, is meant.
    pub fn matches(&self, kind: &Kind, object: &serde_json::Value) -> bool {
        self.labels.matches(object["metadata"]["labels"].as_object()) && self.fields.matches(kind, object)
    }
}

/// Which state a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The newest.
    Newest,
    /// The newest, which must not be older than this.
    NotOlderThan(Revision),
    /// Exactly this.
    Exactly(Revision),
    /// Where an earlier page ended.
    Continue(ContinueToken),
}

/// `ListOptions` of a list.
#[derive(Clone, Debug)]
pub(super) struct ListRequest {
    pub(super) selection: Selection,
    pub(super) at: At,
    /// `None` is no limit.
    pub(super) limit: Option<usize>,
}

impl ListRequest {
    pub(super) fn parse(kind: &Kind, prefix: &str, query: &Query) -> Result<Self, Status> {
        let limit =
            query.integer("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        query.integer("timeoutSeconds")?;
        let selection = Selection::parse(kind, query)?;
        check_list(query)?;
        let (version, token) = (query.text("resourceVersion"), query.text("continue"));
        if !token.is_empty() {
            if !version.is_empty() && version != "0" {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let token = ContinueToken::decode(token, prefix)
                .map_err(|error| Status::bad_request(format!("invalid continue token: {error}")))?;
            return Ok(Self { selection, at: At::Continue(token), limit });
        }
        let revision = parse_revision(version)
            .map_err(|error| Status::bad_request(format!("invalid resource version: {error}")))?;
        let (at, limit) = match (query.text("resourceVersionMatch"), revision) {
            (_, None) => (At::Newest, limit),
            // A list at any version is answered whole, as Kubernetes' cache does it.
            ("" | "NotOlderThan", Some(Revision(0))) => (At::Newest, None),
            ("Exact", Some(revision)) => (At::Exactly(revision), limit),
            ("", Some(revision)) if limit.is_some() => (At::Exactly(revision), limit),
            (_, Some(revision)) => (At::NotOlderThan(revision), limit),
        };
        Ok(Self { selection, at, limit })
    }
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchStart {
    /// With the current objects as ADDED events, then changes; not before this revision is reached.
    Initial(Revision),
    /// With changes from now on, once this revision is reached.
    Now(Revision),
    /// With changes after this.
    After(Revision),
}

/// Whether progress marks are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bookmarks {
    /// No.
    None,
    /// From time to time.
    Periodic,
    /// And one where the initial objects end.
    InitialEnd,
}

/// `ListOptions` of a watch.
#[derive(Clone, Debug)]
pub(super) struct WatchRequest {
    pub(super) selection: Selection,
    pub(super) start: WatchStart,
    pub(super) bookmarks: Bookmarks,
    /// `None` leaves it to the server.
    pub(super) timeout: Option<Duration>,
}

impl WatchRequest {
    pub(super) fn parse(kind: &Kind, query: &Query) -> Result<Self, Status> {
        let timeout = query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
        let selection = Selection::parse(kind, query)?;
        let initial = query.optional_flag("sendInitialEvents");
        check_watch(query, initial)?;
        let version = parse_revision(query.text("resourceVersion"))
            .map_err(|error| Status::failure(500, "", error))?
            .unwrap_or_default();
        let start = match (initial, version) {
            (Some(true), version) | (None, version @ Revision(0)) => WatchStart::Initial(version),
            (Some(false), version) if version == Revision(0) => WatchStart::Now(version),
            (_, version) => WatchStart::After(version),
        };
        let bookmarks = match (query.flag("allowWatchBookmarks"), initial) {
            (false, _) => Bookmarks::None,
            (true, Some(true)) => Bookmarks::InitialEnd,
            (true, _) => Bookmarks::Periodic,
        };
        let timeout = timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        Ok(Self { selection, start, bookmarks, timeout })
    }
}

fn check_list(query: &Query) -> Result<(), Status> {
    let (version, matching) = (query.text("resourceVersion"), query.text("resourceVersionMatch"));
    let mut errors = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(FieldError::forbidden("resourceVersionMatch", detail));
        }
        if !query.text("continue").is_empty() {
            errors.push(match_with_continue());
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let supported = ["Exact", "NotOlderThan", ""];
            errors.push(FieldError::not_supported("resourceVersionMatch", matching, &supported));
        }
        if matching == "Exact" && version == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden("resourceVersionMatch", detail));
        }
    }
    if query.value("sendInitialEvents").is_some() {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    refuse(OptionsKind::List, &errors)
}

fn check_watch(query: &Query, initial: Option<bool>) -> Result<(), Status> {
    let matching = query.text("resourceVersionMatch");
    let mut errors = Vec::new();
    if initial.is_some() && matching != "NotOlderThan" {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden("resourceVersionMatch", detail));
    }
    if !matching.is_empty() {
        if initial.is_none() {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden("resourceVersionMatch", detail));
        }
        if matching != "NotOlderThan" {
            errors.push(FieldError::not_supported("resourceVersionMatch", matching, &["NotOlderThan"]));
        }
    }
    if !query.text("continue").is_empty() {
        errors.push(match_with_continue());
    }
    refuse(OptionsKind::List, &errors)
}

fn match_with_continue() -> FieldError {
    FieldError::forbidden(
        "resourceVersionMatch",
        "resourceVersionMatch is forbidden when continue is provided",
    )
}

/// Reads a resource version; `None` for an empty one. The error is Kubernetes' message.
pub(super) fn parse_revision(text: &str) -> Result<Option<Revision>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let why = |why| {
        format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": {why}")
    };
    match text.parse() {
        Ok(revision) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(Revision(revision))),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Err(why("value out of range")),
        _ => Err(why("invalid syntax")),
    }
}

/// Whether a change is made or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DryRun {
    /// The change is made.
    No,
    /// Everything but the write happens.
    All,
}

/// `CreateOptions`, `UpdateOptions` and `PatchOptions`.
#[derive(Clone, Debug)]
pub(super) struct WriteOptions {
    pub(super) dry_run: DryRun,
    pub(super) validation: FieldValidation,
    pub(super) owner: Owner,
}

/// Whose the fields are that a write changes.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// This manager's.
    Manager(String),
    /// Of whom the object says: an apply made it.
    AsGiven,
}

/// `PatchOptions` of a server-side apply.
#[derive(Clone, Debug)]
pub(super) struct ApplyOptions {
    pub(super) manager: String,
    pub(super) force: Force,
    pub(super) write: WriteOptions,
}

impl WriteOptions {
    /// What components of the coordinator and nodes use: their objects are built by code.
    pub(super) fn internal(user: &User) -> Self {
        let owner = Owner::Manager(user.component().to_owned());
        Self { dry_run: DryRun::No, validation: FieldValidation::Ignore, owner }
    }

    pub(super) fn parse(kind: OptionsKind, query: &Query) -> Result<Self, Status> {
        let mut errors = Vec::new();
        managed::check_manager(query.text("fieldManager"), &"fieldManager".into(), &mut errors);
        if kind == OptionsKind::Patch && query.value("force").is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        Self::with_errors(kind, query, Owner::Manager(query.manager()), errors)
    }

    /// What [`pipeline`](dunlin_api::pipeline) has to know about managers.
    pub(super) fn ownership(&self) -> Ownership<'_> {
        match &self.owner {
            Owner::Manager(manager) => Ownership::Tracked(manager),
            Owner::AsGiven => Ownership::AsGiven,
        }
    }

    fn with_errors(
        kind: OptionsKind,
        query: &Query,
        owner: Owner,
        mut errors: Vec<FieldError>,
    ) -> Result<Self, Status> {
        let dry_run = parse_dry_run(query.values("dryRun"), &mut errors);
        refuse(kind, &errors)?;
        let validation = FieldValidation::parse(query.text("fieldValidation"), kind)?;
        Ok(Self { dry_run, validation, owner })
    }
}

impl ApplyOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let manager = query.text("fieldManager");
        if manager.is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        managed::check_manager(manager, &"fieldManager".into(), &mut errors);
        let write = WriteOptions::with_errors(OptionsKind::Patch, query, Owner::AsGiven, errors)?;
        let force = if query.flag("force") { Force::Yes } else { Force::No };
        Ok(Self { manager: manager.to_owned(), force, write })
    }
}

/// Reads the values of `dryRun`; what is not supported becomes an error.
pub(super) fn parse_dry_run<'v>(
    values: impl Iterator<Item = &'v str>,
    errors: &mut Vec<FieldError>,
) -> DryRun {
    let values: Vec<&str> = values.collect();
    match values.as_slice() {
        [] => DryRun::No,
        values if values.iter().all(|value| *value == "All") => DryRun::All,
        values => {
            errors.push(FieldError::not_supported("dryRun", values.to_vec(), &["All"]));
            DryRun::All
        }
    }
}

/// An Invalid status when there are errors.
pub(super) fn refuse(options: OptionsKind, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid_options(options, errors)) }
}
