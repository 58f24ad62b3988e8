//! `wasi:config/store`: what a container's environment says, for guests that read settings by this interface.
//!
//! The interface is a draft that was published under several names, all of one shape.

use std::sync::Arc;

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower},
};

use crate::state::ComponentState;

/// A container's settings.
pub(crate) type Settings = Arc<[(String, String)]>;

/// Nothing here fails, but the interface has errors.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Caller<'a> = StoreContextMut<'a, ComponentState>;

pub(crate) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    for name in NAMES {
        let mut store = linker.instance(name)?;
        store.func_wrap("get", |caller: Caller<'_>, (key,): (String,)| {
            let settings = caller.data().settings();
            let found = settings.iter().rev().find(|(known, _)| *known == key);
            Ok((Ok::<_, Error>(found.map(|(_, value)| value.clone())),))
        })?;
        store.func_wrap("get-all", |caller: Caller<'_>, (): ()| {
            Ok((Ok::<_, Error>(caller.data().settings().to_vec()),))
        })?;
    }
    Ok(())
}

/// All that it was called.
const NAMES: [&str; 3] =
    ["wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-draft", "wasi:config/runtime@0.2.0-draft"];
