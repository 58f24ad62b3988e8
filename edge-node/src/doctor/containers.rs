//! Reads what containers need. The runtimes that are found are asked for their version, on this machine only.

use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dunlin_edge_node_core::doctor::{Containers, NfTables, OciRuntime, Wanted};
use rustix::net;

use super::Files;
use crate::app_armor;

impl Files<'_> {
    pub(super) fn containers(&self, wanted: Wanted) -> Containers {
        let status = self.text("proc/self/status");
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let namespaces = self.entries("proc/self/ns").into_iter();
        Containers {
            capabilities: of("CapEff:").and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0),
            runtimes: self.runtimes(&wanted),
            wanted,
            namespaces: namespaces.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect(),
            seccomp: self.is_there("proc/sys/kernel/seccomp/actions_avail"),
            nf_tables: self.nf_tables(),
            ip_forward: self.number("proc/sys/net/ipv4/ip_forward").map(|number| number != 0),
            app_armor: app_armor::is_enabled(&self.text(app_armor::ENABLED.trim_start_matches('/'))),
            app_armor_parser: app_armor::PARSERS.iter().any(|path| self.is_program(Path::new(path))),
            recursive_read_only: has_mount_setattr(&self.text("proc/sys/kernel/osrelease")),
        }
    }

    fn runtimes(&self, wanted: &Wanted) -> Vec<OciRuntime> {
        let files: Vec<PathBuf> = match wanted {
            Wanted::None => Vec::new(),
            Wanted::This(path) if path.contains('/') => vec![PathBuf::from(path)],
            Wanted::This(name) => self.find(name).into_iter().collect(),
            Wanted::Any => RUNTIMES.iter().filter_map(|name| self.find(name)).collect(),
        };
        let here = files.into_iter().filter(|file| self.is_program(file));
        here.map(|file| OciRuntime {
            name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            version: self.version_of(&file).unwrap_or_default(),
            path: file.display().to_string(),
        })
        .collect()
    }

    /// The first of the folders in which programs are that has one of this name.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
        folders
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|file| self.is_program(file))
    }

    fn is_program(&self, file: &Path) -> bool {
        let Ok(inside) = file.strip_prefix("/") else { return false };
        let metadata = fs::metadata(self.root.join(inside));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    }

    /// Of another root nothing is run.
    fn version_of(&self, file: &Path) -> Option<String> {
        if self.root != Path::new("/") {
            return Some("of another machine".to_owned());
        }
        version_in(&ask(file.as_os_str())?)
    }

    fn nf_tables(&self) -> NfTables {
        let release = self.text("proc/sys/kernel/osrelease");
        let modules = format!("lib/modules/{}", release.trim());
        let built_in = || self.text(&format!("{modules}/modules.builtin")).contains("/nf_tables.ko");
        if self.is_there("sys/module/nf_tables") || built_in() || (self.root == Path::new("/") && answers()) {
            NfTables::Ready
        } else if self.text(&format!("{modules}/modules.dep")).contains("/nf_tables.ko") {
            NfTables::Loadable
        } else {
            NfTables::Absent
        }
    }
}

/// Whether a kernel of this release has `mount_setattr`, which is of 5.12.
fn has_mount_setattr(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5_u32, 12_u32),
        _ => false,
    }
}

/// Whether this kernel answers what only nf_tables does: how often its rules have changed.
fn answers() -> bool {
    let ask = || -> rustix::io::Result<bool> {
        let socket = net::socket_with(
            net::AddressFamily::NETLINK,
            net::SocketType::RAW,
            net::SocketFlags::CLOEXEC,
            Some(net::netlink::NETFILTER),
        )?;
        net::sockopt::set_socket_timeout(&socket, net::sockopt::Timeout::Recv, Some(PATIENCE))?;
        // Length, type, flags (a request), sequence, sender; then family, version, resource.
        let mut request = Vec::new();
        request.extend(GET_GENERATION_BYTES.to_ne_bytes());
        request.extend(GET_GENERATION.to_ne_bytes());
        request.extend(1_u16.to_ne_bytes());
        request.extend([0; 12]);
        net::send(&socket, &request, net::SendFlags::empty())?;
        let mut answer = [0; 128];
        let (_, length) = net::recv(&socket, &mut answer, net::RecvFlags::empty())?;
        Ok(length >= 6 && u16::from_ne_bytes([answer[4], answer[5]]) == NEW_GENERATION)
    };
    ask().unwrap_or(false)
}

/// What a program says to `--version`; `None` when it fails, or does not end in time.
fn ask(program: &OsStr) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut output = child.stdout.take()?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => break None,
        }
    };
    let Some(status) = status else {
        // Nothing more can be done about one that cannot be ended.
        let _ = child.kill();
        let _ = child.wait();
        return None;
    };
    let mut said = Vec::new();
    // It has ended, and what a pipe holds is bounded.
    output.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut said).ok()?;
    status.success().then(|| String::from_utf8_lossy(&said).into_owned())
}

/// `crun version 1.8.1`, `runc version 1.1.5+ds1`, `youki version: 0.5.0`.
fn version_in(said: &str) -> Option<String> {
    let mut words = said.lines().find(|line| line.contains("version"))?.split_whitespace();
    words.find(|word| word.starts_with(|digit: char| digit.is_ascii_digit())).map(str::to_owned)
}

/// Runtimes by the names of their files, the one that takes least of a machine first.
pub(crate) const RUNTIMES: [&str; 3] = ["crun", "runc", "youki"];

/// Where programs for root are, which not every `PATH` holds.
const MORE_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];

/// For a program to say its version, and for the kernel to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than any runtime says of its version.
const SAID_BYTES_MAX: u64 = 4096;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN`.
const GET_GENERATION: u16 = 10 << 8 | 16;

/// A header and `nfgenmsg`.
const GET_GENERATION_BYTES: u32 = 20;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN`.
const NEW_GENERATION: u16 = 10 << 8 | 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_runtimes_say() {
        let check =
            |said: &str, expected: Option<&str>| assert_eq!(version_in(said).as_deref(), expected, "{said}");
        check("crun version 1.8.1\ncommit: f8a\nspec: 1.0.0\n", Some("1.8.1"));
        check("runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\n", Some("1.1.5+ds1"));
        check("youki version: 0.5.0\ncommit: 0\n", Some("0.5.0"));
        check("usage: something else\n", None);
    }

    #[test]
    fn programs_are_looked_for_and_those_that_fail_have_no_version() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("crun");
        let write = |script: &str, mode| {
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        };
        let files = Files { root: Path::new("/") };
        let found = || files.runtimes(&Wanted::This(program.display().to_string()));
        assert_eq!(found(), []);
        write("#!/bin/sh\necho crun version 9.9.9\n", 0o644);
        assert_eq!(found(), []);
        write("#!/bin/sh\necho crun version 9.9.9\n", 0o755);
        let path = program.display().to_string();
        assert_eq!(found(), [OciRuntime { name: "crun".into(), path, version: "9.9.9".into() }]);
        write("#!/bin/sh\necho crun version 9.9.9\nexit 1\n", 0o755);
        assert_eq!(found()[0].version, "");
        assert_eq!(files.runtimes(&Wanted::None), []);
        assert_eq!(files.runtimes(&Wanted::This("no-such-runtime".into())), []);
    }
}
