//! `wasi:keyvalue/batch`: several keys at a time, which here is all of them or none.

use wasmtime::component::{LinkerInstance, Resource};

use super::{Answer, Bucket, Caller, Error, Operation, call, odd};
use crate::state::ComponentState;

type Pairs = Vec<(String, Vec<u8>)>;

pub(super) fn add_to(instance: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "get-many",
        |mut caller: Caller<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                let answer = call(&mut caller, &bucket, Operation::Get(keys.clone()))?.await;
                Ok((match answer {
                    Ok(Answer::Values(values)) => {
                        let pairs = keys.into_iter().zip(values);
                        Ok(pairs.map(|(key, value)| value.map(|value| (key, value))).collect::<Vec<_>>())
                    }
                    Ok(_) => Err(odd()),
                    Err(error) => Err(Error::from(error)),
                },))
            })
        },
    )?;
    instance.func_wrap_async(
        "set-many",
        |mut caller: Caller<'_>, (bucket, pairs): (Resource<Bucket>, Pairs)| {
            Box::new(async move {
                let answer = call(&mut caller, &bucket, Operation::Set(pairs))?.await;
                Ok((answer.map(drop).map_err(Error::from),))
            })
        },
    )?;
    instance.func_wrap_async(
        "delete-many",
        |mut caller: Caller<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                let answer = call(&mut caller, &bucket, Operation::Delete(keys))?.await;
                Ok((answer.map(drop).map_err(Error::from),))
            })
        },
    )
}
