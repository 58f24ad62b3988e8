//! What tests said on the machine's console.

use serde_json::{Value, json};

/// What became of the suites.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) suites: Vec<Value>,
    failures: Vec<String>,
    finished: Vec<String>,
}

/// One that is being read.
#[derive(Debug)]
struct Running {
    name: String,
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    /// Reads all that was said.
    pub(super) fn read(console: &str) -> Self {
        let mut report = Self::default();
        let mut running: Option<Running> = None;
        for line in console.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("@begin ") {
                report.take(running.take(), None);
                running = Some(Running::new(name));
            } else if let Some(status) = line.strip_prefix("@end ") {
                report.take(running.take(), Some(status));
            } else if let Some(running) = &mut running {
                running.hear(line);
            }
        }
        report.take(running.take(), None);
        report
    }

    /// Why not all is well.
    pub(super) fn complaint(&self, wanted: &[&str]) -> Option<String> {
        let unfinished = wanted.iter().filter(|name| !self.finished.iter().any(|one| one == *name));
        let unfinished: Vec<&str> = unfinished.copied().collect();
        match (self.failures.is_empty(), unfinished.is_empty()) {
            (true, true) => None,
            (false, _) => Some(format!("failed: {}", self.failures.join(", "))),
            (true, false) => Some(format!("did not come to an end: {}", unfinished.join(", "))),
        }
    }

    fn take(&mut self, running: Option<Running>, status: Option<&str>) {
        let Some(running) = running else { return };
        self.suites.push(json!({
            "suite": running.name,
            "finished": status.is_some(),
            "passed": running.passed,
            "failed": running.failed,
            "skipped": running.skipped,
        }));
        let of = |test: &String| format!("{} {test}", running.name);
        self.failures.extend(running.failed.iter().map(of));
        match status {
            // One that ends otherwise and names no test has not run them.
            Some(status) if status != "0" && running.failed.is_empty() => {
                self.failures.push(format!("{} (it ended with {status})", running.name));
            }
            _ => {}
        }
        if status.is_some() {
            self.finished.push(running.name);
        }
    }
}

impl Running {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), passed: 0, failed: Vec::new(), skipped: Vec::new() }
    }

    fn hear(&mut self, line: &str) {
        let skipped = line.strip_prefix("skipped: ").or_else(|| line.strip_prefix("SKIPPED: "));
        if let Some(why) = skipped {
            if !self.skipped.iter().any(|known| known == why) {
                self.skipped.push(why.to_owned());
            }
        } else if let Some((test, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            match result {
                "ok" => self.passed += 1,
                "FAILED" => self.failed.push(test.to_owned()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "boot\r\n@begin shim\r\nrunning 3 tests\r\ntest a::b ... ok\r\ntest c ... FAILED\r\n\
        skipped: there is no youki\r\nskipped: there is no youki\r\n@end 101\r\n@begin node\r\ntest d ... ok\r\n";

    #[test]
    fn what_was_said_becomes_a_report() {
        let report = Report::read(CONSOLE);
        let shim = json!({"suite": "shim", "finished": true, "passed": 1, "failed": ["c"], "skipped": ["there is no youki"]});
        let node = json!({"suite": "node", "finished": false, "passed": 1, "failed": [], "skipped": []});
        assert_eq!(report.suites, [shim, node]);
        assert_eq!(report.complaint(&["shim", "node"]).unwrap(), "failed: shim c");
    }

    #[test]
    fn all_is_well_only_when_all_came_to_an_end() {
        let passed = Report::read("@begin shim\ntest a ... ok\n@end 0\n");
        assert_eq!(passed.complaint(&["shim"]), None);
        assert_eq!(passed.complaint(&["shim", "node"]).unwrap(), "did not come to an end: node");
        let crashed = Report::read("@begin shim\nSegmentation fault\n@end 139\n");
        assert_eq!(crashed.complaint(&["shim"]).unwrap(), "failed: shim (it ended with 139)");
    }
}
