//! Nodes that run what their coordinator compiled, and nothing else.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    cluster::{BINARY, wait_until, wait_within},
    site::{Machine, Site},
};

/// A pod of a module, started anew whenever it ends.
fn pod(module: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {module}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - {{name: c, image: dunlin.local/{module}, args: [\"50\"]}}\n"
    )
}

/// A coordinator with a node that never compiles.
fn site_with_node(options: &'static [&'static str]) -> (Site, Machine) {
    let site = Site::start_with(options);
    let mut machine = site.machine("n1", "n1");
    machine.start_agent(&["--join", &site.token(&[]), "--compile", "never"]);
    site.wait_for_ready(&machine);
    (site, machine)
}

fn wait_for_running(site: &Site, pod: &str) {
    site.wait_for(&["get", "pod", pod, "--no-headers"], |row| {
        row.split_whitespace().nth(2) == Some("Running")
    });
}

fn wait_for_ticks(machine: &Machine, run: u32) {
    let count = || machine.printed("ticker", "c", run).len();
    let before = count();
    wait_until(&format!("more ticks of run {run}"), || {
        if count() > before + 2 { Ok(()) } else { Err(format!("{before}\n{}", machine.log())) }
    });
}

/// The kind of machine that a node says it is.
fn target(site: &Site, node: &str) -> String {
    site.ok(&["get", "node", node, "-o", "jsonpath={.metadata.labels['dunlin\\.dev/target']}"], "")
}

/// The file of a node's only module whose name ends so.
fn file(machine: &Machine, end: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(machine.state.join("modules")).ok()?.flatten();
    entries.find(|entry| entry.file_name().to_string_lossy().ends_with(end)).map(|entry| entry.path())
}

/// Puts other bytes in place of a file that nobody may write.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_node_that_never_compiles_runs_the_coordinator_s_code_also_offline() {
    let (mut site, mut machine) = site_with_node(&[]);
    let label = target(&site, "n1");
    assert!(label.ends_with("-linux"), "{label}");
    site.push("ticker");
    site.ok(&["apply", "-f", "-"], &pod("ticker"));
    wait_for_running(&site, "ticker");
    let code = file(&machine, &format!(".{label}.cwasm")).unwrap();
    for path in [&code, &file(&machine, ".signed").unwrap()] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o400);
    }
    assert_eq!(file(&machine, ".own"), None);
    assert!(site.log().contains("compiled a module"), "{}", site.log());

    // A reboot without the coordinator.
    site.kill_coordinator();
    machine.kill_agent();
    machine.kill_runner();
    machine.start_agent(&["--compile", "never"]);
    wait_for_ticks(&machine, 1);

    // And one with a disk that has rotted: nothing of it is run, and it comes anew once the coordinator is back.
    let good = fs::read(&code).unwrap();
    let mut rotten = good.clone();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 0x40;
    machine.kill_agent();
    machine.kill_runner();
    overwrite(&code, &rotten);
    machine.start_agent(&["--compile", "never"]);
    wait_until("the end of the rotten code", || {
        let log = fs::read_to_string(machine.state.join("runner.log")).unwrap();
        let is_refused = log.contains("its content is not what was signed") && !code.exists();
        if is_refused { Ok(()) } else { Err(log) }
    });
    site.start_coordinator();
    wait_until("the code anew", || {
        if fs::read(&code).is_ok_and(|found| found == good) { Ok(()) } else { Err(machine.log()) }
    });
    wait_for_running(&site, "ticker");
}

#[test]
fn code_of_another_cluster_is_refused() {
    let (ours, mut machine) = site_with_node(&[]);
    let (theirs, foreign) = site_with_node(&[]);
    for site in [&ours, &theirs] {
        site.push("ticker");
        site.ok(&["apply", "-f", "-"], &pod("ticker"));
    }
    wait_for_running(&ours, "ticker");
    wait_for_running(&theirs, "ticker");
    // The same code of the same module, with another cluster's word.
    machine.kill_agent();
    machine.kill_runner();
    let (word, their_word) = (file(&machine, ".signed").unwrap(), file(&foreign, ".signed").unwrap());
    let ours_once = fs::read(&word).unwrap();
    overwrite(&word, &fs::read(their_word).unwrap());
    machine.start_agent(&["--compile", "never"]);
    wait_until("the refusal", || {
        let log = fs::read_to_string(machine.state.join("runner.log")).unwrap();
        if log.contains("is not of this cluster's authority") { Ok(()) } else { Err(log) }
    });
    wait_until("our word again", || {
        if fs::read(&word).is_ok_and(|found| found == ours_once) { Ok(()) } else { Err(machine.log()) }
    });
    wait_for_running(&ours, "ticker");
}

#[test]
fn a_power_cut_in_the_middle_of_compiling_or_sending_costs_time_only() {
    let (mut site, mut machine) = site_with_node(&["--node-bandwidth", "300kB"]);
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.wasm");
    fs::write(&large, large_module(1500)).unwrap();
    site.ok(&["push", large.to_str().unwrap(), "large"], "");
    site.ok(&["apply", "-f", "-"], &pod("large"));
    let data = site.data();
    wait_until("a compilation", || if compiler_in(&data).is_some() { Ok(()) } else { Err(site.log()) });
    site.kill_coordinator();
    site.start_coordinator();

    let part = |machine: &Machine| {
        file(machine, ".cwasm.part").map(|part| fs::metadata(part).map_or(0, |part| part.len()))
    };
    let arrived = wait_until("a part of the code", || match part(&machine) {
        Some(bytes) if bytes > 50_000 => Ok(bytes),
        _ => Err(format!("{}\n{}", site.log(), machine.log())),
    });
    site.kill_coordinator();
    machine.kill_agent();
    assert!(part(&machine).is_some_and(|bytes| bytes >= arrived), "what had arrived is kept");
    site.start_coordinator();
    machine.start_agent(&["--compile", "never"]);
    site.wait_for(&["get", "pod", "large", "--no-headers"], |row| {
        row.contains("Running") || row.contains("Completed") || row.contains("CrashLoopBackOff")
    });
    let code = file(&machine, ".cwasm").unwrap();
    let kept = fs::read_dir(site.data().join("compiled")).unwrap().flatten().next().unwrap().path();
    let kept =
        fs::read_dir(kept).unwrap().flatten().find(|entry| entry.path().extension().unwrap() == "code");
    assert_eq!(fs::read(code).unwrap(), fs::read(kept.unwrap().path()).unwrap());
    assert_eq!(part(&machine), None);
}

#[test]
fn an_upgrade_of_the_coordinator_strands_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let program = earlier_release(folder.path());
    let mut site = Site::start_by(&program);
    let mut machine = site.machine("n1", "n1");
    machine.start_agent_by(Command::new(&program), &["--join", &site.token(&[]), "--compile", "never"]);
    site.wait_for_ready(&machine);
    let earlier = target(&site, "n1");
    site.push("ticker");
    site.ok(&["apply", "-f", "-"], &pod("ticker"));
    wait_for_running(&site, "ticker");
    // A minute after its start it keeps its compiler.
    let compilers = site.data().join("compilers");
    wait_within(Duration::from_secs(150), "a kept compiler", || {
        let kept = fs::read_dir(&compilers).unwrap().flatten();
        let mut lists =
            kept.map(|entry| fs::read_to_string(entry.path().join("targets")).unwrap_or_default());
        if lists.any(|list| list.contains(&earlier)) { Ok(()) } else { Err(site.log()) }
    });

    // The power is cut, another program is put in the place of the coordinator's, and the power is cut again in the middle of its work.
    site.kill_coordinator();
    site.set_program(BINARY.as_ref());
    site.start_coordinator();
    let large = folder.path().join("large.wasm");
    fs::write(&large, large_module(1500)).unwrap();
    site.ok(&["push", large.to_str().unwrap(), "large"], "");
    site.ok(&["apply", "-f", "-"], &pod("large"));
    let data = site.data();
    let compiler = wait_until("a compilation", || compiler_in(&data).ok_or_else(|| site.log()));
    assert!(compiler.starts_with(&compilers), "{}", compiler.display());
    site.kill_coordinator();
    site.start_coordinator();
    site.wait_for(&["get", "pod", "large", "--no-headers"], |row| {
        row.contains("Running") || row.contains("Completed") || row.contains("CrashLoopBackOff")
    });
    let kept = |target: &str| fs::read_dir(data.join("compiled").join(target)).unwrap().count();
    assert_eq!(kept(&earlier), 4, "two modules and their signatures");
    assert_eq!(modules_for(&machine, &earlier), 2);

    // Both releases refuse what the other's compiler made, so the node gets all anew as it follows.
    wait_for_ticks(&machine, 0);
    machine.stop_agent();
    machine.kill_runner();
    machine.start_agent(&["--compile", "never"]);
    let now = site.wait_for(
        &["get", "node", "n1", "-o", "jsonpath={.metadata.labels['dunlin\\.dev/target']}"],
        |now| now != earlier,
    );
    wait_for_ticks(&machine, 1);
    assert!(modules_for(&machine, &now) >= 1);
}

/// A copy of the program whose version of wasmtime is another: its code has other keys, and it refuses that of this one.
fn earlier_release(folder: &Path) -> PathBuf {
    let listed = Command::new(BINARY).args(["compile", "--targets"]).output().unwrap().stdout;
    let version = String::from_utf8(listed).unwrap().split('-').next().unwrap().to_owned();
    let (kept, last) = version.split_at(version.len() - 1);
    let other = format!("{kept}{}", if last == "0" { "1" } else { "0" });
    let program = folder.join("dunlin");
    // By another process: what this one has open for writing, whatever a test beside this one starts has, too, and it cannot be run.
    let patched = Command::new("sh")
        .args(["-c", "LC_ALL=C sed \"$1\" \"$2\" > \"$3\" && chmod 755 \"$3\"", "sh"])
        .arg(format!("s/{}/{other}/g", version.replace('.', "[.]")))
        .arg(BINARY)
        .arg(&program)
        .status();
    assert!(patched.unwrap().success());
    program
}

/// Artifacts of a kind that a node has.
fn modules_for(machine: &Machine, target: &str) -> usize {
    let end = format!(".{target}.cwasm");
    let entries = fs::read_dir(machine.state.join("modules")).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(&end)).count()
}

/// The program that compiles something in this folder.
fn compiler_in(data: &Path) -> Option<PathBuf> {
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.find_map(|entry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        let program = arguments.next()?;
        let folder = data.as_os_str().as_encoded_bytes();
        let compiles =
            arguments.next() == Some(b"compile") && arguments.any(|argument| argument.starts_with(folder));
        compiles.then(|| PathBuf::from(OsStr::from_bytes(program)))
    })
}

/// A command with so many functions that nobody calls, each of a few hundred instructions.
fn large_module(functions: u32) -> Vec<u8> {
    let mut body = vec![0];
    for n in 0..100_u8 {
        // local.get 0, i32.const n, i32.mul, local.get 0, i32.xor, local.set 0
        body.extend([0x20, 0, 0x41, n & 0x3f, 0x6c, 0x20, 0, 0x73, 0x21, 0]);
    }
    body.extend([0x20, 0, 0x0b]);
    let mut code = leb(functions + 1);
    code.extend([2, 0, 0x0b]);
    for _ in 0..functions {
        code.extend(leb(u32::try_from(body.len()).unwrap()));
        code.extend(&body);
    }
    let mut kinds = leb(functions + 1);
    kinds.push(0);
    kinds.resize(kinds.len() + usize::try_from(functions).unwrap(), 1);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let types = [2, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f];
    let exports = [&[1, 6][..], b"_start", &[0, 0]].concat();
    for (section, content) in [(1, &types[..]), (3, &kinds), (7, &exports), (10, &code)] {
        module.push(section);
        module.extend(leb(u32::try_from(content.len()).unwrap()));
        module.extend(content);
    }
    module
}

fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
