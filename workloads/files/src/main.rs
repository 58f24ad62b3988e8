//! A container that looks at files and leaves some: each word does one thing, and what fails says so and ends the program.
//!
//! `wait` (the default) does nothing for ever; `read PATH..` prints files; `write PATH TEXT` writes one; `list DIR` prints the names in
//! a folder, sorted; `link TARGET PATH` makes a symbolic link; `last-words PATH TEXT` writes and fails.

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
    thread,
    time::Duration,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<ExitCode> {
    match words {
        [] | ["wait"] => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        ["read", paths @ ..] => {
            for path in paths {
                io::stdout().write_all(&fs::read(path)?)?;
            }
        }
        ["write", path, text] => fs::write(path, text)?,
        ["list", path] => {
            let names: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect();
            let mut names: Vec<_> = names?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
            names.sort();
            writeln!(io::stdout(), "{}", names.join(" "))?;
        }
        ["link", target, path] => link(target, path)?,
        ["last-words", path, text] => {
            fs::write(path, text)?;
            return Ok(ExitCode::FAILURE);
        }
        _ => return Err(io::Error::other("I know wait, read, write, list, link and last-words")),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(target_os = "wasi")]
#[allow(deprecated, reason = "std has no other way to make one on WASI")]
fn link(target: &str, path: &str) -> io::Result<()> {
    fs::soft_link(target, path)
}
