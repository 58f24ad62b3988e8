//! A TUN device: IP packets of one interface, read and written as a file.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    sync::Arc,
};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// One interface's packets; cheap to clone. The interface ends with the last clone, or with the namespace that it was moved to.
#[derive(Clone, Debug)]
pub(super) struct Tun {
    file: Arc<File>,
}

impl Tun {
    /// Makes an interface of this name in the namespace of this process.
    pub(super) fn create(name: &str) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(DEVICE)?;
        let mut request = InterfaceRequest { name: [0; NAME_BYTES], flags: TUN | NO_HEADER, rest: [0; 22] };
        let room = request.name.get_mut(..name.len()).filter(|room| room.len() < NAME_BYTES);
        room.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
        attach(&file, request)?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Waits for a packet that the kernel sends out by the interface. An error says that the interface is gone.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.file).read(buffer)
    }

    /// Hands the kernel a packet as if it came in by the interface. One that it does not take is lost, as on any line.
    pub(super) fn send(&self, packet: &[u8]) {
        let _ = (&*self.file).write(packet);
    }
}

/// `TUNSETIFF`. No crate that we have offers it in a safe form.
#[expect(unsafe_code, reason = "an ioctl is only as safe as its number and its argument agree")]
fn attach(file: &File, request: InterfaceRequest) -> io::Result<()> {
    // SAFETY: for this number the kernel reads a `struct ifreq`, and writes nothing beyond it. `InterfaceRequest` has its size and
    // layout on Linux: 16 bytes of name, then a union of 24 bytes of which this call looks at the first two.
    unsafe { Ok(ioctl(file, Setter::<TUNSETIFF, InterfaceRequest>::new(request))?) }
}

/// `struct ifreq`.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_BYTES],
    flags: u16,
    rest: [u8; 22],
}

/// The kernel's number says the size of an `int`, whatever it reads.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);

const DEVICE: &str = "/dev/net/tun";

/// `IFNAMSIZ`.
const NAME_BYTES: usize = 16;

/// `IFF_TUN`: IP packets without Ethernet.
const TUN: u16 = 0x0001;

/// `IFF_NO_PI`: nothing before them.
const NO_HEADER: u16 = 0x1000;
