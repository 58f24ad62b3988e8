//! A container to look into: waits as its first process, and does as it is told as a further one.
//!
//! `wait` (the default) does nothing for ever; `listen` repeats each line that it hears; `cat`, `echo`, `env` and `exit` are what
//! they are everywhere; `complain` is `echo` on standard error; `flood BYTES` writes as much; `pair` counts on both streams;
//! `terminal` says whether its streams are one.
//!
//! A core module for preview 1, since components of WASI 0.2 can tell success and failure but no code.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::exit,
    thread,
    time::Duration,
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["wait"] => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        ["listen"] => listen(),
        ["cat"] => io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()).map(drop),
        ["echo", ..] => writeln!(io::stdout(), "{}", words[1..].join(" ")),
        ["complain", ..] => writeln!(io::stderr(), "{}", words[1..].join(" ")),
        ["env", name] => writeln!(io::stdout(), "{}", std::env::var(name).unwrap_or_default()),
        ["exit", code] => exit(number(code)),
        ["flood", bytes] => flood(number(bytes)),
        ["pair", count] => pair(number(count)),
        ["terminal"] => writeln!(io::stdout(), "{}", io::stdin().is_terminal()),
        _ => {
            eprintln!("usage: toolbox [wait | listen | cat | echo WORD.. | complain WORD.. | env NAME | exit CODE | flood BYTES | pair COUNT | terminal]");
            exit(64);
        }
    }
}

fn listen() -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        writeln!(io::stdout(), "heard {}", line?)?;
    }
    writeln!(io::stdout(), "heard the end")
}

fn flood(bytes: usize) -> io::Result<()> {
    let line = [b'x'; 1024];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(line.len());
        io::stdout().write_all(&line[..piece])?;
        left -= piece;
    }
    io::stdout().flush()
}

fn pair(count: usize) -> io::Result<()> {
    for index in 0..count {
        writeln!(io::stdout(), "out {index}")?;
        writeln!(io::stderr(), "err {index}")?;
    }
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| {
        eprintln!("not a number: {text}");
        exit(64);
    })
}
