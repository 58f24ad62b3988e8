//! `wasi:keyvalue/store`: buckets, one key at a time.

use wasmtime::component::{ComponentNamedList, ComponentType, Lift, LinkerInstance, Lower, Resource};

use super::{Answer, Bucket, Caller, Error, More, Operation, call, odd};
use crate::state::ComponentState;

type Instance<'a> = LinkerInstance<'a, ComponentState>;

/// What both drafts have.
pub(super) fn add_to(instance: &mut Instance<'_>) -> wasmtime::Result<()> {
    instance.func_wrap("open", |mut caller: Caller<'_>, (name,): (String,)| {
        let state = caller.data_mut();
        let Some(buckets) = state.buckets() else { return Ok((Err(Error::NoSuchStore),)) };
        if name.is_empty() || name.len() > BUCKET_NAME_BYTES_MAX || name.contains('\0') {
            return Ok((Err(Error::NoSuchStore),));
        }
        Ok((Ok::<_, Error>(state.table().push(Bucket { name, buckets, page: None })?),))
    })?;
    on_key(
        instance,
        "get",
        |key| Operation::Get(vec![key]),
        |answer| match answer {
            Answer::Values(mut values) => Ok(values.pop().flatten()),
            _ => Err(odd()),
        },
    )?;
    on_key(
        instance,
        "delete",
        |key| Operation::Delete(vec![key]),
        |answer| match answer {
            Answer::Done => Ok(()),
            _ => Err(odd()),
        },
    )?;
    on_key(
        instance,
        "exists",
        |key| Operation::Get(vec![key]),
        |answer| match answer {
            Answer::Values(mut values) => Ok(values.pop().flatten().is_some()),
            _ => Err(odd()),
        },
    )?;
    instance.func_wrap_async(
        "[method]bucket.set",
        |mut caller: Caller<'_>, (bucket, key, value): (Resource<Bucket>, String, Vec<u8>)| {
            Box::new(async move {
                let answer = call(&mut caller, &bucket, Operation::Set(vec![(key, value)]))?.await;
                Ok((answer.map(drop).map_err(Error::from),))
            })
        },
    )
}

/// A method that takes a key.
fn on_key<T>(
    instance: &mut Instance<'_>,
    name: &str,
    operation: fn(String) -> Operation,
    read: fn(Answer) -> Result<T, Error>,
) -> wasmtime::Result<()>
where
    T: 'static + Send,
    (Result<T, Error>,): ComponentNamedList + Lower,
{
    let method = format!("[method]bucket.{name}");
    instance.func_wrap_async(
        &method,
        move |mut caller: Caller<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move {
                let answer = call(&mut caller, &bucket, operation(key))?.await;
                Ok((answer.map_err(Error::from).and_then(read),))
            })
        },
    )
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct PageByNumber {
    keys: Vec<String>,
    cursor: Option<u64>,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct PageByKey {
    keys: Vec<String>,
    cursor: Option<String>,
}

/// Pages are named by how many keys are before them. The page after the last is found by its last key, so that reading all keys takes
/// time in proportion to them, and keys that come or go meanwhile move nothing.
pub(super) fn list_by_number(instance: &mut Instance<'_>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]bucket.list-keys",
        |mut caller: Caller<'_>, (bucket, cursor): (Resource<Bucket>, Option<u64>)| {
            Box::new(async move {
                let before = cursor.unwrap_or(0);
                let page = caller.data_mut().table().get(&bucket)?.page.clone();
                let operation = match page.filter(|(count, _)| *count == before && before > 0) {
                    Some((_, last)) => Operation::List { after: Some(last), skip: 0 },
                    None => Operation::List { after: None, skip: before },
                };
                let answer = call(&mut caller, &bucket, operation)?.await;
                let (keys, more) = match answer {
                    Ok(Answer::Keys(keys, more)) => (keys, more),
                    Ok(_) => return Ok((Err(odd()),)),
                    Err(error) => return Ok((Err(Error::from(error)),)),
                };
                let count = before + u64::try_from(keys.len()).unwrap_or(u64::MAX);
                let last = keys.last().map(|last| (count, last.clone()));
                caller.data_mut().table().get_mut(&bucket)?.page = last;
                let cursor = (more == More::Yes).then_some(count);
                Ok((Ok(PageByNumber { keys, cursor }),))
            })
        },
    )
}

/// Pages are named by the last key before them.
pub(super) fn list_by_key(instance: &mut Instance<'_>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]bucket.list-keys",
        |mut caller: Caller<'_>, (bucket, cursor): (Resource<Bucket>, Option<String>)| {
            Box::new(async move {
                let answer = call(&mut caller, &bucket, Operation::List { after: cursor, skip: 0 })?.await;
                Ok((match answer {
                    Ok(Answer::Keys(keys, more)) => {
                        let cursor = keys.last().filter(|_| more == More::Yes).cloned();
                        Ok(PageByKey { keys, cursor })
                    }
                    Ok(_) => Err(odd()),
                    Err(error) => Err(Error::from(error)),
                },))
            })
        },
    )
}

/// Longest name of a bucket.
const BUCKET_NAME_BYTES_MAX: usize = 128;
