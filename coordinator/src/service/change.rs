//! Reading an object, deciding on it, and writing what was decided, again until no other writer came between.

use dunlin_api::Status;
use dunlin_link::Revision;
use serde_json::Value;

use super::{
    ApiService, ObjectRef,
    companions::{Cause, Transition, Unmet},
    options::DryRun,
    store_failed, stored,
};
use crate::store::{Compare, KeyValue, Txn, TxnOutcome, Write};

/// What is to happen to an object.
#[derive(Debug)]
pub(super) enum Decision {
    /// Nothing; the answer is this object.
    Keep(Value),
    /// It becomes this. What equals the current object is not written.
    Put(Value),
    /// It is removed, and these writes happen with it.
    Remove {
        /// Its last state, for the answer.
        last: Value,
        /// Written in the same transaction.
        also: Vec<Write>,
    },
}

/// What happened to an object.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is there, as this.
    Kept(Value),
    /// It is gone; this was its last state.
    Removed(Value),
}

impl Outcome {
    /// The object, there or gone.
    pub(super) fn into_object(self) -> Value {
        match self {
            Self::Kept(object) | Self::Removed(object) => object,
        }
    }
}

impl ApiService {
    /// The current object.
    pub(super) async fn read(&self, object: ObjectRef<'_>) -> Result<Value, Status> {
        let found = self.read_value(object).await?;
        let mut found = found.ok_or_else(|| Status::not_found(object.kind, object.name))?;
        self.renew_lease(object.kind, &mut found);
        decode(&found)
    }

    pub(super) async fn read_value(&self, object: ObjectRef<'_>) -> Result<Option<KeyValue>, Status> {
        let key = stored::key(object.kind, object.namespace, object.name);
        self.store().get(&key).await.map_err(store_failed)
    }

    /// Lets `decide` look at the current object and carries out what it says; asks it again about the newer object when another
    /// writer was faster.
    pub(super) async fn change<E: From<Status>>(
        &self,
        object: ObjectRef<'_>,
        dry_run: DryRun,
        decide: impl FnMut(&Value) -> Result<Decision, E> + Send,
    ) -> Result<Outcome, E> {
        self.change_by(object, dry_run, Cause::Plain, decide).await
    }

    /// The same, because of this.
    pub(super) async fn change_by<E: From<Status>>(
        &self,
        object: ObjectRef<'_>,
        dry_run: DryRun,
        cause: Cause,
        mut decide: impl FnMut(&Value) -> Result<Decision, E> + Send,
    ) -> Result<Outcome, E> {
        let not_found = || Status::not_found(object.kind, object.name);
        let mut current = self.read_value(object).await?.ok_or_else(not_found)?;
        let mut refused = None;
        for _ in 0..ATTEMPTS_MAX {
            let old = decode(&current)?;
            let (write, also, last) = match decide(&old)? {
                Decision::Keep(object) => return Ok(Outcome::Kept(object)),
                Decision::Put(new) if new == old || dry_run == DryRun::All => return Ok(Outcome::Kept(new)),
                Decision::Put(new) => {
                    let value = stored::encode_update(&new, &old, &current);
                    (Write::Put(current.key.clone(), value), Vec::new(), new)
                }
                Decision::Remove { last, .. } if dry_run == DryRun::All => return Ok(Outcome::Removed(last)),
                Decision::Remove { last, also } => (Write::Delete(current.key.clone()), also, last),
            };
            let removes = matches!(write, Write::Delete(_));
            let new = Some(&last).filter(|_| !removes);
            let companions = self.companions(Transition { object, old: Some(&old), new, cause }).await?;
            let mut compares = vec![Compare::ModRevision(current.key.clone(), current.mod_revision)];
            compares.extend(companions.compares());
            let mut writes: Vec<Write> = std::iter::once(write).chain(also).collect();
            writes.extend(companions.writes.iter().cloned());
            match self.store().txn(Txn { compares, writes }).await.map_err(store_failed)? {
                TxnOutcome::Committed(_) if removes => {
                    self.removed(object);
                    return Ok(Outcome::Removed(last));
                }
                TxnOutcome::Committed(revision) => return Ok(Outcome::Kept(with_version(last, revision))),
                TxnOutcome::Conflict(0, newer) => current = newer.ok_or_else(not_found)?,
                // What goes with the object has changed, not the object.
                TxnOutcome::Conflict(position, _) => match companions.unmet(position - 1) {
                    Unmet::Changed => {}
                    // What conflicts again although another number was offered is what the client asked for.
                    Unmet::Taken(claim, status) if refused == Some(claim) => return Err(status.into()),
                    Unmet::Taken(claim, _) => refused = Some(claim),
                },
            }
        }
        Err(Status::modified(object.kind, object.name).into())
    }
}

/// Decodes what the store holds.
pub(super) fn decode(value: &KeyValue) -> Result<Value, Status> {
    stored::decode(&value.value, value.mod_revision).map_err(Status::internal)
}

/// The object as it is after the write at `revision`.
pub(super) fn with_version(mut object: Value, revision: Revision) -> Value {
    object["metadata"]["resourceVersion"] = revision.to_string().into();
    object
}

/// Other writers that may come between before we give up: more only happen when somebody writes in a loop.
const ATTEMPTS_MAX: usize = 64;
