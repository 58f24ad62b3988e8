//! The process as the kernel sees it, under the names that Prometheus' own clients give.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::{Collect, Text};

/// Reads `/proc/self` when asked.
#[derive(Debug)]
pub(crate) struct Process;

impl Collect for Process {
    fn collect(&self, text: &mut Text) {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
            stat.collect(text);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            text.gauge("process_open_fds", "Open files and sockets.", files.count());
        }
        let files_max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        text.gauge("process_max_fds", "Files and sockets that may be open.", files_max);
    }
}

/// Of `/proc/self/stat`, in the kernel's units.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name before it may hold anything, also parentheses and spaces.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first one here is the third of the manual page.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    fn collect(&self, text: &mut Text) {
        let hundredths = |ticks: u64| {
            let hundredths = ticks * 100 / clock_ticks_per_second().max(1);
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        };
        text.family(
            "process_cpu_seconds_total",
            super::Type::Counter,
            "Time on a processor, of user and kernel.",
        );
        text.sample("process_cpu_seconds_total", &[], hundredths(self.cpu_ticks));
        let resident = self.resident_pages * u64::try_from(page_size()).unwrap_or(0);
        text.gauge("process_resident_memory_bytes", "Memory in use.", resident);
        text.gauge("process_virtual_memory_bytes", "Addresses in use.", self.virtual_bytes);
        text.gauge("process_threads", "Threads.", self.threads);
        if let Some(booted) = booted() {
            let start = booted + self.start_ticks / clock_ticks_per_second().max(1);
            text.gauge("process_start_time_seconds", "When the process started, since 1970.", start);
        }
    }
}

/// When the machine started, in seconds since 1970.
fn booted() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_any_name_is_read() {
        let line = "7 (a) b ( c) S 1 7 7 0 -1 4194560 100 0 0 0 12 3 0 0 20 0 9 0 555 1000000 250 18446744073709551615 1 1";
        let expected = Stat {
            cpu_ticks: 15,
            threads: 9,
            start_ticks: 555,
            virtual_bytes: 1_000_000,
            resident_pages: 250,
        };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_figures() {
        let mut text = Text::default();
        Process.collect(&mut text);
        let text = text.into_string();
        for name in [
            "cpu_seconds_total",
            "resident_memory_bytes",
            "threads",
            "start_time_seconds",
            "open_fds",
            "max_fds",
        ] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name}: {text}");
        }
    }
}
