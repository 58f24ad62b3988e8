//! On what a bench ran: without this its numbers mean nothing.

use std::{fs, process::Command};

use serde::Serialize;

/// The machine, and the source it ran.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    /// Runnable tasks over the last minute at the end of the run; well above the cores, the numbers are not to be trusted.
    load: f64,
    commit: String,
    /// How this program, not the binary it measures, was built.
    bench_profile: &'static str,
}

impl Machine {
    /// This machine, and the checkout in the working folder.
    pub(crate) fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let cpu = ["model name", "Model", "Hardware"].iter().find_map(|name| field(&cpuinfo, name));
        let memory_kib =
            field(&meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: cpu.unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib.unwrap_or(0) / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load: loadavg.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            commit: commit(),
            bench_profile: if cfg!(debug_assertions) { "dev" } else { "release" },
        }
    }
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.map(str::trim)
}

/// The commit checked out, marked when files differ from it.
fn commit() -> String {
    let described = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    match described {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
