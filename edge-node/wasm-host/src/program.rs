//! A loaded program: mapped, recognised by what it exports, and linked, so that an instance is made without looking anything up.

use std::{fmt, path::Path, sync::Arc};

use wasmtime::{
    Engine, InstancePre, Linker, Precompiled,
    component::{self, Component},
};
use wasmtime_wasi::{I32Exit, p2::bindings::CommandPre, p3};
use wasmtime_wasi_http::{handler::ProxyPre, p2::bindings as http_p2, p3::bindings as http_p3};

use crate::{
    config, keyvalue, network,
    pooling::PooledHandler,
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
    /// It imports what is not offered; the text names it.
    #[error("the module needs what this node does not offer: {0}")]
    Unlinkable(String),
}

/// A program ready to be run any number of times.
pub struct Program {
    pub(crate) kind: Kind,
}

/// Programs by what an instance is made of.
pub(crate) enum Kind {
    /// A core module of preview 1.
    Module(InstancePre<ModuleState>),
    /// A component.
    Component(Box<Exported>),
}

/// A component, with those of its exports that can be called as a program.
pub(crate) struct Exported {
    pub(crate) instance: component::InstancePre<ComponentState>,
    /// By `wasi:cli/run`.
    pub(crate) command: Option<Command>,
    /// By a `wasi:http` handler.
    pub(crate) handler: Option<Handler>,
    /// The same, where its instances may take slots.
    pub(crate) pooled: Option<PooledHandler>,
}

/// A component's command, by the version of its interface.
#[derive(Clone)]
pub(crate) enum Command {
    P2(CommandPre<ComponentState>),
    P3(p3::bindings::CommandPre<ComponentState>),
}

/// A component's HTTP handler, of either version of its interface.
pub(crate) type Handler = Arc<ProxyPre<ComponentState>>;

impl Program {
    /// What it exports, in words for a person.
    pub(crate) fn exports(&self) -> String {
        match &self.kind {
            Kind::Module(linked) => {
                let names: Vec<_> =
                    linked.module().exports().map(|export| export.name().to_owned()).collect();
                list(&names)
            }
            Kind::Component(exported) => {
                let component = exported.instance.component();
                list(&export_names(component.engine(), component))
            }
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Module(_) => f.write_str("Program::Module"),
            Kind::Component(exported) => f
                .debug_struct("Program::Component")
                .field("command", &exported.command.is_some())
                .field("handler", &exported.handler.is_some())
                .finish(),
        }
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
        add_exit(&mut module)?;
        let mut component = component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        p3::add_to_linker(&mut component)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut component)?;
        config::add_to_linker(&mut component)?;
        keyvalue::add_to_linker(&mut component)?;
        network::add_to_linker(&mut component)?;
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
        let linked = self.module.instantiate_pre(&module);
        linked.map(Kind::Module).map_err(|error| LoadError::Unlinkable(format!("{error:#}")))
    }

    fn component(&self, engine: &Engine, artifact: &Path) -> Result<Kind, LoadError> {
        let component = sys::map_component(engine, artifact)
            .map_err(|error| LoadError::Artifact(format!("{error:#}")))?;
        let linked = self.component.instantiate_pre(&component);
        let instance = linked.map_err(|error| LoadError::Unlinkable(format!("{error:#}")))?;
        // Each looks for its export and its type. What only resembles one, a draft for instance, is no entry, and whoever asks for
        // one is told what there is.
        let command = p3::bindings::CommandPre::new(instance.clone()).map(Command::P3);
        let command = command.or_else(|_| CommandPre::new(instance.clone()).map(Command::P2));
        let handler = http_p3::ServicePre::new(instance.clone()).map(ProxyPre::P3);
        let handler = handler.or_else(|_| http_p2::ProxyPre::new(instance.clone()).map(ProxyPre::P2));
        let handler = handler.ok().map(Arc::new);
        Ok(Kind::Component(Box::new(Exported { instance, command: command.ok(), handler, pooled: None })))
    }
}

/// Ends a guest with the code that it says, of which the low byte counts, as of a process. wasmtime's own refuses codes from 126 up.
fn add_exit(linker: &mut Linker<ModuleState>) -> wasmtime::Result<()> {
    let exit = |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code & 0xff).into()) };
    linker.allow_shadowing(true);
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn export_names(engine: &Engine, component: &Component) -> Vec<String> {
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

/// Exported names in a message.
const NAMES_SHOWN_MAX: usize = 8;
