//! Whether this machine has the memory to compile a module: a small board that tries anyway kills what runs on it.

use std::{fs, path::Path};

/// Nothing, or in words why not.
pub(super) fn has_memory_for(module: &Path) -> Result<(), String> {
    let Ok(module) = fs::metadata(module) else { return Err("the module is not here".to_owned()) };
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    fits(module.len(), available(&meminfo))
}

fn fits(module_bytes: u64, available: Option<u64>) -> Result<(), String> {
    let needed = (BASE_BYTES + module_bytes.saturating_mul(BYTES_PER_BYTE)).min(NEEDED_BYTES_MAX);
    match available {
        Some(available) if available < needed => Err(format!(
            "this machine has too little memory to compile it: {} MiB available, about {} MiB needed",
            available >> 20,
            needed >> 20
        )),
        _ => Ok(()),
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// A compiling process before it reads its module.
const BASE_BYTES: u64 = 32 << 20;

/// Memory at the peak for each byte of a module: 26 MB of Python take 9 to 12.
const BYTES_PER_BYTE: u64 = 12;

/// What a compiling process may have at most.
const NEEDED_BYTES_MAX: u64 = dunlin_compiler::COMPILE_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_board_does_not_try_a_large_module() {
        let available = available("MemTotal: 500000 kB\nMemAvailable:     204800 kB\n");
        assert_eq!(available, Some(200 << 20));
        assert_eq!(fits(1 << 20, available), Ok(()));
        assert!(fits(26 << 20, available).unwrap_err().contains("200 MiB available"));
        assert_eq!(fits(26 << 20, None), Ok(()), "what the kernel does not tell is not held against it");
    }
}
