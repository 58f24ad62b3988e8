//! A bound on managers: an object that many write to keeps few entries.

use std::collections::BTreeMap;

use super::{
    fields_v1::MalformedSet,
    managers::{Entry, Manager, Managers, Operation},
    node_type::NodeType,
    versions::version_of,
};
use crate::kind::Kind;

/// Puts the oldest entries of updates together, those of each version into one, until there are few enough. Entries of those who apply
/// all stay.
pub(super) fn cap<'v>(kind: &'static Kind, managers: Managers<'v>) -> Result<Managers<'v>, MalformedSet> {
    let (mut updates, mut kept): (Vec<_>, Vec<_>) =
        managers.0.into_iter().partition(|entry| entry.manager.operation == Operation::Update);
    let mut too_many = updates.len().saturating_sub(UPDATE_MANAGERS_MAX);
    if too_many > 0 {
        let age =
            |entry: &Entry<'_>| (entry.manager.name != ANCIENT, entry.time.clone(), entry.manager.clone());
        updates.sort_by_cached_key(age);
    }
    // Where in `kept` the oldest entry of each version is.
    let mut oldest: BTreeMap<String, usize> = BTreeMap::new();
    for entry in updates {
        match oldest.get(&entry.api_version) {
            Some(position) if too_many > 0 => {
                merge(kind, &mut kept[*position], entry)?;
                too_many -= 1;
            }
            Some(_) => kept.push(entry),
            None => {
                oldest.insert(entry.api_version.clone(), kept.len());
                kept.push(entry);
            }
        }
    }
    Ok(Managers(kept))
}

/// Makes `older` the one for ancient changes, and `entry` part of it.
fn merge<'v>(kind: &'static Kind, older: &mut Entry<'v>, mut entry: Entry<'v>) -> Result<(), MalformedSet> {
    let version = version_of(kind, &entry.api_version).unwrap_or(kind);
    let ty = NodeType::of_definition(version.definition());
    older.decode(ty)?;
    entry.decode(ty)?;
    older.put(older.set().union(entry.set()));
    older.manager = Manager::new(ANCIENT, Operation::Update, &entry.api_version, "");
    older.time = entry.time;
    Ok(())
}

/// Kubernetes keeps as many.
const UPDATE_MANAGERS_MAX: usize = 10;

/// Who owns what was put together.
const ANCIENT: &str = "ancient-changes";
