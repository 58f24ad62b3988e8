//! The machine while it runs.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use crate::{
    machine::{ARM64, Machine},
    packages,
};

/// Boots it and waits until it has switched itself off; what it says goes into a file.
///
/// # Errors
/// When it cannot start, or takes longer than it may: it is ended then.
pub(super) fn run(
    machine: &Machine,
    kernel: &Kernel,
    disk: &Path,
    console: &Path,
    at_most: Duration,
) -> Result<()> {
    let kind = if machine.name == ARM64.name { &ARM } else { &PC };
    packages::require(kind.package, &format!("/usr/bin/{}", kind.program))?;
    let arguments = format!(
        "console={} quiet loglevel=3 panic=-1 hugepages={LARGE_PAGES} apparmor=1 security=apparmor",
        kind.console
    );
    let drive = format!("file={},format=raw,if=none,id=disk,cache=unsafe", disk.display());
    let mut command = Command::new("nice");
    command.args(["-n", "5", kind.program]).args(kind.options);
    command.args(["-m", MEMORY, "-smp", "2", "-nographic", "-no-reboot"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&kernel.first_files);
    command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
    // Nobody outside of it is reached.
    command.args(["-nic", "user,restrict=on,model=virtio-net-pci", "-append", &arguments]);
    command.stdin(Stdio::null()).stdout(File::create(console)?).stderr(Stdio::inherit());
    let mut process = command.spawn().with_context(|| format!("cannot start {}", kind.program))?;
    eprintln!("the machine runs; what it says: {}", console.display());
    let until = Instant::now() + at_most;
    loop {
        if let Some(status) = process.try_wait()? {
            return if status.success() { Ok(()) } else { bail!("the machine ended: {status}") };
        }
        if Instant::now() >= until {
            process.kill()?;
            process.wait()?;
            // What it has done by then is told.
            eprintln!("the machine was ended after {} minutes", at_most.as_secs() / 60);
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

/// How QEMU makes a kind of machine, on this one's processor or another.
struct Kind {
    package: &'static str,
    program: &'static str,
    options: &'static [&'static str],
    console: &'static str,
}

const PC: Kind = Kind {
    package: "qemu-system-x86",
    program: "qemu-system-x86_64",
    options: &["-accel", "tcg,thread=multi", "-cpu", "max"],
    console: "ttyS0",
};

const ARM: Kind = Kind {
    package: "qemu-system-arm",
    program: "qemu-system-aarch64",
    options: &["-M", "virt", "-accel", "tcg,thread=multi", "-cpu", "cortex-a72"],
    console: "ttyAMA0",
};

/// Of memory in it.
const MEMORY: &str = "3072";
/// Of 2 MiB each, kept for containers that ask for them.
const LARGE_PAGES: u32 = 64;
/// How often one looks whether it is still there.
const LOOK: Duration = Duration::from_millis(500);
