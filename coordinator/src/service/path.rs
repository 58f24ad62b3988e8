//! From method, path and query to what is asked: which verb on which resource.

mod attributes;

use dunlin_api::{FieldSelector, Kind, Status, kind};
use dunlin_link::rpc::Method;

pub(super) use self::attributes::attributes;
use super::{proxy, query::Query};

/// What a request asks of which resource; the attributes that authorization looks at.
#[derive(Clone, Debug)]
pub(super) struct ResourceRequest {
    /// What to do.
    pub(super) verb: Verb,
    /// To which kind of object.
    pub(super) kind: &'static Kind,
    /// Empty for cluster-scoped kinds, and for all namespaces.
    pub(super) namespace: String,
    /// Empty for collections.
    pub(super) name: String,
    /// For instance `status`; empty for the object itself.
    pub(super) subresource: String,
}

/// A verb, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    /// Read one.
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// Make one.
    Create,
    /// Replace one.
    Update,
    /// Change parts of one.
    Patch,
    /// Delete one.
    Delete,
    /// Delete many.
    DeleteCollection,
}

impl Verb {
    /// Whether it changes objects.
    pub(super) const fn is_mutating(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }

    /// As messages and roles spell it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Target {
    /// To objects.
    Resource(ResourceRequest),
    /// To something that is no object.
    Other,
}

/// Reads a path.
///
/// # Errors
/// 404 for resources that a served group does not have, 405 for verbs that the resource does not have.
pub(super) fn parse(method: Method, path: &str, query: &Query) -> Result<Target, Status> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Ok(Target::Other),
    };
    if rest.is_empty() || !kind::all().any(|kind| kind.group == group && kind.version == version) {
        return Ok(Target::Other);
    }
    let (rest, legacy_watch) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (rest, LegacyWatch::Yes),
        rest => (rest, LegacyWatch::No),
    };
    let place = Place::parse(rest).ok_or_else(Status::no_such_resource)?;
    let found = kind::by_resource(group, version, place.plural).ok_or_else(Status::no_such_resource)?;
    place.check_scope(found)?;
    let verb = verb(method, &place, query, legacy_watch)?;
    check_verb(found, &place, verb)?;
    let name = match verb {
        Verb::List | Verb::Watch | Verb::DeleteCollection if place.name.is_empty() => {
            selected_name(found, query)
        }
        _ => place.name.to_owned(),
    };
    Ok(Target::Resource(ResourceRequest {
        verb,
        kind: found,
        namespace: place.namespace.to_owned(),
        name,
        subresource: place.subresource.to_owned(),
    }))
}

/// Refuses what objects of a kind cannot be asked for.
fn check_verb(kind: &Kind, place: &Place<'_>, verb: Verb) -> Result<(), Status> {
    if place.subresource == proxy::NAME {
        return if kind.has_subresource(proxy::NAME) { Ok(()) } else { Err(Status::no_such_resource()) };
    }
    let is_served = !place.subresource.is_empty() || kind.verbs.contains(&verb.as_str());
    if is_served { Ok(()) } else { Err(Status::method_not_allowed()) }
}

/// The one name that a field selector asks for: whoever may see this object may list and watch it.
fn selected_name(kind: &Kind, query: &Query) -> String {
    let fields = FieldSelector::parse(kind, query.text("fieldSelector")).unwrap_or_default();
    let name = fields.exact("metadata.name").unwrap_or_default();
    if name.contains('/') { String::new() } else { name.to_owned() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LegacyWatch {
    Yes,
    No,
}

/// The part of a path after group and version.
struct Place<'a> {
    namespace: &'a str,
    plural: &'a str,
    name: &'a str,
    subresource: &'a str,
}

impl<'a> Place<'a> {
    fn parse(rest: &[&'a str]) -> Option<Self> {
        let place =
            |namespace, plural, name, subresource| Some(Self { namespace, plural, name, subresource });
        match *rest {
            // A namespace's own subresources look like resources in it; their names are taken.
            ["namespaces", name, subresource @ ("status" | "finalize")] => {
                place("", "namespaces", name, subresource)
            }
            // What is asked of the other end is no part of it.
            ["namespaces", namespace, plural, name, proxy::NAME, ..] => {
                place(namespace, plural, name, proxy::NAME)
            }
            ["nodes", name, proxy::NAME, ..] => place("", "nodes", name, proxy::NAME),
            ["namespaces", namespace, plural] => place(namespace, plural, "", ""),
            ["namespaces", namespace, plural, name] => place(namespace, plural, name, ""),
            ["namespaces", namespace, plural, name, subresource] => {
                place(namespace, plural, name, subresource)
            }
            [plural] => place("", plural, "", ""),
            [plural, name] => place("", plural, name, ""),
            [plural, name, subresource] => place("", plural, name, subresource),
            _ => None,
        }
    }

    fn check_scope(&self, kind: &Kind) -> Result<(), Status> {
        let in_namespace = !self.namespace.is_empty();
        let all_namespaces = kind.namespaced && !in_namespace && self.name.is_empty();
        if in_namespace == kind.namespaced || all_namespaces {
            Ok(())
        } else {
            Err(Status::no_such_resource())
        }
    }
}

fn verb(method: Method, place: &Place<'_>, query: &Query, legacy_watch: LegacyWatch) -> Result<Verb, Status> {
    let named = !place.name.is_empty();
    let verb = match (method, named) {
        (Method::Get, _) if legacy_watch == LegacyWatch::Yes => Verb::Watch,
        (Method::Get, true) => Verb::Get,
        (Method::Get, false) if query.flag("watch") => Verb::Watch,
        (Method::Get, false) => Verb::List,
        (Method::Post, false) => Verb::Create,
        // Subresources such as `binding` are created under the name of their object.
        (Method::Post, true) if !place.subresource.is_empty() => Verb::Create,
        (Method::Put, true) => Verb::Update,
        (Method::Patch, true) => Verb::Patch,
        (Method::Delete, true) if matches!(place.subresource, "" | proxy::NAME) => Verb::Delete,
        (Method::Delete, false) => Verb::DeleteCollection,
        _ => return Err(Status::method_not_allowed()),
    };
    let creates_in_no_namespace = verb == Verb::Create && place.namespace.is_empty();
    let kind_needs_one = kind::all().any(|kind| kind.plural == place.plural && kind.namespaced);
    if creates_in_no_namespace && kind_needs_one { Err(Status::method_not_allowed()) } else { Ok(verb) }
}
