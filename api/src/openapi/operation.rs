//! The operations at a path: what each takes, answers and is called, in no form of document yet.

use super::{
    naming,
    parameters::{self, Parameter},
    paths::{Information, Path, Place, Spot},
};
use crate::{
    kind::{Kind, Removed, Subresource},
    schema::{self, Definition, GroupVersionKind},
};

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// For instance `get`.
    pub(super) method: &'static str,
    /// `x-kubernetes-action`.
    pub(super) action: Option<&'static str>,
    /// `x-kubernetes-group-version-kind`.
    pub(super) kind: Option<GroupVersionKind>,
    pub(super) id: String,
    pub(super) description: String,
    /// In the order of their names.
    pub(super) query: Vec<&'static Parameter>,
    pub(super) body: Option<Body>,
    pub(super) produces: &'static [&'static str],
    /// Codes of success with what is answered, in their order.
    pub(super) answers: &'static [u16],
    pub(super) answer: Content,
}

/// What a request's body holds.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) content: Content,
    pub(super) consumes: &'static [&'static str],
    pub(super) presence: Presence,
}

/// Whether a body must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
}

/// What a body holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// An object of this form.
    Object(&'static Definition),
    /// Text, or bytes of any kind.
    Text,
}

/// The operations at `path`.
pub(super) fn at(path: &Path) -> Vec<Operation> {
    match path.place {
        Place::Information(information) => vec![informing(&path.path, information)],
        Place::Objects(kind, spot) => on_objects(&path.path, kind, spot),
    }
}

fn informing(path: &str, information: Information) -> Operation {
    let (name, answer, produces, description) = match information {
        Information::Version => ("CodeVersion", VERSION, JSON, "Which build this is."),
        Information::CoreVersions => ("APIVersions", VERSIONS, ENCODINGS, "The versions of the core group."),
        Information::Groups => ("APIVersions", GROUPS, ENCODINGS, "The groups other than the core group."),
        Information::Group => ("APIGroup", GROUP, ENCODINGS, "The versions of this group."),
        Information::Resources => ("APIResources", RESOURCES, ENCODINGS, "The resources of this version."),
        Information::Issuer => {
            let description = "Who signs the tokens of service accounts, and where to find the keys.";
            ("ServiceAccountIssuerOpenIDConfiguration", "", JSON, description)
        }
        Information::Keys => {
            let description = "The keys that sign tokens of service accounts.";
            ("ServiceAccountIssuerOpenIDKeyset", "", KEYS, description)
        }
    };
    Operation {
        method: "get",
        action: None,
        kind: None,
        id: naming::id("get", path, name),
        description: description.to_owned(),
        query: Vec::new(),
        body: None,
        produces,
        answers: &[200],
        answer: content(schema::definition(answer)),
    }
}

fn on_objects(path: &str, kind: &'static Kind, spot: Spot) -> Vec<Operation> {
    let verbs = match spot {
        Spot::Subresource(subresource) | Spot::Behind(subresource) if subresource.connects() => {
            let methods = if subresource.is_proxy() { PROXY_METHODS } else { &["get", "post"] };
            return methods.iter().map(|method| connecting(path, method, kind, spot, subresource)).collect();
        }
        Spot::Subresource(subresource) | Spot::Behind(subresource) => subresource.verbs,
        _ => kind.verbs,
    };
    let verbs = verbs.iter().filter_map(|verb| Verb::at(verb, spot));
    verbs.map(|verb| serving(path, verb, kind, spot)).collect()
}

/// What is done to objects; the old form of watches counts as verbs of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    List,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
    Watch,
    WatchList,
}

impl Verb {
    /// The operation that a verb of the registry means at this spot.
    fn at(verb: &str, spot: Spot) -> Option<Self> {
        Some(match (verb, spot) {
            ("list", Spot::Collection | Spot::AllNamespaces) => Self::List,
            ("create", Spot::Collection | Spot::Subresource(_)) => Self::Create,
            ("deletecollection", Spot::Collection) => Self::DeleteCollection,
            ("get", Spot::Item | Spot::Subresource(_)) => Self::Get,
            ("update", Spot::Item | Spot::Subresource(_)) => Self::Update,
            ("patch", Spot::Item | Spot::Subresource(_)) => Self::Patch,
            ("delete", Spot::Item | Spot::Subresource(_)) => Self::Delete,
            ("watch", Spot::WatchItem) => Self::Watch,
            ("watch", Spot::WatchCollection | Spot::WatchAllNamespaces) => Self::WatchList,
            _ => return None,
        })
    }

    /// Method, `x-kubernetes-action`, first word of the id, and first words of the description.
    const fn names(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Get => ("get", "get", "read", "Read one"),
            Self::List => ("get", "list", "list", "List or watch objects of kind"),
            Self::Create => ("post", "post", "create", "Create a"),
            Self::Update => ("put", "put", "replace", "Replace one"),
            Self::Patch => ("patch", "patch", "patch", "Change parts of one"),
            Self::Delete => ("delete", "delete", "delete", "Delete one"),
            Self::DeleteCollection => ("delete", "deletecollection", "delete", "Delete objects of kind"),
            Self::Watch => ("get", "watch", "watch", "Deprecated for a list with `watch`: follow one"),
            Self::WatchList => {
                ("get", "watchlist", "watch", "Deprecated for a list with `watch`: follow objects of kind")
            }
        }
    }
}

fn serving(path: &str, verb: Verb, kind: &'static Kind, spot: Spot) -> Operation {
    let (method, action, word, description) = verb.names();
    let (gvk, definition) = form(kind, spot);
    let is_log = matches!(spot, Spot::Subresource(subresource) if subresource.name == "log");
    let name = naming::subject(kind, spot, if verb == Verb::WatchList { "List" } else { "" });
    let name = if verb == Verb::DeleteCollection { format!("Collection{name}") } else { name };
    let (query, answers): (_, &[u16]) = match verb {
        Verb::Get if is_log => (parameters::LOG, &[200]),
        Verb::Get => (parameters::GET, &[200]),
        Verb::List | Verb::Watch | Verb::WatchList => (parameters::LIST, &[200]),
        Verb::Create => (parameters::WRITE, &[200, 201, 202]),
        Verb::Update => (parameters::WRITE, &[200, 201]),
        Verb::Patch => (parameters::PATCH, &[200, 201]),
        Verb::Delete => (parameters::DELETE, &[200, 202]),
        Verb::DeleteCollection => (parameters::DELETE_COLLECTION, &[200]),
    };
    let answer = match verb {
        Verb::Get if is_log => Content::Text,
        Verb::List => content(definition.and_then(Definition::list)),
        Verb::Watch | Verb::WatchList => content(schema::definition(WATCH_EVENT)),
        Verb::Delete if kind.removed == Removed::LastState => content(definition),
        Verb::Delete | Verb::DeleteCollection => content(schema::definition(STATUS)),
        _ => content(definition),
    };
    Operation {
        method,
        action: Some(action),
        kind: Some(gvk),
        id: naming::id(word, path, &name),
        description: format!("{description} {}.", described(kind, spot)),
        query: parameters::query(query),
        body: body(verb, definition),
        produces: match verb {
            Verb::Get if is_log => LOG_ENCODINGS,
            Verb::List | Verb::Watch | Verb::WatchList => STREAM_ENCODINGS,
            _ => ENCODINGS,
        },
        answers,
        answer,
    }
}

fn body(verb: Verb, definition: Option<&'static Definition>) -> Option<Body> {
    let (definition, consumes, presence) = match verb {
        Verb::Create | Verb::Update => (definition, ANYTHING, Presence::Required),
        Verb::Patch => (schema::definition(PATCH), PATCHES, Presence::Required),
        Verb::Delete | Verb::DeleteCollection => {
            (schema::definition(DELETE_OPTIONS), ANYTHING, Presence::Optional)
        }
        Verb::Get | Verb::List | Verb::Watch | Verb::WatchList => return None,
    };
    Some(Body { content: content(definition), consumes, presence })
}

/// A connection; its operations differ in the method only.
fn connecting(
    path: &str,
    method: &'static str,
    kind: &'static Kind,
    spot: Spot,
    subresource: &'static Subresource,
) -> Operation {
    let (gvk, _) = form(kind, spot);
    let name = format!("{}{}", naming::capitalized(method), naming::subject(kind, spot, ""));
    Operation {
        method,
        action: Some("connect"),
        kind: Some(gvk),
        id: naming::id("connect", path, &name),
        description: format!(
            "Connect {} requests to {} of a {}.",
            method.to_uppercase(),
            subresource.name,
            kind.kind
        ),
        query: parameters::query(parameters::of_options(gvk.kind)),
        body: None,
        produces: ANYTHING,
        answers: &[200],
        answer: Content::Text,
    }
}

/// The kind that a spot's bodies hold, and its definition.
fn form(kind: &'static Kind, spot: Spot) -> (GroupVersionKind, Option<&'static Definition>) {
    let own = GroupVersionKind { group: kind.group, version: kind.version, kind: kind.kind };
    let (Spot::Subresource(subresource) | Spot::Behind(subresource)) = spot else {
        return (own, schema::definition(kind.schema));
    };
    let (group, version, name) = subresource.group_version_kind(kind);
    let gvk = GroupVersionKind { group, version, kind: name };
    if gvk == own {
        return (own, schema::definition(kind.schema));
    }
    (gvk, schema::by_group_version_kind(group, version, name))
}

fn described(kind: &Kind, spot: Spot) -> String {
    match spot {
        Spot::Subresource(subresource) | Spot::Behind(subresource) => {
            format!("{}'s {}", kind.kind, subresource.name)
        }
        Spot::AllNamespaces | Spot::WatchAllNamespaces => format!("{} in all namespaces", kind.kind),
        _ => kind.kind.to_owned(),
    }
}

fn content(definition: Option<&'static Definition>) -> Content {
    definition.map_or(Content::Text, Content::Object)
}

const PROXY_METHODS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch"];

const ANYTHING: &[&str] = &["*/*"];
const JSON: &[&str] = &["application/json"];
const KEYS: &[&str] = &["application/jwk-set+json"];
const ENCODINGS: &[&str] = &["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
const LOG_ENCODINGS: &[&str] =
    &["application/json", "application/vnd.kubernetes.protobuf", "application/yaml", "text/plain"];
const STREAM_ENCODINGS: &[&str] = &[
    "application/json",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

const VERSION: &str = "io.k8s.apimachinery.pkg.version.Info";
const VERSIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions";
const GROUPS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList";
const GROUP: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup";
const RESOURCES: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
