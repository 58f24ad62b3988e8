//! Operations on a bucket: `get`, `set`, `delete`, `exists`, `list`, `increment`, `get-many`, `set-many`, `delete-many`, and
//! `fill COUNT BYTES`, which sets as many keys until one is refused, and says each when it is kept.

use crate::{
    Outcome, say,
    wasi::keyvalue0_2_0_draft::{
        atomics, batch,
        store::{self, Bucket, Error},
    },
};

/// Does one operation on the bucket.
pub fn run(bucket: &str, operation: &[&str]) -> Outcome {
    let bucket = store::open(bucket).map_err(text)?;
    match *operation {
        ["get", key] => say(&shown(bucket.get(key).map_err(text)?)),
        ["set", key, value] => bucket.set(key, value.as_bytes()).map_err(text),
        ["delete", key] => bucket.delete(key).map_err(text),
        ["exists", key] => say(&bucket.exists(key).map_err(text)?.to_string()),
        ["list"] => list(&bucket),
        ["increment", key, delta] => {
            say(&atomics::increment(&bucket, key, delta.parse()?).map_err(text)?.to_string())
        }
        ["get-many", ref keys @ ..] => {
            let values = batch::get_many(&bucket, &owned(keys)).map_err(text)?;
            values.into_iter().try_for_each(|value| say(&shown(value.map(|(_, value)| value))))
        }
        ["set-many", ref pairs @ ..] => {
            let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
            let pairs: Vec<_> = pairs.map(|(key, value)| (key.to_owned(), value.into())).collect();
            batch::set_many(&bucket, &pairs).map_err(text)
        }
        ["delete-many", ref keys @ ..] => batch::delete_many(&bucket, &owned(keys)).map_err(text),
        ["fill", count, bytes] => {
            let value = vec![b'x'; bytes.parse()?];
            for number in 0..count.parse::<u32>()? {
                bucket.set(&format!("key-{number}"), &value).map_err(text)?;
                say(&format!("kept {number}"))?;
            }
            Ok(())
        }
        _ => Err("unknown operation".into()),
    }
}

fn list(bucket: &Bucket) -> Outcome {
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor).map_err(text)?;
        page.keys.iter().try_for_each(|key| say(key))?;
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
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
