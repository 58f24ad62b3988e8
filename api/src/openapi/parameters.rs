//! Parameters of operations: those in the query, by the form of options they come from, and those in the path.

/// One parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: ParameterPlace,
    /// `string`, `boolean` or `integer`.
    pub(super) ty: &'static str,
    pub(super) description: &'static str,
}

/// Where a parameter is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParameterPlace {
    Path,
    Query,
}

impl ParameterPlace {
    /// As documents spell it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
        }
    }
}

impl Parameter {
    /// Whether a request is none without it.
    pub(super) const fn is_required(&self) -> bool {
        matches!(self.place, ParameterPlace::Path)
    }
}

/// The parameters of these names, in the order of their names.
pub(super) fn query(names: &[&str]) -> Vec<&'static Parameter> {
    QUERY.iter().filter(|parameter| names.contains(&parameter.name)).collect()
}

/// The parameter in the path that is written `{name}`.
pub(super) fn in_path(name: &str) -> Option<&'static Parameter> {
    SEGMENTS.iter().find(|parameter| parameter.name == name)
}

/// Every parameter.
pub(super) fn all() -> impl Iterator<Item = &'static Parameter> {
    QUERY.iter().chain(SEGMENTS)
}

/// The parameters of the options with which the stream of a subresource is opened, by the kind of the options.
pub(super) fn of_options(kind: &str) -> &'static [&'static str] {
    match kind {
        "PodAttachOptions" => &["container", "stderr", "stdin", "stdout", "tty"],
        "PodExecOptions" => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        "PodPortForwardOptions" => &["ports"],
        _ => &["path"],
    }
}

/// Parameters of a read of one object.
pub(super) const GET: &[&str] = &["pretty"];

/// Parameters of a read of a pod's log.
pub(super) const LOG: &[&str] = &[
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "pretty",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
];

/// Parameters of a list or watch.
pub(super) const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];

/// Parameters of a creation or replacement.
pub(super) const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "pretty"];

/// Parameters of a patch.
pub(super) const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"];

/// Parameters of the deletion of one object.
pub(super) const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
];

/// Parameters of the deletion of what a list selects.
pub(super) const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
];

const fn given(name: &'static str, ty: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: ParameterPlace::Query, ty, description }
}

const fn segment(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: ParameterPlace::Path, ty: "string", description }
}

/// In the order of their names.
const QUERY: &[Parameter] = &[
    given(
        "allowWatchBookmarks",
        "boolean",
        "Send bookmarks in a watch now and then, with the version it has reached.",
    ),
    given(
        "command",
        "string",
        "The program to run and its arguments, one a parameter. No shell is involved.",
    ),
    given("container", "string", "The container; may be left out for a pod with only one."),
    given(
        "continue",
        "string",
        "Where the next part of a list begins: the token that came with the part before it.",
    ),
    given("dryRun", "string", "`All`: do everything but keep the result."),
    given("fieldManager", "string", "Who owns the fields that this request sets."),
    given("fieldSelector", "string", "Only objects with these values in these fields."),
    given(
        "fieldValidation",
        "string",
        "What happens to unknown and duplicate fields: `Ignore` drops them, `Warn` says so as well, `Strict` refuses the request.",
    ),
    given("follow", "boolean", "Send what is written from now on, too."),
    given("force", "boolean", "Take over fields that another manager owns. Only for an apply."),
    given("gracePeriodSeconds", "integer", "How long the object may take to end by itself; 0 means at once."),
    given(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Delete even an object that cannot be read from the store, without any of the usual steps.",
    ),
    given(
        "insecureSkipTLSVerifyBackend",
        "boolean",
        "Do not verify the certificate of the node that has the log.",
    ),
    given("labelSelector", "string", "Only objects with such labels."),
    given("limit", "integer", "The longest list to send; what is left out can be had with `continue`."),
    given("limitBytes", "integer", "Stop after so many bytes."),
    given(
        "orphanDependents",
        "boolean",
        "Deprecated for `propagationPolicy`: leave dependents without an owner.",
    ),
    given("path", "string", "The path to ask for behind the proxy."),
    given("ports", "integer", "The ports to forward."),
    given("pretty", "string", "Indent the answer for people to read."),
    given("previous", "boolean", "The log of the container's run before this one."),
    given(
        "propagationPolicy",
        "string",
        "What becomes of dependents: `Orphan` leaves them, `Background` deletes them afterwards, `Foreground` before.",
    ),
    given(
        "resourceVersion",
        "string",
        "The version that the answer has to do with, as `resourceVersionMatch` says.",
    ),
    given(
        "resourceVersionMatch",
        "string",
        "What `resourceVersion` means for a list: `Exact` or `NotOlderThan`.",
    ),
    given("sendInitialEvents", "boolean", "Begin a watch with all that there is, and a bookmark after it."),
    given("shardSelector", "string", "Only objects of this shard."),
    given("sinceSeconds", "integer", "Only what was written in the last so many seconds."),
    given("stderr", "boolean", "Connect to the standard error stream."),
    given("stdin", "boolean", "Connect to the standard input."),
    given("stdout", "boolean", "Connect to the standard output."),
    given("stream", "string", "Which of the container's streams: `All`, `Stdout` or `Stderr`."),
    given("tailLines", "integer", "Only so many lines from the end."),
    given("timeoutSeconds", "integer", "End a list or watch after this time."),
    given("timestamps", "boolean", "Begin every line with the time it was written."),
    given("tty", "boolean", "Give the program a terminal."),
    given("watch", "boolean", "Send changes as they happen instead of a list."),
];

/// What the segments of a path that vary are called.
const SEGMENTS: &[Parameter] = &[
    segment("name", "The object's name."),
    segment("namespace", "The namespace that the object is in."),
    segment("path", "The path to ask for behind the proxy."),
];
