//! Bounds of the kernel that decide how many pods a node takes.

use super::{Finding, Limits};

pub(super) fn limits(limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(limits.open_files.map(open_files));
    findings.extend(limits.mappings.map(mappings));
    findings.extend(limits.memory_bytes.map(memory));
    findings.extend(limits.address_bits.map(address_space));
    findings
}

fn open_files(limit: u64) -> Finding {
    if limit >= OPEN_FILES {
        return Finding::good(FILES, format!("{limit} may be open"));
    }
    Finding::warning(
        FILES,
        format!("only {limit} may be open in one process; each pod needs a few"),
        format!(
            "the unit that comes with Dunlin has `LimitNOFILE={OPEN_FILES}`; without it run `ulimit -n {OPEN_FILES}` first"
        ),
    )
}

fn mappings(limit: u64) -> Finding {
    if limit >= MAPPINGS {
        return Finding::good(MAPS, format!("{limit} in one process"));
    }
    Finding::warning(
        MAPS,
        format!("only {limit} in one process; each WASM pod needs about eight"),
        format!(
            "put the line `vm.max_map_count={MAPPINGS}` into /etc/sysctl.d/90-dunlin.conf and run `sysctl --system`"
        ),
    )
}

fn memory(bytes: u64) -> Finding {
    let mebibytes = bytes >> 20;
    if bytes >= MEMORY_BYTES {
        Finding::good(MEMORY, format!("{mebibytes} MiB"))
    } else {
        Finding::warning(
            MEMORY,
            format!("{mebibytes} MiB: enough for the node, but little is left for pods"),
            "on a board without a screen put the line `gpu_mem=16` into the firmware's config.txt, and choose small modules",
        )
    }
}

/// WASM memories are reserved in address space, not in memory; a 39-bit space holds few reservations of 4 GiB.
fn address_space(bits: u32) -> Finding {
    if bits >= ADDRESS_BITS {
        Finding::good(SPACE, format!("{bits} bits"))
    } else {
        Finding::warning(
            SPACE,
            format!("{bits} bits: fewer WASM pods fit than memory would allow"),
            "install a 64-bit kernel with 48-bit addresses (CONFIG_ARM64_VA_BITS_48), as Debian's is",
        )
    }
}

const FILES: &str = "open files";
const MAPS: &str = "memory mappings";
const MEMORY: &str = "memory";
const SPACE: &str = "address space";

/// As in the unit.
const OPEN_FILES: u64 = 65_536;

/// The kernel's own default: a thousand and some WASM pods. Some boards' images lower it.
const MAPPINGS: u64 = 65_530;

/// Below this nothing but a few small modules fits.
const MEMORY_BYTES: u64 = 400 << 20;

/// What most 64-bit kernels give a process; counted as the bits of the highest address it has.
const ADDRESS_BITS: u32 = 47;
