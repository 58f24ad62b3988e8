//! Which code a runner loads, and which it refuses.

use dunlin_link::{Digest, compiled::CompiledRecord};
use rcgen::ExtendedKeyUsagePurpose::CodeSigning;

use super::*;
use crate::compiled::{CompiledFiles, test_signer::Signer};

/// A runner over a node's folders, which may compile or not.
struct Node {
    runner: Runner,
    target: String,
}

impl Node {
    async fn start(own: OwnCode, signer: &Signer) -> Self {
        let runner = Runner::of(own).await;
        for folder in ["modules", "identity"] {
            fs::create_dir(runner.path(folder)).unwrap();
        }
        fs::write(runner.path("identity/ca.der"), &signer.authority).unwrap();
        Self { runner, target: crate::runner::target().unwrap() }
    }

    /// A container of a module in the node's folder, named by its digest; the module itself is there or not.
    fn spec(&self, id: &str) -> (ContainerSpec, CompiledFiles, Vec<u8>) {
        let mut spec = self.runner.spec(id, PRINT);
        // Of each its own, so that no other test's code is in the way.
        let wasm = wat::parse_str(format!("{} ;; {id}", PRINT)).unwrap();
        let module = self.runner.path(&format!("modules/{}.wasm", Digest::of(&wasm).hex()));
        spec.module = module.to_string_lossy().into_owned();
        let files = CompiledFiles::of(&module, &self.target);
        (spec, files, wasm)
    }

    async fn run(&self, spec: ContainerSpec) -> Exit {
        let mut agent = self.runner.greeted().await;
        let id = spec.id.clone();
        agent.start(spec).await;
        let exit = agent.exit(id.as_str()).await;
        agent.send(&Request::Remove { id }).await;
        exit
    }
}

fn record(wasm: &[u8], target: &str, code: &[u8]) -> CompiledRecord {
    CompiledRecord {
        module: Digest::of(wasm),
        target: target.to_owned(),
        code: Digest::of(code),
        bytes: code.len() as u64,
    }
}

fn native(wasm: &[u8]) -> Vec<u8> {
    dunlin_wasm_host::compile(wasm, dunlin_wasm_host::Target::of_this_machine().unwrap()).unwrap()
}

/// Puts code in its place as a fetch does.
fn keep(files: &CompiledFiles, signed: &dunlin_link::compiled::SignedCompiled, code: &[u8]) {
    fs::write(files.parts().0, code).unwrap();
    files.keep_signed(signed).unwrap();
}

#[tokio::test]
async fn a_runner_that_compiles_nothing_runs_the_coordinator_s_code_without_the_module() {
    let signer = Signer::new(CodeSigning);
    let node = Node::start(OwnCode::None, &signer).await;
    let (spec, files, wasm) = node.spec("signed");
    let code = native(&wasm);
    keep(&files, &signer.sign(record(&wasm, &node.target, &code)), &code);
    let exit = node.run(spec.clone()).await;
    assert_eq!(exit.cause, ExitCause::Code(5), "{}", exit.message);
    // What it compiled itself would not count.
    let own = node.runner.path("own");
    fs::write(&own, &code).unwrap();
    files.keep_own(&own, Digest::of(&code)).unwrap();
    let exit = node.run(spec).await;
    assert_eq!(exit.cause, ExitCause::HostError);
    assert!(exit.message.contains("does not compile modules"), "{}", exit.message);
}

#[tokio::test]
async fn code_that_is_not_the_cluster_s_is_refused_and_never_loaded() {
    let (signer, foreign) = (Signer::new(CodeSigning), Signer::new(CodeSigning));
    let node = Node::start(OwnCode::None, &signer).await;
    let (spec, files, wasm) = node.spec("foreign");
    let code = native(&wasm);
    let ours = |target: &str, code: &[u8]| signer.sign(record(&wasm, target, code));
    let mut torn = code.clone();
    torn.truncate(code.len() / 2);
    let mut flipped = code.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cases = [
        (foreign.sign(record(&wasm, &node.target, &code)), &code, "not of this cluster's authority"),
        (signer.sign(record(b"other", &node.target, &code)), &code, "of another module"),
        (ours("48.0.8-0-wide-x86_64-linux", &code), &code, "another kind of machine"),
        (ours(&node.target, &code), &torn, "not what was signed"),
        (ours(&node.target, &code), &flipped, "not what was signed"),
    ];
    for (signed, content, reason) in cases {
        keep(&files, &signed, content);
        let exit = node.run(spec.clone()).await;
        assert_eq!(exit.cause, ExitCause::HostError, "{reason}");
        assert!(exit.message.contains(reason), "{}", exit.message);
        assert!(!files.code.exists(), "what was refused is gone");
    }
    // Put there by somebody, with no word of anybody.
    fs::write(&files.code, &code).unwrap();
    let exit = node.run(spec).await;
    assert!(exit.message.contains("there is no compiled module"), "{}", exit.message);
}

#[tokio::test]
async fn a_runner_that_may_compile_does_so_in_place_of_refused_code() {
    let signer = Signer::new(CodeSigning);
    let node = Node::start(compiled(), &signer).await;
    let (spec, files, wasm) = node.spec("own");
    fs::write(&spec.module, &wasm).unwrap();
    let code = native(&wasm);
    keep(&files, &Signer::new(CodeSigning).sign(record(&wasm, &node.target, &code)), &code);
    assert_eq!(node.run(spec.clone()).await.cause, ExitCause::Code(5));
    let made = fs::read(&files.code).unwrap();
    // Changed behind its back, after it was found good.
    fs::remove_file(&files.code).unwrap();
    fs::write(&files.code, b"\x7fELF").unwrap();
    assert_eq!(node.run(spec).await.cause, ExitCause::Code(5));
    assert_eq!(fs::read(&files.code).unwrap(), made);
}
