//! A loaded program: mapped, recognised by what it exports, and linked, so that an instance is made without looking anything up.

use std::{fmt, path::Path};

use wasmtime::{
    Engine, InstancePre, Linker, Precompiled,
    component::{self, Component},
};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::{
    state::{ComponentState, ModuleState},
    sys,
};

/// Why an artifact is no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is damaged or was made by another version: compiling again helps.
    #[error("the compiled module does not load: {0}")]
    Artifact(String),
    /// It exports nothing that can be run; the text names what it does export.
    #[error("the module exports nothing runnable: {0}")]
    NotRunnable(String),
    /// It imports what is not offered; the text names it.
    #[error("the module needs what this node does not offer: {0}")]
    Unlinkable(String),
}

/// A program ready to be run any number of times.
pub struct Program {
    pub(crate) kind: Kind,
}

/// Programs by what is called to run them.
pub(crate) enum Kind {
    /// A core module of preview 1, by `_start`.
    Module(InstancePre<ModuleState>),
    /// A component, by `wasi:cli/run`.
    Command(CommandPre<ComponentState>),
    /// A component, by `wasi:http/incoming-handler`, once per request.
    HttpHandler(ProxyPre<ComponentState>),
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Module(_) => "Program::Module",
            Kind::Command(_) => "Program::Command",
            Kind::HttpHandler(_) => "Program::HttpHandler",
        })
    }
}

/// The host functions that programs may import, per kind of store.
pub(crate) struct Linkers {
    module: Linker<ModuleState>,
    component: component::Linker<ComponentState>,
}

impl Linkers {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut module = Linker::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut module, ModuleState::wasi)?;
        let mut component = component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        Ok(Self { module, component })
    }

    /// Maps an artifact and links it.
    pub(crate) fn load(&self, engine: &Engine, artifact: &Path) -> Result<Program, LoadError> {
        let unreadable = |error: wasmtime::Error| LoadError::Artifact(format!("{error:#}"));
        let kind = match Engine::detect_precompiled_file(artifact).map_err(unreadable)? {
            Some(Precompiled::Module) => self.module(engine, artifact)?,
            Some(Precompiled::Component) => self.component(engine, artifact)?,
            None => return Err(LoadError::Artifact("not a compiled module".to_owned())),
        };
        Ok(Program { kind })
    }

    fn module(&self, engine: &Engine, artifact: &Path) -> Result<Kind, LoadError> {
        let module =
            sys::map_module(engine, artifact).map_err(|error| LoadError::Artifact(format!("{error:#}")))?;
        if module.get_export(START).is_none_or(|export| export.func().is_none()) {
            let names: Vec<_> = module.exports().map(|export| export.name().to_owned()).collect();
            return Err(LoadError::NotRunnable(format!(
                "a core module needs a function `{START}`, and this one exports {}",
                list(&names)
            )));
        }
        let linked = self.module.instantiate_pre(&module);
        linked.map(Kind::Module).map_err(|error| LoadError::Unlinkable(format!("{error:#}")))
    }

    fn component(&self, engine: &Engine, artifact: &Path) -> Result<Kind, LoadError> {
        let component = sys::map_component(engine, artifact)
            .map_err(|error| LoadError::Artifact(format!("{error:#}")))?;
        let names = exports(engine, &component);
        let has = |interface: &str| names.iter().any(|name| name.starts_with(interface));
        let unlinkable = |error: wasmtime::Error| LoadError::Unlinkable(format!("{error:#}"));
        let linked = || self.component.instantiate_pre(&component).map_err(unlinkable);
        if has(RUN) {
            return CommandPre::new(linked()?).map(Kind::Command).map_err(unlinkable);
        }
        if has(INCOMING_HANDLER) {
            return ProxyPre::new(linked()?).map(Kind::HttpHandler).map_err(unlinkable);
        }
        Err(LoadError::NotRunnable(format!(
            "a component needs `{RUN}` or `{INCOMING_HANDLER}`, and this one exports {}",
            list(&names)
        )))
    }
}

fn exports(engine: &Engine, component: &Component) -> Vec<String> {
    component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// Names for a message, not more than a person reads.
fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// What a preview 1 command exports.
const START: &str = "_start";

/// Version 0.2 of the interface of commands, any patch.
const RUN: &str = "wasi:cli/run@0.2";

/// Version 0.2 of the interface of HTTP handlers, any patch.
const INCOMING_HANDLER: &str = "wasi:http/incoming-handler@0.2";

/// Exported names in a message.
const NAMES_SHOWN_MAX: usize = 8;
