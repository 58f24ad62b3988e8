//! Operations on a bucket by the second draft, where it differs from the first: `list`, `increment` (also down), `swap KEY VALUE`, which
//! sets what nobody else set meanwhile, and `lose KEY VALUE`, where somebody does; beside them `get`, `set` and `get-many`.

use crate::{
    Outcome, say,
    wasi::keyvalue0_2_0_draft2::{
        atomics::{self, Cas, CasError},
        batch,
        store::{self, Bucket, Error},
    },
};

/// Does one operation on the bucket.
pub fn run(bucket: &str, operation: &[&str]) -> Outcome {
    let bucket = store::open(bucket).map_err(text)?;
    match *operation {
        ["get", key] => say(&shown(bucket.get(key).map_err(text)?)),
        ["set", key, value] => bucket.set(key, value.as_bytes()).map_err(text),
        ["list"] => list(&bucket),
        ["increment", key, delta] => {
            say(&atomics::increment(&bucket, key, delta.parse()?).map_err(text)?.to_string())
        }
        ["swap", key, value] => swap(Cas::new(&bucket, key).map_err(text)?, value),
        ["lose", key, value] => {
            let cas = Cas::new(&bucket, key).map_err(text)?;
            bucket.set(key, b"somebody else's").map_err(text)?;
            swap(cas, value)
        }
        ["get-many", ref keys @ ..] => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            let values = batch::get_many(&bucket, &keys).map_err(text)?;
            values.into_iter().try_for_each(|value| say(&shown(value.map(|(_, value)| value))))
        }
        _ => Err("unknown operation".into()),
    }
}

/// Says what was there, and what became of it.
fn swap(cas: Cas, value: &str) -> Outcome {
    say(&shown(cas.current().map_err(text)?))?;
    match atomics::swap(cas, value.as_bytes()) {
        Ok(()) => say("swapped"),
        Err(CasError::CasFailed(cas)) => say(&format!("lost to {}", shown(cas.current().map_err(text)?))),
        Err(CasError::StoreError(error)) => Err(text(error)),
    }
}

fn list(bucket: &Bucket) -> Outcome {
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor.as_deref()).map_err(text)?;
        page.keys.iter().try_for_each(|key| say(key))?;
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn shown(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
}

fn text(error: Error) -> Box<dyn std::error::Error> {
    match error {
        Error::Other(text) => text.into(),
        error => format!("{error:?}").into(),
    }
}
