//! What the engine itself costs, without our host around it, as one JSON document: making and dropping an instance of a handler on demand and in
//! slots, memory of instances that live, and being interruptible by epochs.
//!
//! `cargo run --release -p dunlin-wasm-host --example engine -- target/workloads/http-hello.wasm`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView, p2::bindings::ProxyPre};

fn main() {
    let wasm = fs::read(env::args().nth(1).expect("a handler's module")).expect("the module");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let mut figures = Vec::new();
    let demand = Subject::new(&config(), &wasm);
    let bare = Subject::new(config().allocation_strategy(pool(0)), &wasm);
    let kept = Subject::new(config().allocation_strategy(pool(64 << 10)), &wasm);
    for (name, subject) in [("on demand", &demand), ("slots", &bare), ("slots that keep 64 KiB", &kept)] {
        // The first round warms caches and slots.
        subject.make_and_drop(&runtime, ROUNDS);
        let mut rounds: Vec<f64> = (0..5).map(|_| subject.make_and_drop(&runtime, ROUNDS)).collect();
        figures.push((format!("instance made and dropped, {name}"), median(&mut rounds), "us"));
    }
    figures.push(("memory of an instance that lives".to_owned(), demand.kibibytes_alive(&runtime), "KiB"));
    let (with, without) = epochs();
    figures.push(("computing, interruptible".to_owned(), with, "ms"));
    figures.push(("computing, not interruptible".to_owned(), without, "ms"));
    figures.push(("interruptible over not".to_owned(), with / without, ""));
    let lines: Vec<String> = figures
        .iter()
        .map(|(name, value, unit)| {
            format!("    {{\"name\": \"{name}\", \"value\": {value:.2}, \"unit\": \"{unit}\"}}")
        })
        .collect();
    println!("{{\n  \"bench\": \"engine\",\n  \"figures\": [\n{}\n  ]\n}}", lines.join(",\n"));
}

/// As `src/engine.rs` has it.
fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).generate_address_map(false).native_unwind_info(false);
    config.max_wasm_stack(512 << 10).async_stack_size(1 << 20).memory_init_cow(true);
    config
}

/// As `src/pooling.rs` has it.
fn pool(kept: usize) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(256).total_core_instances(2048).total_memories(512);
    pool.total_tables(1024).total_stacks(512).max_unused_warm_slots(16);
    pool.max_core_instances_per_component(8).max_memories_per_component(2).max_tables_per_component(4);
    pool.linear_memory_keep_resident(kept).table_keep_resident(kept).async_stack_keep_resident(kept / 4);
    InstanceAllocationStrategy::Pooling(pool)
}

/// A handler on one engine.
struct Subject {
    engine: Engine,
    handler: ProxyPre<State>,
}

impl Subject {
    fn new(config: &Config, wasm: &[u8]) -> Self {
        let engine = Engine::new(config).expect("an engine");
        let component = Component::new(&engine, wasm).expect("a component");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("no name twice");
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("no name twice");
        let handler = ProxyPre::new(linker.instantiate_pre(&component).expect("linked")).expect("a handler");
        Self { engine, handler }
    }

    /// Microseconds of processor time for each of so many.
    fn make_and_drop(&self, runtime: &Runtime, count: u32) -> f64 {
        let before = processor_time();
        for _ in 0..count {
            drop(runtime.block_on(self.make()));
        }
        (processor_time() - before).as_secs_f64() * 1e6 / f64::from(count)
    }

    fn kibibytes_alive(&self, runtime: &Runtime) -> f64 {
        let before = memory_kib();
        let alive: Vec<_> = (0..ALIVE).map(|_| runtime.block_on(self.make())).collect();
        let kibibytes = (memory_kib() - before) / f64::from(ALIVE);
        drop(alive);
        kibibytes
    }

    async fn make(&self) -> Store<State> {
        let wasi = WasiCtxBuilder::new().build();
        let state = State { wasi, table: ResourceTable::new(), http: WasiHttpCtx::new(), hooks: Hooks };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(1000);
        self.handler.instantiate_async(&mut store).await.expect("an instance");
        store
    }
}

/// Milliseconds of processor time of one computation that can be interrupted, and that cannot.
fn epochs() -> (f64, f64) {
    let wasm = wat::parse_str(COMPUTE).expect("valid text");
    let engines = [true, false].map(|interruptible| {
        let mut config = config();
        config.epoch_interruption(interruptible);
        let engine = Engine::new(&config).expect("an engine");
        let module = Module::new(&engine, &wasm).expect("a module");
        (engine, module)
    });
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..7 {
        for (times, (engine, module)) in times.iter_mut().zip(&engines) {
            let mut store = Store::new(engine, ());
            store.set_epoch_deadline(1000);
            let instance = wasmtime::Instance::new(&mut store, module, &[]).expect("an instance");
            let run = instance.get_typed_func::<(), i64>(&mut store, "run").expect("its function");
            let before = processor_time();
            run.call(&mut store, ()).expect("it ends");
            times.push((processor_time() - before).as_secs_f64() * 1e3);
        }
    }
    let [mut with, mut without] = times;
    (median(&mut with), median(&mut without))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Of all threads.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).expect("less than a second");
    Duration::new(u64::try_from(time.tv_sec).expect("positive"), nanos)
}

/// Memory and page tables of this process.
fn memory_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number")
    };
    field("VmRSS:") + field("VmPTE:")
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks;

impl WasiHttpHooks for Hooks {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Sieves primes in its memory, again and again: short loops with loads and stores, where a check at each turn costs most.
const COMPUTE: &str = r#"(module
    (memory 2)
    (func (export "run") (result i64)
        (local $round i32) (local $i i32) (local $j i32) (local $found i64)
        (loop $rounds
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 100000))
            (local.set $i (i32.const 2))
            (loop $numbers
                (if (i32.load8_u (local.get $i)) (then
                    (local.set $found (i64.add (local.get $found) (i64.const 1)))
                    (local.set $j (i32.shl (local.get $i) (i32.const 1)))
                    (block $done (loop $multiples
                        (br_if $done (i32.ge_u (local.get $j) (i32.const 100000)))
                        (i32.store8 (local.get $j) (i32.const 0))
                        (local.set $j (i32.add (local.get $j) (local.get $i)))
                        (br $multiples)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $numbers (i32.lt_u (local.get $i) (i32.const 100000))))
            (local.set $round (i32.add (local.get $round) (i32.const 1)))
            (br_if $rounds (i32.lt_u (local.get $round) (i32.const 300))))
        (local.get $found)))"#;

/// Instances in a round.
const ROUNDS: u32 = 1000;

/// Instances that live at once.
const ALIVE: u32 = 500;
