//! `wasi:keyvalue/atomics`: numbers that are added to, and, in the second draft, values that are set only if nobody else did.

use std::fmt;

use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType};

use super::{Answer, Bucket, Caller, Error, Operation, Pending, call, odd};
use crate::state::ComponentState;

type Instance<'a> = LinkerInstance<'a, ComponentState>;

pub(super) fn add_draft(instance: &mut Instance<'_>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "increment",
        |mut caller: Caller<'_>, (bucket, key, delta): (Resource<Bucket>, String, u64)| {
            Box::new(async move {
                let range = (0, i128::from(u64::MAX));
                let operation = Operation::Increment { key, delta: i128::from(delta), range };
                let number = number(call(&mut caller, &bucket, operation)?).await;
                Ok((number.and_then(|number| u64::try_from(number).map_err(|_| odd())),))
            })
        },
    )
}

/// A value as it was when somebody looked.
pub(super) struct Cas {
    /// Its own, since the guest may drop its handle before it swaps.
    bucket: Bucket,
    key: String,
    seen: Option<Vec<u8>>,
}

impl Cas {
    pub(super) fn new(bucket: Bucket, key: String, seen: Option<Vec<u8>>) -> Self {
        Self { bucket, key, seen }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bucket.bytes() + self.key.len() + self.seen.as_ref().map_or(0, Vec::len)
    }
}

impl fmt::Debug for Cas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cas").field("key", &self.key).finish_non_exhaustive()
    }
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    Store(Error),
    #[component(name = "cas-failed")]
    Failed(Resource<Cas>),
}

pub(super) fn add_draft2(instance: &mut Instance<'_>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "increment",
        |mut caller: Caller<'_>, (bucket, key, delta): (Resource<Bucket>, String, i64)| {
            Box::new(async move {
                let range = (i128::from(i64::MIN), i128::from(i64::MAX));
                let operation = Operation::Increment { key, delta: i128::from(delta), range };
                let number = number(call(&mut caller, &bucket, operation)?).await;
                Ok((number.and_then(|number| i64::try_from(number).map_err(|_| odd())),))
            })
        },
    )?;
    instance.resource("cas", ResourceType::host::<Cas>(), |mut caller: Caller<'_>, cas| {
        caller.data_mut().table().delete(Resource::<Cas>::new_own(cas))?;
        Ok(())
    })?;
    instance.func_wrap_async(
        "[static]cas.new",
        |mut caller: Caller<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move {
                let looked = call(&mut caller, &bucket, Operation::Get(vec![key.clone()]))?.await;
                let seen = match looked {
                    Ok(Answer::Values(mut values)) => values.pop().flatten(),
                    Ok(_) => return Ok((Err(odd()),)),
                    Err(error) => return Ok((Err(Error::from(error)),)),
                };
                let table = caller.data_mut().table();
                let bucket = table.get(&bucket)?.clone();
                Ok((Ok(table.push(Cas::new(bucket, key, seen))?),))
            })
        },
    )?;
    instance.func_wrap("[method]cas.current", |mut caller: Caller<'_>, (cas,): (Resource<Cas>,)| {
        Ok((Ok::<_, Error>(caller.data_mut().table().get(&cas)?.seen.clone()),))
    })?;
    instance.func_wrap_async("swap", |mut caller: Caller<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
        Box::new(async move {
            let Cas { bucket, key, seen } = caller.data_mut().table().delete(cas)?;
            let operation = Operation::Swap { key: key.clone(), expected: seen, value };
            Ok((match bucket.call(operation).await {
                Ok(Answer::Swapped(Ok(()))) => Ok(()),
                Ok(Answer::Swapped(Err(seen))) => {
                    let cas = caller.data_mut().table().push(Cas::new(bucket, key, seen))?;
                    Err(CasError::Failed(cas))
                }
                Ok(_) => Err(CasError::Store(odd())),
                Err(error) => Err(CasError::Store(error.into())),
            },))
        })
    })
}

async fn number(pending: Pending) -> Result<i128, Error> {
    match pending.await {
        Ok(Answer::Number(number)) => Ok(number),
        Ok(_) => Err(odd()),
        Err(error) => Err(error.into()),
    }
}
