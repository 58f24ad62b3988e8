//! What a store holds for its guest, and how a store is made: every limit that wasmtime and WASI offer is set here.

use std::sync::Arc;

use wasmtime::{Engine, Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p1::WasiP1Ctx};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    config::Settings,
    guest::{Access, Guest, Terminal},
    holdings::{Holdings, Looks},
    input::GuestInput,
    keyvalue::Buckets,
    memory::{Exceeded, MemoryAccount, StoreLimiter},
    network::{EgressHooks, Network},
    schedule::Turn,
    stdio::{GuestOutput, Stream},
};

/// State of a component's store.
pub(crate) struct ComponentState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: EgressHooks,
    settings: Settings,
    buckets: Option<Arc<dyn Buckets>>,
    table: ResourceTable,
    limiter: StoreLimiter,
}

impl ComponentState {
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    pub(crate) fn buckets(&self) -> Option<Arc<dyn Buckets>> {
        self.buckets.clone()
    }

    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.hooks.0
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// State of a core module's store.
pub(crate) struct ModuleState {
    wasi: WasiP1Ctx,
    limiter: StoreLimiter,
}

impl ModuleState {
    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }
}

/// What the stores of one container have in common.
pub(crate) struct StoreParts<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) guest: &'a Guest,
    pub(crate) terminal: Terminal,
    pub(crate) network: &'a Arc<Network>,
    pub(crate) settings: &'a Settings,
    pub(crate) memory: &'a Arc<MemoryAccount>,
}

impl StoreParts<'_> {
    /// A store for a component. `input` is its standard input, if it has one.
    pub(crate) fn component_store(
        &self,
        turn: &Arc<Turn>,
        input: Option<&GuestInput>,
    ) -> wasmtime::Result<Store<ComponentState>> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HTTP_FIELDS_BYTES_MAX);
        let limiter = StoreLimiter::new(Arc::clone(self.memory))?;
        let wasi = self.wasi(input)?.build();
        let (hooks, settings) = (EgressHooks(Arc::clone(self.network)), Arc::clone(self.settings));
        let buckets = self.guest.buckets.clone();
        let state = ComponentState { wasi, http, hooks, settings, buckets, table, limiter };
        let mut store = Store::new(self.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_max_component_handles(RESOURCES_MAX);
        ask_at_each_tick(&mut store, turn);
        Ok(store)
    }

    /// A store for a core module of preview 1.
    pub(crate) fn module_store(
        &self,
        turn: &Arc<Turn>,
        input: &GuestInput,
    ) -> wasmtime::Result<Store<ModuleState>> {
        let limiter = StoreLimiter::new(Arc::clone(self.memory))?;
        let mut wasi = self.wasi(Some(input))?.build_p1();
        wasi.ctx().table.set_max_capacity(RESOURCES_MAX);
        let mut store = Store::new(self.engine, ModuleState { wasi, limiter });
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        ask_at_each_tick(&mut store, turn);
        Ok(store)
    }

    /// What a guest is given of the world.
    ///
    /// # Errors
    /// When a folder that it is to see cannot be opened.
    fn wasi(&self, input: Option<&GuestInput>) -> wasmtime::Result<WasiCtxBuilder> {
        let terminal = self.terminal;
        let output = |stream| GuestOutput { output: Arc::clone(&self.guest.output), stream, terminal };
        let (network, socket_user) = (Arc::clone(self.network), input.cloned());
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&self.guest.args)
            .envs(&self.guest.env)
            .stdout(output(Stream::Stdout))
            .stderr(output(Stream::Stderr))
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(true)
            .allow_udp(true)
            .allow_ip_name_lookup(true)
            .socket_addr_check(move |address, usage| {
                let allowed = network.may_use(address, usage);
                if let (true, Some(user)) = (allowed, &socket_user) {
                    user.note_socket();
                }
                Box::pin(std::future::ready(allowed))
            });
        if let Some(input) = input {
            wasi.stdin(input.clone());
        }
        if let Some(folder) = &self.guest.working_dir {
            wasi.initial_cwd(folder);
        }
        for preopen in &self.guest.preopens {
            let perms = match preopen.access {
                Access::ReadWrite => FsPerms::ReadWrite,
                Access::ReadOnly => FsPerms::ReadOnly,
            };
            wasi.preopened_dir(&preopen.dir, &preopen.path, perms)?;
        }
        Ok(wasi)
    }
}

/// A store's state, of which can be told what the host holds in it.
trait Holds {
    /// Charges it to the container.
    fn charge_holdings(&mut self) -> Result<(), Exceeded>;
}

impl Holds for ComponentState {
    fn charge_holdings(&mut self) -> Result<(), Exceeded> {
        self.limiter.hold(Holdings::of(&mut self.table))
    }
}

impl Holds for ModuleState {
    fn charge_holdings(&mut self) -> Result<(), Exceeded> {
        self.limiter.hold(Holdings::of(self.wasi.ctx().table))
    }
}

fn ask_at_each_tick<T: Holds>(store: &mut Store<T>, turn: &Arc<Turn>) {
    let (turn, mut looks) = (Arc::clone(turn), Looks::default());
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut store| {
        let next = turn.at_tick();
        if !matches!(next, UpdateDeadline::Interrupt) {
            looks.look(|| store.data_mut().charge_holdings()).transpose()?;
        }
        Ok(next)
    });
}

/// Handles a guest may hold at once: streams, requests, sockets, pollables.
pub(crate) const RESOURCES_MAX: usize = 10_000;

/// What one call may make the host allocate for its arguments.
const HOSTCALL_BYTES_MAX: usize = 8 << 20;

/// What one call may ask of the host's random source.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Headers of one HTTP message in memory, somewhat more than on the wire.
const HTTP_FIELDS_BYTES_MAX: usize = 128 << 10;
