//! All roles and bindings, by whom they concern.
//!
//! Lean on purpose: of a role its rules, packed; of a binding its role and whom it names. What a request may do is found from the names
//! of who asks, not by looking at every binding.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use serde::Deserialize;

use super::{Attributes, PolicyRule, Rules, Who};
use crate::{account, view::ObjectKey};

/// Roles and bindings.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// The namespace is empty for ClusterRoles.
    roles: BTreeMap<ObjectKey, Rules>,
    /// The namespace is empty for ClusterRoleBindings.
    bindings: BTreeMap<ObjectKey, Binding>,
    /// Bindings by the user that they name; service accounts are users.
    users: HashMap<Arc<str>, BTreeSet<ObjectKey>>,
    /// Bindings by the group that they name.
    groups: HashMap<Arc<str>, BTreeSet<ObjectKey>>,
}

/// Names a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleRef {
    scope: Scope,
    name: Arc<str>,
}

/// Where a role is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// A ClusterRole.
    Cluster,
    /// A Role, in the namespace of its binding.
    Namespace,
}

/// The binding that allows something; its text is Kubernetes' reason.
#[derive(Debug)]
pub struct Granted<'a> {
    key: &'a ObjectKey,
    binding: &'a Binding,
    subject: &'a Subject,
}

/// Roles that bindings name and that are not there; its text is Kubernetes' list of them, empty when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unresolved(BTreeSet<RoleRef>);

#[derive(Clone, Debug)]
struct Binding {
    role: RoleRef,
    subjects: Box<[Subject]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    User(Arc<str>),
    Group(Arc<str>),
    /// By the name of its user.
    Account(Arc<str>),
}

impl Index {
    /// Folds in an object of this kind as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; it counts as absent then.
    pub fn apply(&mut self, plural: &str, key: &ObjectKey, json: &[u8]) -> Result<(), serde_json::Error> {
        self.forget(plural, key);
        match plural {
            "roles" | "clusterroles" => {
                let role: RoleShape = serde_json::from_slice(json)?;
                self.roles.insert(key.clone(), Rules::pack(&role.rules.unwrap_or_default()));
            }
            "rolebindings" | "clusterrolebindings" => {
                let shape: BindingShape = serde_json::from_slice(json)?;
                self.bind(key, shape);
            }
            _ => {}
        }
        Ok(())
    }

    /// Forgets an object of this kind.
    pub fn forget(&mut self, plural: &str, key: &ObjectKey) {
        match plural {
            "roles" | "clusterroles" => drop(self.roles.remove(key)),
            "rolebindings" | "clusterrolebindings" => self.unbind(key),
            _ => {}
        }
    }

    /// The binding by which `who` may do what is asked.
    ///
    /// # Errors
    /// Roles that could not be looked at, when nothing allows it.
    pub fn allows(&self, who: Who<'_>, asked: &Attributes<'_>) -> Result<Granted<'_>, Unresolved> {
        let mut missing = Unresolved::default();
        for (key, binding) in self.bindings_of(who, asked.target.namespace()) {
            match self.rules_of(&binding.role, &key.namespace) {
                None => drop(missing.0.insert(binding.role.clone())),
                Some(rules) if rules.allow(asked) => {
                    let subject = binding.subjects.iter().find(|subject| subject.is(who));
                    return Ok(Granted { key, binding, subject: subject.unwrap_or(&binding.subjects[0]) });
                }
                Some(_) => {}
            }
        }
        Err(missing)
    }

    /// All rules that count for `who` in a namespace, and the roles that could not be looked at.
    pub fn rules_for(&self, who: Who<'_>, namespace: &str) -> (Vec<PolicyRule>, Unresolved) {
        let (mut rules, mut missing) = (Vec::new(), Unresolved::default());
        let bindings: BTreeMap<_, _> = self.bindings_of(who, namespace).collect();
        for (key, binding) in bindings {
            match self.rules_of(&binding.role, &key.namespace) {
                Some(found) => rules.extend(found.unpack()),
                None => drop(missing.0.insert(binding.role.clone())),
            }
        }
        (rules, missing)
    }

    /// The rules of a role that a binding in `namespace` names; `None` when it is not there.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<&Rules> {
        let namespace = match role.scope {
            Scope::Cluster => "",
            Scope::Namespace => namespace,
        };
        self.roles.get(&ObjectKey::new(namespace, &role.name))
    }

    /// Bindings of the cluster and, when it is not empty, of `namespace` that name `who`; one may come more than once.
    fn bindings_of<'i, 'q>(
        &'i self,
        who: Who<'q>,
        namespace: &'q str,
    ) -> impl Iterator<Item = (&'i ObjectKey, &'i Binding)> + use<'i, 'q> {
        let groups = who.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let named = self.users.get(who.name).into_iter().chain(groups);
        named.flat_map(move |keys| {
            let within = |space: &'q str| {
                keys.range(ObjectKey::new(space, "")..).take_while(move |key| &*key.namespace == space)
            };
            let local = (!namespace.is_empty()).then(|| within(namespace)).into_iter().flatten();
            within("").chain(local).filter_map(|key| Some((key, self.bindings.get(key)?)))
        })
    }

    fn bind(&mut self, key: &ObjectKey, shape: BindingShape) {
        let subjects = shape.subjects.unwrap_or_default();
        let subjects: Box<[Subject]> =
            subjects.iter().filter_map(|subject| Subject::new(subject, &key.namespace)).collect();
        for subject in &subjects {
            let named = match subject {
                Subject::User(name) | Subject::Account(name) => self.users.entry(Arc::clone(name)),
                Subject::Group(name) => self.groups.entry(Arc::clone(name)),
            };
            named.or_default().insert(key.clone());
        }
        let role = RoleRef::new(&shape.role_ref.kind, &shape.role_ref.name);
        self.bindings.insert(key.clone(), Binding { role, subjects });
    }

    fn unbind(&mut self, key: &ObjectKey) {
        let Some(binding) = self.bindings.remove(key) else { return };
        for subject in &binding.subjects {
            let (names, name) = match subject {
                Subject::User(name) | Subject::Account(name) => (&mut self.users, name),
                Subject::Group(name) => (&mut self.groups, name),
            };
            if let Some(keys) = names.get_mut(name) {
                keys.remove(key);
                if keys.is_empty() {
                    names.remove(name);
                }
            }
        }
    }
}

impl RoleRef {
    /// What a binding's `roleRef` names.
    pub fn new(kind: &str, name: &str) -> Self {
        let scope = if kind == "Role" { Scope::Namespace } else { Scope::Cluster };
        Self { scope, name: name.into() }
    }

    /// What Kubernetes says of it when it is not there.
    pub fn not_found(&self) -> String {
        format!("{}.{} \"{}\" not found", self.kind().to_lowercase(), super::GROUP, self.name)
    }

    /// `Role` or `ClusterRole`.
    const fn kind(&self) -> &'static str {
        match self.scope {
            Scope::Cluster => "ClusterRole",
            Scope::Namespace => "Role",
        }
    }
}

impl Subject {
    /// Whom a binding in `namespace` names; nobody, where Kubernetes takes it for nobody.
    fn new(shape: &SubjectShape, namespace: &str) -> Option<Self> {
        let name = shape.name.as_str();
        match shape.kind.as_str() {
            "User" => Some(Self::User(name.into())),
            "Group" => Some(Self::Group(name.into())),
            "ServiceAccount" => {
                let own = shape.namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(namespace);
                (!own.is_empty()).then(|| Self::Account(account::user(own, name).into()))
            }
            _ => None,
        }
    }

    fn is(&self, who: Who<'_>) -> bool {
        match self {
            Self::User(name) | Self::Account(name) => **name == *who.name,
            Self::Group(name) => who.groups.iter().any(|group| **group == **name),
        }
    }
}

impl fmt::Display for Granted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, binding: Binding { role, .. }, subject } = self;
        write!(f, "RBAC: allowed by ")?;
        match &*key.namespace {
            "" => write!(f, "ClusterRoleBinding \"{}\"", key.name)?,
            namespace => write!(f, "RoleBinding \"{}/{namespace}\"", key.name)?,
        }
        write!(f, " of {} \"{}\" to ", role.kind(), role.name)?;
        match subject {
            Subject::User(name) => write!(f, "User \"{name}\""),
            Subject::Group(name) => write!(f, "Group \"{name}\""),
            Subject::Account(user) => {
                let (namespace, name) = account::of_user(user).unwrap_or_default();
                write!(f, "ServiceAccount \"{name}/{namespace}\"")
            }
        }
    }
}

impl Unresolved {
    /// Whether everything could be looked at.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(RoleRef::not_found).collect();
        match texts.as_slice() {
            [] => Ok(()),
            [one] => f.write_str(one),
            several => write!(f, "[{}]", several.join(", ")),
        }
    }
}

#[derive(Deserialize)]
struct RoleShape {
    #[serde(default)]
    rules: Option<Vec<PolicyRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingShape {
    role_ref: RefShape,
    #[serde(default)]
    subjects: Option<Vec<SubjectShape>>,
}

#[derive(Deserialize)]
struct RefShape {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct SubjectShape {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

#[cfg(test)]
mod tests;
