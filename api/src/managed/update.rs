//! Tracking of every write that is no server-side apply: who changes a field owns it, and nobody else does.

use serde_json::{Map, Value};

use super::{
    Scope,
    cap::cap,
    fields_v1::MalformedSet,
    ignored::strip,
    managers::{Entry, Manager, Managers, Operation},
    node_type::NodeType,
    set::FieldSet,
    versions::{Versions, version_of},
    zero::zero,
};

/// `metadata.managedFields` after `scope`'s writer changed `old` to `new`, or created `new`: null when there is none, and `None` when
/// it stays as in `old`. `new` may carry what its sender says they are.
pub(crate) fn updated(scope: &Scope<'_>, old: Option<&Value>, new: &Value) -> Option<Value> {
    let stored = old.map_or(&Value::Null, |old| &old["metadata"]["managedFields"]);
    let sent = &new["metadata"]["managedFields"];
    let given =
        if scope.subresource.is_empty() && sent != stored { given(scope, sent) } else { Given::Nothing };
    let nothing = if old.is_none() { nothing(scope) } else { Value::Null };
    let versions = Versions::new(scope.kind, scope.subresource, old.unwrap_or(&nothing), new);
    let (managers, origin) = match given {
        Given::Reset => (Managers::default(), Origin::Sent),
        Given::Managers(managers) => (managers, Origin::Sent),
        Given::Nothing if versions.are_same() => return None,
        // What is stored was read before; should it be unreadable, it counts as not there.
        Given::Nothing => (Managers::read(stored).unwrap_or_default(), Origin::Stored),
    };
    if old.is_some() && managers.0.is_empty() {
        // Nobody's fields were tracked so far, or shall be from now on.
        return Some(Value::Null);
    }
    track(scope, managers, origin, versions)
}

/// The managers of an object that nobody's fields were tracked of: one who owns everything, so that nothing is taken unasked.
pub(super) fn before_first_apply(scope: &Scope<'_>, live: &Value) -> Value {
    let scope = Scope { manager: BEFORE_FIRST_APPLY, ..*scope };
    let nothing = nothing(&scope);
    let versions = Versions::new(scope.kind, scope.subresource, &nothing, live);
    track(&scope, Managers::default(), Origin::Stored, versions).unwrap_or_default()
}

/// What a sender says about managers.
enum Given<'v> {
    Nothing,
    Reset,
    Managers(Managers<'v>),
}

/// Where managers come from. Those sent may not be canonical.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Stored,
    Sent,
}

/// Reads what was sent. What is malformed or says nothing counts as not sent, so that clients who know nothing of managers do not
/// delete them.
fn given<'v>(scope: &Scope<'_>, sent: &'v Value) -> Given<'v> {
    if let Some([only]) = sent.as_array().map(Vec::as_slice)
        && only.as_object().is_some_and(Map::is_empty)
    {
        return Given::Reset;
    }
    let Ok(mut managers) = Managers::read(sent) else { return Given::Nothing };
    for entry in &mut managers.0 {
        let version = version_of(scope.kind, &entry.api_version).unwrap_or(scope.kind);
        if entry.decode(NodeType::of_definition(version.definition())).is_err() {
            return Given::Nothing;
        }
    }
    managers.0.retain(|entry| !entry.set().is_empty());
    if managers.0.is_empty() { Given::Nothing } else { Given::Managers(managers) }
}

/// The new `managedFields`; `None` when they stay as stored, also because what is stored cannot be read.
fn track(scope: &Scope<'_>, managers: Managers<'_>, origin: Origin, versions: Versions<'_>) -> Option<Value> {
    let mut tracked = Tracked::new(scope, origin, versions);
    for entry in managers.0 {
        tracked.add(entry).ok()?;
    }
    tracked.finish().ok()?
}

/// Managers after a change, as far as they are worked out.
struct Tracked<'v> {
    scope: &'v Scope<'v>,
    versions: Versions<'v>,
    /// The writer.
    own: Manager,
    /// What the writer changes, in the version that it writes.
    changed: FieldSet,
    entries: Vec<Entry<'v>>,
    state: State,
}

/// Whether managers differ from what is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    AsStored,
    New,
}

impl<'v> Tracked<'v> {
    fn new(scope: &'v Scope<'v>, origin: Origin, mut versions: Versions<'v>) -> Self {
        let api_version = scope.kind.api_version();
        let changed = versions.at(&api_version).map(|compared| strip(&compared.changed));
        Self {
            own: Manager::new(scope.manager_name(), Operation::Update, &api_version, scope.subresource),
            scope,
            versions,
            changed: changed.unwrap_or_default(),
            entries: Vec::new(),
            state: if origin == Origin::Sent { State::New } else { State::AsStored },
        }
    }

    /// Adds a manager from before the change with what it owns after it. What the change leaves alone is not even decoded.
    fn add(&mut self, mut entry: Entry<'v>) -> Result<(), MalformedSet> {
        let Some(compared) = self.versions.at(&entry.api_version) else {
            // Nothing can be said about fields of a version that is not there any more.
            self.state = State::New;
            return Ok(());
        };
        let (taken, removed) = (&compared.changed, &compared.removed);
        let is_own = entry.manager == self.own;
        let is_affected = entry.touches(removed)
            || if is_own { !entry.covers(&self.changed) } else { entry.touches(taken) };
        if is_affected {
            entry.decode(compared.ty)?;
            let set = entry.set().difference(removed);
            let set = if is_own { set.union(&self.changed) } else { set.difference(taken) };
            if set != *entry.set() {
                self.state = State::New;
            }
            if is_own && set != *entry.set() && !self.changed.is_empty() {
                entry.time = self.scope.time();
            }
            entry.put(set);
        }
        if !is_affected || !entry.set().is_empty() {
            self.entries.push(entry);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Value>, MalformedSet> {
        if !self.changed.is_empty() && !self.entries.iter().any(|entry| entry.manager == self.own) {
            let (api_version, time) = (self.scope.kind.api_version(), self.scope.time());
            self.entries.push(Entry::new(self.own, api_version, time, self.changed));
            self.state = State::New;
        }
        if self.state == State::AsStored {
            return Ok(None);
        }
        cap(self.scope.kind, Managers(self.entries)).map(|managers| Some(managers.into_value()))
    }
}

/// An object of the kind with nothing set.
fn nothing(scope: &Scope<'_>) -> Value {
    zero(scope.kind.definition())
}

const BEFORE_FIRST_APPLY: &str = "before-first-apply";
