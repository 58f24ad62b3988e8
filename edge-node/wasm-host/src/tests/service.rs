//! Components of WASI 0.3: handlers whose instances are used again, commands, and both at once.

use std::num::NonZeroU32;

use super::{
    handlers::{ask, serve},
    *,
};

fn serving(serving: Serving) -> Guest {
    Guest { entry: EntryChoice::Http, serving, ..guest() }
}

fn number(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

/// What an instance says of itself: how many requests it was given, and the most at once.
async fn count(address: SocketAddr, path: &str) -> (u32, u32) {
    let answer = ask(address, "POST", path, "a body").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("a body"), "{answer}");
    let said = answer.split("request ").nth(1).unwrap();
    let (given, said) = said.split_once(" at x, ").unwrap();
    (given.parse().unwrap(), said.split_once(" at once").unwrap().0.parse().unwrap())
}

async fn at_once(address: SocketAddr, path: &'static str, requests: usize) -> Vec<(u32, u32)> {
    let asked: Vec<_> = (0..requests).map(|_| tokio::spawn(count(address, path))).collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    answers
}

async fn stop(running: Running) {
    running.stop.request(Duration::from_secs(60));
    assert_eq!(running.end().await.cause, Cause::Stopped);
}

#[tokio::test]
async fn an_instance_takes_several_requests_at_once_and_in_all() {
    let patient = Serving { instances_max: number(1), idle_timeout: Some(PATIENCE), ..Serving::default() };
    let (running, address) = serve(&workload("service"), serving(patient)).await;
    assert_eq!(count(address, "/").await, (1, 1));
    assert_eq!(count(address, "/").await, (2, 1));
    // None of these is answered before all of them are there.
    let answers = at_once(address, "/meet", 4).await;
    assert!(answers.iter().all(|(_, most)| *most == 4), "{answers:?}");
    stop(running).await;
}

#[tokio::test]
async fn reuse_and_concurrency_are_bounded() {
    let one = Serving { concurrency: number(1), reuse_max: number(2), ..Serving::default() };
    let (running, address) = serve(&workload("service"), serving(one)).await;
    for given in [1, 2, 1, 2] {
        assert_eq!(count(address, "/").await, (given, 1));
    }
    assert!(at_once(address, "/slow", 4).await.iter().all(|(_, most)| *most == 1));
    stop(running).await;

    let alone = Serving { instances_max: number(1), ..one };
    let (running, address) = serve(&workload("service"), serving(alone)).await;
    let begun = Instant::now();
    assert!(at_once(address, "/slow", 3).await.iter().all(|(_, most)| *most == 1));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    stop(running).await;
}

#[tokio::test]
async fn an_instance_without_requests_goes() {
    let brief = Serving { idle_timeout: Some(Duration::from_millis(50)), ..Serving::default() };
    let (running, address) = serve(&workload("service"), serving(brief)).await;
    assert_eq!(count(address, "/").await.0, 1);
    let before = running.container.usage().memory_bytes;
    let gone = async {
        while running.container.usage().memory_bytes > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("still {before} bytes"));
    assert_eq!(count(address, "/").await.0, 1);
    // A stop waits for no idle time.
    let asked = Instant::now();
    stop(running).await;
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn failures_of_an_instance_are_told_and_stay_its_own() {
    let (tell, told) = std::sync::mpsc::sync_channel(64);
    let tell = Mutex::new(tell);
    let limits = Serving {
        instances_max: number(1),
        request_timeout: Some(Duration::from_secs(2)),
        idle_timeout: Some(PATIENCE),
        ..Serving::default()
    };
    let on_failure: crate::OnFailure = Arc::new(move |message: &str| {
        tell.lock().unwrap().send(message.to_owned()).unwrap();
    });
    let guest = Guest { on_failure: Some(on_failure), ..serving(limits) };
    let (running, address) = serve(&workload("service"), guest).await;
    assert_eq!(count(address, "/").await.0, 1);
    assert!(ask(address, "GET", "/trap", "").await.starts_with("HTTP/1.1 500 "));
    assert!(told.recv_timeout(PATIENCE).unwrap().contains("unreachable"));
    assert_eq!(count(address, "/").await.0, 1, "another instance");
    assert!(ask(address, "GET", "/fail", "").await.starts_with("HTTP/1.1 502 "));
    let spinning = tokio::spawn(async move { ask(address, "GET", "/spin", "").await });
    let late = ask(address, "GET", "/spin", "").await;
    assert!(late.starts_with("HTTP/1.1 504 "), "{late}");
    assert!(spinning.await.unwrap().starts_with("HTTP/1.1 504 "));
    assert!(told.try_recv().is_err(), "one trap is told once, and a handler's error is none");
    stop(running).await;
}

#[tokio::test]
async fn requests_are_answered_before_the_end() {
    let (running, address) = serve(&workload("service"), serving(Serving::default())).await;
    let slow = tokio::spawn(count(address, "/slow"));
    let arrived = async {
        while running.container.usage().memory_bytes == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, arrived).await.expect("the request arrives");
    stop(running).await;
    assert_eq!(slow.await.unwrap().0, 1);
}

#[tokio::test]
async fn a_command_of_0_3_runs_to_its_end() {
    let run = |words: &[&str], output: &Arc<Captured>| {
        let args = std::iter::once(&"service").chain(words).map(ToString::to_string).collect();
        start(&workload("service"), Guest { args, output: Arc::clone(output) as _, ..guest() })
    };
    let output = Arc::default();
    assert_eq!(run(&["a", "b"], &output).end().await.cause, Cause::Code(0));
    assert_eq!(output.text(), "running a b\n");
    assert_eq!(run(&["fail"], &output).end().await.cause, Cause::Code(1));
    // The end of its input is how it hears of a stop.
    let waiting = run(&["wait"], &output);
    while !output.text().contains("running wait") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waiting.stop.request(Duration::from_secs(60));
    assert_eq!(waiting.end().await.cause, Cause::Code(0));
    assert!(output.text().ends_with("read 0 bytes\n"), "{}", output.text());
}

#[tokio::test]
async fn a_component_can_be_both() {
    let output = Arc::<Captured>::default();
    let both = |words: &[&str]| {
        let args = std::iter::once(&"service").chain(words).map(ToString::to_string).collect();
        Guest { args, output: Arc::clone(&output) as _, ..guest() }
    };
    let (running, address) = serve(&workload("service"), both(&["beside"])).await;
    assert_eq!(count(address, "/").await.0, 1);
    while !output.text().contains("running beside") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A command that is done leaves its handler going.
    assert_eq!(count(address, "/").await.0, 2);
    stop(running).await;
    let listen = tcp(handlers::free_address());
    let running = start(&workload("service"), Guest { listen, ..both(&["fail"]) });
    assert_eq!(running.end().await.cause, Cause::Code(1));
}

#[tokio::test]
async fn requests_outlast_a_command_that_fails_at_the_stop() {
    let output = Arc::<Captured>::default();
    let args = ["service", "wait", "fail"].map(ToString::to_string).to_vec();
    let both = Guest { args, output: Arc::clone(&output) as _, ..guest() };
    let (running, address) = serve(&workload("service"), both).await;
    while !output.text().contains("running wait fail") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut early = TcpStream::connect(address).await.unwrap();
    running.stop.request(Duration::from_secs(60));
    while !output.text().contains("read 0 bytes") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    early.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, early.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(running.end().await.cause, Cause::Code(1));
}

#[tokio::test]
async fn an_entry_can_be_chosen() {
    let program = workload("service");
    let (running, address) = serve(&program, serving(Serving::default())).await;
    assert_eq!(count(address, "/").await.0, 1);
    stop(running).await;
    let listen = tcp("127.0.0.1:1".parse().unwrap());
    let ran = start(&program, Guest { entry: EntryChoice::Run, listen, ..guest() });
    assert_eq!(ran.end().await.cause, Cause::Code(0));
    let refused = |name: &str, entry| {
        let guest = Guest { entry, ..guest() };
        host().container(workload(name), guest, Stop::new()).unwrap_err().to_string()
    };
    let message = refused("hello", EntryChoice::Http);
    assert!(
        message.contains("asks for an HTTP handler") && message.contains("`wasi:cli/run@0.2"),
        "{message}"
    );
    let message = refused("http-hello", EntryChoice::Run);
    assert!(message.contains("asks for a command") && message.contains("incoming-handler"), "{message}");
}

#[tokio::test]
async fn a_library_runs_only_a_function_that_is_named() {
    let library = program(r#"(module (func (export "seven") (result i32) (i32.const 7)))"#);
    let named = |name: &str| Guest { args: vec![name.to_owned()], ..guest() };
    assert_eq!(start(&library, named("#seven")).end().await.cause, Cause::Code(7));
    let refused = |name: &str| {
        host().container(Arc::clone(&library), named(name), Stop::new()).unwrap_err().to_string()
    };
    assert_eq!(refused("#eight"), "the container exports no function `eight`");
    assert!(refused("library").contains("exports `seven`"), "{}", refused("library"));
}

#[tokio::test]
async fn drafts_of_0_3_are_refused_by_name() {
    let draft = commands::component("(i32.const 0)")
        .replace("wasi:cli/run@0.2.0", "wasi:cli/run@0.3.0-rc-2025-09-16");
    let refused = host().container(program(&draft), guest(), Stop::new()).unwrap_err().to_string();
    assert!(refused.contains("exports `wasi:cli/run@0.3.0-rc-2025-09-16`"), "{refused}");
}

#[tokio::test]
async fn sockets_of_0_3_are_judged_as_those_of_0_2() {
    let run = |words: &[&str], listen: &[Listening], egress, output: &Arc<Captured>| {
        let args = std::iter::once(&"service").chain(words).map(ToString::to_string).collect();
        let (listen, output) = (listen.to_vec(), Arc::clone(output) as _);
        let guest = Guest { entry: EntryChoice::Run, args, listen, egress, output, ..guest() };
        start(&workload("service"), guest)
    };
    let address = SocketAddr::from(([127, 77, 0, 5], handlers::free_address().port()));
    let declared = [Listening { port: 80, ..Listening::tcp(address) }];
    let closed = || Egress::Only(Vec::new());
    let output = Arc::<Captured>::default();
    let serving = run(&["serve", "80"], &declared, closed(), &output);
    while !output.text().contains("listening") {
        assert!(!serving.ended.is_finished(), "{}", output.text());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Whoever may connect to it does, as a guest of the same host.
    let said = async |words: &[&str], egress| {
        let output = Arc::<Captured>::default();
        run(words, &[], egress, &output).end().await;
        output.text()
    };
    assert!(said(&["connect", &address.to_string()], closed()).await.contains("AccessDenied"));
    assert!(said(&["connect", &address.to_string()], Egress::Open).await.ends_with("connected\n"));
    assert_eq!(serving.end().await.cause, Cause::Code(0));
    assert!(output.text().ends_with("served 12 bytes\n"), "{}", output.text());
    assert!(said(&["serve", "80"], Egress::Open).await.contains("AccessDenied"));
    assert!(said(&["connect", "127.0.0.1:1"], Egress::Open).await.contains("AccessDenied"));
}
