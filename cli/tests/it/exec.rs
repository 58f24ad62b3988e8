//! Commands in containers, and attaching to them: through the whole of a cluster, over QUIC.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cluster::{Answer, BINARY, Namespace, wait_until},
    pods::pod,
    site::Site,
};

/// A namespace with a running pod of the toolbox.
fn toolbox(spec: &str) -> Namespace {
    let namespace = Namespace::new();
    namespace.apply(&pod("box", "Never", &format!("image: dunlin.local/toolbox, {spec}")));
    namespace.wait_for_status("box", "Running");
    namespace
}

impl Namespace {
    /// A command against the cluster whose streams the test holds itself.
    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = Command::new(BINARY);
        command.args(["-n", &self.name]).args(args).env("DUNLIN_CONFIG", self.cluster.config());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until one more command may run.
    fn finds_a_place(&self) {
        wait_until("a place for a command", || {
            let answer = self.dunlin(&["exec", "box", "--", "toolbox", "echo"]);
            if answer.code == 0 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }
}

/// A command that runs until its input ends.
const LISTEN: [&str; 6] = ["exec", "-i", "box", "--", "toolbox", "listen"];

/// Whether such a command runs: says something to it and hears it repeated.
fn says(caller: &mut Child) -> bool {
    let mut heard = [0; 8];
    let said = caller.stdin.as_mut().unwrap().write_all(b"x\n");
    said.is_ok() && caller.stdout.as_mut().unwrap().read_exact(&mut heard).is_ok() && &heard == b"heard x\n"
}

fn signal(caller: &Child, signal: Signal) {
    kill_process(Pid::from_raw(caller.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Lets a command that listens end.
fn end(caller: &mut Child) {
    drop(caller.stdin.take());
    caller.wait().unwrap();
}

#[test]
fn a_command_has_streams_and_its_code_is_ours() {
    let namespace = toolbox("env: [{name: COLOUR, value: red}]");
    assert_eq!(namespace.ok(&["exec", "box", "--", "toolbox", "echo", "a", "b c"]), "a b c\n");
    assert_eq!(namespace.ok(&["exec", "pod/box", "-c", "c", "--", "toolbox", "env", "COLOUR"]), "red\n");
    let complained = namespace.dunlin(&["exec", "box", "--", "toolbox", "complain", "no"]);
    assert_eq!((complained.code, complained.stdout.as_str(), complained.stderr.as_str()), (0, "", "no\n"));
    let failed = namespace.dunlin(&["exec", "box", "--", "toolbox", "exit", "42"]);
    assert_eq!((failed.code, failed.stderr.as_str()), (42, "command terminated with exit code 42\n"));
    let usage = namespace.dunlin(&["exec", "box", "--", "toolbox", "sing"]);
    assert_eq!(usage.code, 64);
    assert!(usage.stderr.starts_with("usage: toolbox"), "{usage:?}");
    // Without -i a command's input is empty, with it what comes until it ends.
    assert_eq!(namespace.dunlin_with(&["exec", "box", "--", "toolbox", "cat"], "ignored").stdout, "");
    assert_eq!(
        namespace.dunlin_with(&["exec", "-i", "box", "--", "toolbox", "cat"], "heard").stdout,
        "heard"
    );
    let on_terminal = namespace.dunlin_with(&["exec", "-it", "box", "--", "toolbox", "terminal"], "");
    assert_eq!(on_terminal.stdout, "false\n");
    assert!(on_terminal.stderr.contains("Unable to use a TTY - input is not a terminal"), "{on_terminal:?}");
    // The container itself did not notice.
    namespace.wait_for_status("box", "Running");
    assert_eq!(namespace.ok(&["logs", "box"]), "");
}

#[test]
fn ten_mebibytes_come_back_as_they_went() {
    let namespace = toolbox("");
    let sent: Vec<u8> = (0..10_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut child = namespace.spawn(&["exec", "-i", "box", "--", "toolbox", "cat"]);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let received = thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&sent).unwrap();
            drop(stdin);
        });
        let mut received = Vec::new();
        stdout.read_to_end(&mut received).unwrap();
        received
    });
    assert!(child.wait().unwrap().success());
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let namespace = toolbox("");
    let check = |args: &[&str], part: &str| {
        let refused = namespace.dunlin(args);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(part), "{args:?}: {refused:?}");
    };
    check(&["exec", "nobody", "--", "x"], "Error from server (NotFound): pods \"nobody\" not found");
    check(&["exec", "box", "-c", "z", "--", "x"], "container z is not valid for pod box out of: c");
    check(&["exec", "box", "--", "#none"], "exports no function `none`");
    namespace.apply(&pod("over", "Never", "image: dunlin.local/hello"));
    namespace.wait_for_status("over", "Completed");
    check(
        &["exec", "over", "--", "x"],
        "cannot exec into a container in a completed pod; current phase is Succeeded",
    );
    check(&["attach", "over"], "cannot attach a container in a completed pod; current phase is Succeeded");
    namespace.apply(&pod("crasher", "Always", "image: dunlin.local/crasher"));
    namespace.wait_for_status("crasher", "CrashLoopBackOff");
    check(
        &["exec", "crasher", "--", "x"],
        "container not found (\"c\"): it is waiting to start: CrashLoopBackOff",
    );
    namespace.apply(&pod("web", "Always", "image: dunlin.local/http-hello, ports: [{containerPort: 8080}]"));
    namespace.wait_for_status("web", "Running");
    check(&["exec", "web", "--", "x"], "serves HTTP requests");
}

#[test]
fn a_caller_who_is_gone_frees_the_instance() {
    let namespace = toolbox("resources: {limits: {memory: 32Mi}}");
    // As many as may be: each would run for ever.
    let mut callers: Vec<Child> = (0..16).map(|_| namespace.spawn(&LISTEN)).collect();
    assert!(callers.iter_mut().all(says));
    let refused = namespace.dunlin(&["exec", "box", "--", "toolbox", "echo"]);
    assert!(refused.stderr.contains("the pod has 16 commands and attachments already"), "{refused:?}");
    // One that is interrupted says goodbye.
    let mut first = callers.remove(0);
    signal(&first, Signal::INT);
    assert_eq!(first.wait().unwrap().code(), Some(130));
    namespace.finds_a_place();
    // Those that are killed where they stand fall silent.
    for caller in &mut callers {
        signal(caller, Signal::KILL);
        caller.wait().unwrap();
    }
    let mut many = wait_until("places for as many as before", || {
        let mut many: Vec<Child> = (0..16).map(|_| namespace.spawn(&LISTEN)).collect();
        let run = many.iter_mut().filter_map(|caller| says(caller).then_some(())).count();
        if run == 16 {
            return Ok(many);
        }
        many.iter_mut().for_each(end);
        Err(format!("{run} of 16 run"))
    });
    many.iter_mut().for_each(end);
    // One that ends with its pod is told so.
    let mut last = wait_until("one more command", || {
        let mut last = namespace.spawn(&LISTEN);
        if says(&mut last) { Ok(last) } else { Err("it is refused".to_owned()) }
    });
    namespace.ok(&["delete", "pod", "box"]);
    assert_eq!(last.wait().unwrap().code(), Some(137));
}

#[test]
fn attaching_hears_and_feeds_the_container() {
    let namespace = toolbox("args: [listen], stdin: true, stdinOnce: true");
    let mut first = namespace.spawn(&["attach", "-q", "-i", "box"]);
    first.stdin.as_mut().unwrap().write_all(b"one\ntwo\n").unwrap();
    let mut heard = [0; 20];
    first.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"heard one\nheard two\n");
    let mut second = namespace.spawn(&["attach", "box"]);
    let hears = Arc::new(AtomicBool::new(false));
    let heard_first = Arc::clone(&hears);
    let mut second_stdout = second.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut heard = vec![0];
        second_stdout.read_exact(&mut heard).unwrap();
        heard_first.store(true, Ordering::Relaxed);
        second_stdout.read_to_end(&mut heard).unwrap();
        heard
    });
    // The second is attached once it hears what the first one says.
    wait_until("an attached reader", || {
        first.stdin.as_mut().unwrap().write_all(b"again\n").unwrap();
        if hears.load(Ordering::Relaxed) { Ok(()) } else { Err("it hears nothing".to_owned()) }
    });
    // The end of the only input ends this container, and so both attachments.
    drop(first.stdin.take());
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success() && second.wait().unwrap().success(), "{first:?}");
    for heard in [first.stdout, reader.join().unwrap()] {
        assert!(String::from_utf8(heard).unwrap().ends_with("heard again\nheard the end\n"));
    }
    namespace.wait_for_status("box", "Completed");
    let refused = namespace.dunlin(&["attach", "-i", "box"]);
    assert!(refused.stderr.contains("current phase is Succeeded"), "{refused:?}");
}

/// A command in the pod of a site.
fn exec(site: &Site, words: &[&str]) -> Answer {
    site.dunlin(&[&["exec", "box", "--", "toolbox"], words].concat(), "")
}

#[test]
fn commands_outlive_neither_node_nor_coordinator_and_come_back_with_them() {
    let mut site = Site::start();
    site.push("toolbox");
    let token = site.token(&[]);
    let mut machine = site.join("far", &token);
    site.ok(&["apply", "-f", "-"], &pod("box", "Always", "image: dunlin.local/toolbox"));
    site.wait_for(&["get", "pod", "box", "--no-headers"], |row| row.contains("Running"));
    assert_eq!(exec(&site, &["echo", "here"]).stdout, "here\n");

    // A coordinator that dies takes the conversation along, and nothing else.
    let mut talking = Command::new(BINARY)
        .args(["exec", "-i", "box", "--", "toolbox", "listen"])
        .env("DUNLIN_CONFIG", site.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    talking.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
    talking.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
    site.kill_coordinator();
    site.start_coordinator();
    let broken = talking.wait_with_output().unwrap();
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    wait_until("a command after the restart", || {
        let answer = exec(&site, &["echo", "again"]);
        if answer.stdout == "again\n" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
    assert_eq!(site.ok(&["get", "pod", "box", "-o", restarts], ""), "0");

    // A node that is gone is no reason to wait for long.
    machine.kill_agent();
    let begun = Instant::now();
    wait_until("a refusal", || {
        let answer = exec(&site, &["echo", "there"]);
        let is_gone = answer.code == 1 && answer.stderr.contains("is not connected");
        if is_gone { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    machine.start_agent(&[]);
    wait_until("a command on the node that is back", || {
        let answer = exec(&site, &["echo", "back"]);
        if answer.stdout == "back\n" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

#[test]
fn commands_pass_through_the_tunnel() {
    let site = Site::start();
    site.push("toolbox");
    let mut machine = site.machine("far", "far");
    machine.start_agent(&["--join", &site.token(&[]), "--transport", "tcp"]);
    site.wait_for_ready(&machine);
    site.ok(&["apply", "-f", "-"], &pod("box", "Always", "image: dunlin.local/toolbox"));
    site.wait_for(&["get", "pod", "box", "--no-headers"], |row| row.contains("Running"));
    let answer = site.dunlin(&["exec", "-i", "box", "--", "toolbox", "cat"], &"line\n".repeat(100_000));
    assert_eq!((answer.code, answer.stdout.len()), (0, 500_000), "{}", answer.stderr);
}
