//! The first process of a pod whose containers see each other's processes. It buries orphans, which the kernel does for one that ignores
//! the ends of its children, and sleeps: its program is a few instructions, of which the machine has one page for each pod.
//!
//! Containers see it, and those that may trace others can look into it. So there is nothing in it: no memory of the shim, no file, no
//! mount but an empty one, no namespace of the machine, and no power.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    path::Path,
};

use oci_spec::runtime::LinuxNamespaceType;
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Signal, set_parent_process_death_signal},
};

use crate::{
    container::Held,
    namespaces::Entered,
    program::sealed,
    sys::{self, Forked},
};

/// Starts one in a new namespace of process ids. `doors` are those of its cgroup, `others` the pod's other namespaces, and `dir` any folder
/// that is there. It ends when this process does.
///
/// # Errors
/// When it does not run.
pub(crate) fn start(doors: Vec<File>, others: &[(LinuxNamespaceType, File)], dir: &Path) -> io::Result<Held> {
    let program = program()?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let inside = Entered::new_for_children()?;
    let forked = sys::fork();
    if let Ok(Forked::Child) = forked {
        let why = become_it(doors, others, dir, &program);
        // Whoever waits learns nothing more when this fails, and that it failed by the end itself.
        let _ = File::from(write).write_all(why.to_string().as_bytes());
        sys::exit_now(1);
    }
    drop(inside);
    let Forked::Parent(pid) = forked? else { return Err(io::Error::other("a child came back")) };
    drop(write);
    let held = Held::new(pid)?;
    let mut why = String::new();
    File::from(read).take(WHY_BYTES_MAX).read_to_string(&mut why)?;
    if why.is_empty() {
        return Ok(held);
    }
    crate::clean::wait_for(&held);
    Err(io::Error::other(format!("failed to start the pod's first process: {why}")))
}

/// In the new process: leaves everything behind, and becomes the program.
fn become_it(
    mut doors: Vec<File>,
    others: &[(LinuxNamespaceType, File)],
    dir: &Path,
    program: &File,
) -> io::Error {
    let mut leave = || -> io::Result<()> {
        doors.iter_mut().try_for_each(|door| door.write_all(b"0"))?;
        for (kind, namespace) in others {
            sys::enter(namespace.as_fd(), crate::namespaces::flag(*kind))?;
        }
        sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)?;
        sys::change_mount(Path::new("/"), libc::MS_PRIVATE | libc::MS_REC)?;
        sys::mount(Path::new("empty"), dir, c"tmpfs", libc::MS_RDONLY, c"mode=555,nr_inodes=2,size=4k")?;
        std::env::set_current_dir(dir)?;
        sys::keep_only_this_mount()?;
        sys::ignore_children()?;
        sys::close_standard_streams();
        sys::become_nobody(NOBODY)?;
        // Last: a change of the user takes it back.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    match leave() {
        Ok(()) => sys::become_program(program.as_fd(), NAME),
        Err(error) => error,
    }
}

/// The program, in memory that nobody can change.
fn program() -> io::Result<File> {
    if CODE.is_empty() {
        return Err(io::Error::other("processes cannot be shared in a pod on this kind of processor"));
    }
    sealed("pause", &elf())
}

/// An executable file with one part: all of it, at `BASE`.
fn elf() -> Vec<u8> {
    let mut elf = Vec::with_capacity(HEADERS_BYTES + CODE.len());
    // Of 64 bits, little-endian, version 1, for any system.
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01");
    elf.resize(16, 0);
    let whole = (HEADERS_BYTES + CODE.len()) as u64;
    let entry = BASE + HEADERS_BYTES as u64;
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend_from_slice(&value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u32| elf.extend_from_slice(&value.to_le_bytes());
    let long = |elf: &mut Vec<u8>, value: u64| elf.extend_from_slice(&value.to_le_bytes());
    half(&mut elf, EXECUTABLE);
    half(&mut elf, PROCESSOR);
    word(&mut elf, 1);
    // Where it begins; its one part is described right behind this header, and it has no sections.
    [entry, 64, 0].into_iter().for_each(|value| long(&mut elf, value));
    word(&mut elf, 0);
    [64, 56, 1, 64, 0, 0].into_iter().for_each(|value| half(&mut elf, value));
    word(&mut elf, LOADED);
    word(&mut elf, READ_AND_RUN);
    // From where in the file, to where, how much, and how it lies in pages.
    [0, BASE, BASE, whole, whole, PAGE].into_iter().for_each(|value| long(&mut elf, value));
    elf.extend_from_slice(CODE);
    elf
}

/// `pause()`, again and again.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[
    0xb8, 0x22, 0x00, 0x00, 0x00, // mov eax, 34
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp to the beginning
];
/// `ppoll` of nothing, for ever, again and again.
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[
    0x00, 0x00, 0x80, 0xd2, // mov x0, #0
    0x01, 0x00, 0x80, 0xd2, // mov x1, #0
    0x02, 0x00, 0x80, 0xd2, // mov x2, #0
    0x03, 0x00, 0x80, 0xd2, // mov x3, #0
    0x04, 0x00, 0x80, 0xd2, // mov x4, #0
    0x28, 0x09, 0x80, 0xd2, // mov x8, #73
    0x01, 0x00, 0x00, 0xd4, // svc #0
    0xf9, 0xff, 0xff, 0x17, // b to the beginning
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CODE: &[u8] = &[];

/// `EM_X86_64` or `EM_AARCH64`.
const PROCESSOR: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
/// `ET_EXEC`.
const EXECUTABLE: u16 = 2;
/// `PT_LOAD`.
const LOADED: u32 = 1;
/// `PF_R | PF_X`.
const READ_AND_RUN: u32 = 5;
/// Both headers.
const HEADERS_BYTES: usize = 64 + 56;
/// Above what the kernel keeps free.
const BASE: u64 = 0x40_0000;
/// The largest page that either kind of processor has.
const PAGE: u64 = 0x1_0000;
/// A user that nobody is.
const NOBODY: libc::uid_t = 65_535;
/// What it is called in lists of processes, as under Kubernetes.
const NAME: &std::ffi::CStr = c"/pause";
/// Enough for any reason.
const WHY_BYTES_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_small_and_begins_with_its_code() {
        let elf = elf();
        assert_eq!(elf.len(), HEADERS_BYTES + CODE.len());
        let entry = u64::from_le_bytes(elf[24..32].try_into().unwrap());
        let at = usize::try_from(entry - BASE).unwrap();
        assert_eq!(&elf[at..], CODE);
    }
}
