//! `wasi:keyvalue`: buckets that outlive guests. What is here speaks the interface; who keeps the buckets is the caller's.
//!
//! The interface is a draft that was published twice: they differ in how pages of keys are named, and in what is atomic.

mod atomics;
mod batch;
mod store;

use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc};

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType},
};

use self::atomics::Cas;
use crate::state::ComponentState;

/// Keeps a container's buckets. It must not block.
pub trait Buckets: Send + Sync + 'static {
    /// Does one operation on a bucket, whole or not at all; what is changed is durable when it answers.
    fn call(&self, bucket: &str, operation: Operation) -> Pending;
}

/// An operation that goes on.
pub type Pending = Pin<Box<dyn Future<Output = Result<Answer, KeyValueError>> + Send>>;

/// What is done with a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Answered by [`Answer::Values`], in the same order.
    Get(Vec<String>),
    /// Answered by [`Answer::Done`].
    Set(Vec<(String, Vec<u8>)>),
    /// Answered by [`Answer::Done`]. A key that is not there is none the less gone.
    Delete(Vec<String>),
    /// A page of keys in their order; answered by [`Answer::Keys`].
    List {
        /// The last key that is not on the page.
        after: Option<String>,
        /// How many more to leave out.
        skip: u64,
    },
    /// Adds to a number in decimal digits, 0 if there is none; answered by [`Answer::Number`].
    Increment {
        /// Where.
        key: String,
        /// How much.
        delta: i128,
        /// Least and most that it may become.
        range: (i128, i128),
    },
    /// Sets a value if it is still as expected; answered by [`Answer::Swapped`].
    Swap {
        /// Where.
        key: String,
        /// What it was.
        expected: Option<Vec<u8>>,
        /// What it becomes.
        value: Vec<u8>,
    },
}

/// See [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is so, and durable.
    Done,
    /// What each key has.
    Values(Vec<Option<Vec<u8>>>),
    /// A page of keys, and whether more follow.
    Keys(Vec<String>, More),
    /// What the number is now.
    Number(i128),
    /// Whether it was set; if not, what is there.
    Swapped(Result<(), Option<Vec<u8>>>),
}

/// Whether keys follow those of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// None does.
    No,
    /// Some do.
    Yes,
}

/// Why an operation was not done, for the guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyValueError(pub String);

/// A bucket that a guest has opened.
#[derive(Clone)]
pub(crate) struct Bucket {
    name: String,
    buckets: Arc<dyn Buckets>,
    /// Where the page that was read last ended: how many keys were before, and the last of them.
    page: Option<(u64, String)>,
}

impl Bucket {
    fn call(&self, operation: Operation) -> Pending {
        self.buckets.call(&self.name, operation)
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.page.as_ref().map_or(0, |(_, key)| key.len())
    }
}

/// What an entry of a store's table holds, if it is one of ours.
pub(crate) fn bytes_of(entry: &dyn Any) -> Option<u64> {
    let bucket = entry.downcast_ref().map(Bucket::bytes);
    bucket.or_else(|| entry.downcast_ref().map(Cas::bytes)).map(|bytes| bytes as u64)
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.name).finish_non_exhaustive()
    }
}

type Caller<'a> = StoreContextMut<'a, ComponentState>;

/// The interface's error.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<KeyValueError> for Error {
    fn from(error: KeyValueError) -> Self {
        Self::Other(error.0)
    }
}

/// What a keeper of buckets answers in place of what it was asked for.
fn odd() -> Error {
    Error::Other("the key-value store gave another answer than was asked for".to_owned())
}

pub(crate) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    for version in ["0.2.0-draft", "0.2.0-draft2"] {
        let mut instance = linker.instance(&format!("wasi:keyvalue/store@{version}"))?;
        instance.resource("bucket", ResourceType::host::<Bucket>(), |mut caller: Caller<'_>, bucket| {
            caller.data_mut().table().delete(Resource::<Bucket>::new_own(bucket))?;
            Ok(())
        })?;
        store::add_to(&mut instance)?;
        batch::add_to(&mut linker.instance(&format!("wasi:keyvalue/batch@{version}"))?)?;
    }
    store::list_by_number(&mut linker.instance("wasi:keyvalue/store@0.2.0-draft")?)?;
    store::list_by_key(&mut linker.instance("wasi:keyvalue/store@0.2.0-draft2")?)?;
    atomics::add_draft(&mut linker.instance("wasi:keyvalue/atomics@0.2.0-draft")?)?;
    atomics::add_draft2(&mut linker.instance("wasi:keyvalue/atomics@0.2.0-draft2")?)
}

/// An operation on a guest's bucket, to be waited for without the store.
fn call(
    caller: &mut Caller<'_>,
    bucket: &Resource<Bucket>,
    operation: Operation,
) -> wasmtime::Result<Pending> {
    Ok(caller.data_mut().table().get(bucket)?.call(operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Buckets for Nowhere {
        fn call(&self, _bucket: &str, _operation: Operation) -> Pending {
            Box::pin(std::future::ready(Ok(Answer::Done)))
        }
    }

    #[test]
    fn what_guests_have_of_buckets_counts() {
        let page = Some((7, "k".repeat(100)));
        let bucket = Bucket { name: "b".repeat(1000), buckets: Arc::new(Nowhere), page };
        let cas = Cas::new(bucket.clone(), "k".repeat(10), Some(vec![0; 10_000]));
        assert_eq!(bytes_of(&bucket), Some(1100));
        assert_eq!(bytes_of(&cas), Some(11_110));
        assert_eq!(bytes_of(&"other"), None);
    }
}
