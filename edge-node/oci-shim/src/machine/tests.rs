//! The life of containers as a shim's machine sees it, a story a line.

use dunlin_edge_node_core::sandbox::linux::{LinuxResources, LinuxUser, Security, Stdio};

use super::*;

fn now(at: i64) -> Now {
    Now { wall: UnixMillis(1_000 + at), mono: Mono(at) }
}

fn spec(id: &str) -> Box<LinuxSpec> {
    Box::new(LinuxSpec {
        id: ContainerId::new(id),
        owner: Owner {
            pod_uid: "u".into(),
            namespace: "n".into(),
            pod: "p".into(),
            container: "c".into(),
            attempt: 0,
        },
        layers: Vec::new(),
        args: vec!["a".into()],
        env: Vec::new(),
        working_dir: String::new(),
        user: LinuxUser::default(),
        stdio: Stdio::Log,
        log: String::new(),
        resources: LinuxResources::default(),
        security: Security::default(),
        mounts: Vec::new(),
        volumes: Vec::new(),
        devices: Vec::new(),
        hosts: String::new(),
        resolv_conf: String::new(),
        termination_message: None,
        processes_of: None,
        stop_signal: libc::SIGTERM,
    })
}

/// Something that happens to the one container, at a time.
#[derive(Clone, Copy)]
enum Step {
    Start,
    Stop(u64),
    NotCreated,
    Started,
    NotStarted,
    Ended(How),
    OutOfMemory(How),
    Cleaned,
    Time,
    Remove,
    Shutdown,
}

/// Plays steps, each 10 ms after the one before, and writes what is done and told.
fn play(steps: &[Step]) -> String {
    let (mut machine, id) = (Machine::default(), ContainerId::new("i"));
    let mut written = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let now = now(10 * i64::try_from(number).unwrap());
        match *step {
            Step::Start => machine.handle_start(spec("i")),
            Step::Stop(grace_ms) => machine.handle_stop(&id, grace_ms, now),
            Step::NotCreated => machine.handle_not_created(&id, "no user".into(), now),
            Step::Started => machine.handle_started(&id, Ok(()), now),
            Step::NotStarted => machine.handle_started(&id, Err("no program".into()), now),
            Step::Ended(how) => machine.handle_ended(&id, Ended { how, out_of_memory: false }, now),
            Step::OutOfMemory(how) => machine.handle_ended(&id, Ended { how, out_of_memory: true }, now),
            Step::Cleaned => machine.handle_cleaned(&id, "bye".into()),
            Step::Time => machine.handle_timeout(now),
            Step::Remove => machine.handle_remove(&id),
            Step::Shutdown => machine.handle_shutdown(now),
        }
        while let Some(action) = machine.poll_action() {
            written.push(match action {
                Action::Run(_) => "run".to_owned(),
                Action::Signal { signal, .. } => format!("signal {signal}"),
                Action::Clean(_) => "clean".to_owned(),
            });
        }
        while let Some((_, _, state)) = machine.poll_changed() {
            written.push(match state {
                State::Starting => "Starting".to_owned(),
                State::Running { .. } => "Running".to_owned(),
                State::Exited(exit) => format!("{:?} \"{}\"", exit.cause, exit.message),
            });
        }
    }
    if machine.is_finished() {
        written.push("finished".to_owned());
    }
    written.join(", ")
}

#[test]
fn a_container_goes_one_way() {
    use Step::{Cleaned, Ended, NotCreated, NotStarted, OutOfMemory, Remove, Start, Started};
    let check = |steps: &[Step], expected: &str| assert_eq!(play(steps), expected);
    let run = [Start, Started];
    let begun = "run, Starting, Running";
    let ends = |end: Step| [&run[..], &[end, Cleaned]].concat();
    check(&ends(Ended(How::Code(0))), &format!("{begun}, clean, Code(0) \"bye\""));
    check(&ends(Ended(How::Code(7))), &format!("{begun}, clean, Code(7) \"bye\""));
    check(&ends(Ended(How::Signal(11))), &format!("{begun}, clean, Code(139) \"bye\""));
    check(&ends(Ended(How::Signal(9))), &format!("{begun}, clean, Code(137) \"bye\""));
    check(&ends(OutOfMemory(How::Signal(9))), &format!("{begun}, clean, OutOfMemory \"bye\""));
    check(&ends(OutOfMemory(How::Code(137))), &format!("{begun}, clean, OutOfMemory \"bye\""));
    // A child was killed, and the container did something about it.
    check(&ends(OutOfMemory(How::Code(1))), &format!("{begun}, clean, Code(1) \"bye\""));
    check(&[Start, NotCreated, Cleaned], "run, Starting, clean, NotCreated \"no user\"");
    check(&[Start, NotStarted, Cleaned], "run, Starting, clean, HostError \"no program\"");
    // One that is there is not made again; one that runs is not forgotten, one that exited is.
    check(&[Start, Start], "run, Starting, Starting");
    check(&[Start, Started, Remove, Start], &format!("{begun}, Running"));
    check(
        &[Start, NotCreated, Cleaned, Remove, Start],
        "run, Starting, clean, NotCreated \"no user\", run, Starting",
    );
}

#[test]
fn it_is_asked_before_it_is_killed() {
    use Step::{Cleaned, Ended, Shutdown, Start, Started, Stop, Time};
    let check = |steps: &[Step], expected: &str| assert_eq!(play(steps), expected);
    let run = |more: &[Step]| [&[Start, Started], more].concat();
    let begun = "run, Starting, Running";
    let (term, kill) = (Ended(How::Signal(15)), Ended(How::Signal(9)));
    check(&run(&[Stop(100), term, Cleaned]), &format!("{begun}, signal 15, clean, Stopped \"bye\""));
    let own_code = [Stop(100), Ended(How::Code(0)), Cleaned];
    check(&run(&own_code), &format!("{begun}, signal 15, clean, Code(0) \"bye\""));
    let too_slow = [Stop(15), Time, Time, Time, kill, Cleaned];
    check(&run(&too_slow), &format!("{begun}, signal 15, signal 9, clean, Killed \"bye\""));
    // A second one only shortens.
    check(&run(&[Stop(15), Stop(900), Time]), &format!("{begun}, signal 15, signal 9"));
    check(&run(&[Stop(900), Stop(0)]), &format!("{begun}, signal 15, signal 9"));
    check(&run(&[Stop(0), kill, Cleaned]), &format!("{begun}, signal 15, signal 9, clean, Killed \"bye\""));
    // Before it runs there is nobody to ask.
    check(&[Start, Stop(900), Started], "run, Starting, signal 15, Running");
    check(&[Start, Stop(5), Started], "run, Starting, signal 15, signal 9, Running");
    check(
        &run(&[Shutdown, kill, Cleaned, Start]),
        &format!("{begun}, signal 15, signal 9, clean, Killed \"bye\", Killed \"bye\", finished"),
    );
    check(&[Shutdown, Start], "finished");
}

#[test]
fn it_wakes_for_whoever_has_the_least_time_left() {
    let mut machine = Machine::default();
    for (id, grace_ms) in [("a", 500), ("b", 200)] {
        let id = ContainerId::new(id);
        machine.handle_start(spec(id.as_str()));
        machine.handle_started(&id, Ok(()), now(0));
        machine.handle_stop(&id, grace_ms, now(0));
    }
    assert_eq!(machine.poll_timeout(), Some(Mono(200)));
    machine.handle_timeout(now(200));
    assert_eq!(machine.poll_timeout(), Some(Mono(500)));
    machine.handle_timeout(now(500));
    assert_eq!(machine.poll_timeout(), None, "nobody is killed twice");
}
