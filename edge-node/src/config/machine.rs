//! What a machine brings along that a node may be called by.

use std::path::PathBuf;

/// What this machine makes of options that are not given.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its host name.
    pub hostname: String,
    /// Last eight characters of the board's serial number, if it has one.
    pub serial: Option<String>,
    /// First eight characters of `/etc/machine-id`, if there is one.
    pub machine_id: Option<String>,
    /// Where this user's state belongs.
    pub state_dir: PathBuf,
}

impl Machine {
    /// This machine; `state_dir` is where this user's state belongs.
    pub fn this(state_dir: PathBuf) -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        let serial = SERIAL_FILES.iter().find_map(read).and_then(|text| short_serial(&text));
        let machine_id =
            read(&MACHINE_ID_FILE).and_then(|text| text.get(..SHORT_ID_BYTES).map(str::to_owned));
        Self { hostname: Self::hostname(), serial, machine_id, state_dir }
    }

    /// A node's name from its template; fails with the placeholder that this machine has nothing for.
    pub(super) fn fill(&self, template: &str) -> Result<String, &'static str> {
        let known = [
            ("{hostname}", Some(&self.hostname)),
            ("{serial}", self.serial.as_ref()),
            ("{machineId}", self.machine_id.as_ref()),
        ];
        let used = known.into_iter().filter(|(placeholder, _)| template.contains(placeholder));
        used.into_iter().try_fold(template.to_owned(), |name, (placeholder, value)| {
            value.map(|value| name.replace(placeholder, value)).ok_or(placeholder)
        })
    }

    /// The name of a node on this machine that was given none.
    pub(crate) fn hostname() -> String {
        rustix::system::uname().nodename().to_string_lossy().to_lowercase()
    }
}

/// The end of a serial number, where boards of one batch differ; lower case, as names are.
pub(super) fn short_serial(text: &str) -> Option<String> {
    let serial: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let start = serial.len().saturating_sub(SHORT_ID_BYTES);
    (!serial.is_empty()).then(|| serial[start..].to_lowercase())
}

/// The board's, or of a PC the machine's, which only root may read.
const SERIAL_FILES: [&str; 2] = ["/proc/device-tree/serial-number", "/sys/class/dmi/id/product_serial"];

/// Made at the first start of an installed system.
const MACHINE_ID_FILE: &str = "/etc/machine-id";

/// Enough to tell a fleet's machines apart.
const SHORT_ID_BYTES: usize = 8;
