//! A command on a terminal that a test types to: made by `script`, of which every Debian has one.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::cluster::wait_until;

/// A terminal of 30 rows and 100 columns, and what runs on it.
#[derive(Debug)]
pub(super) struct Terminal {
    script: Child,
    shown: Arc<Mutex<String>>,
    /// Its file.
    device: String,
}

impl Terminal {
    /// Runs a command on a new one.
    pub(super) fn start(command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = shlex::try_join(words.map(|word| word.to_str().unwrap())).unwrap();
        let mut script = Command::new("script");
        script.args(["-qefc", &format!("stty rows 30 cols 100; tty; exec {words}"), "/dev/null"]);
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("SHELL", "/bin/sh").env("TERM", "xterm");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut script = script.spawn().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut stdout, gathered) = (script.stdout.take().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut bytes) {
                let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                gathered.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        let mut terminal = Self { script, shown, device: String::new() };
        let line = terminal.shows("\n");
        terminal.device = line.lines().next().unwrap().trim().to_owned();
        terminal
    }

    /// Types something.
    pub(super) fn types(&mut self, text: &str) {
        self.script.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until something was shown; answers all that was.
    pub(super) fn shows(&self, text: &str) -> String {
        wait_until(&format!("{text:?} on a terminal"), || {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if shown.contains(text) { Ok(shown) } else { Err(shown) }
        })
    }

    /// Gives it another size; who has the terminal gets the signal.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        let mut stty = Command::new("stty");
        stty.args(["-F", &self.device, "rows", &rows.to_string(), "cols", &columns.to_string()]);
        assert!(stty.status().unwrap().success(), "{}", self.device);
    }

    /// Waits for the end of the command; answers its code.
    pub(super) fn ends(&mut self) -> Option<i32> {
        self.script.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
