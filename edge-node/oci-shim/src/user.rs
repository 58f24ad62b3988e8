//! Who a container's user is, by the files of its own image.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use dunlin_edge_node_core::sandbox::linux::LinuxUser;
use dunlin_link::linux::GroupsPolicy;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::spec::ResolvedUser;

/// Why a container has no user; the words of Kubernetes' nodes where they have some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UserError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    #[error("container has runAsNonRoot and image will run as root")]
    Root,
    #[error("user and group ids are at most 2147483647, and {0} is more")]
    TooLarge(u32),
}

/// Finds the user in the files below `rootfs`.
pub(crate) fn find(user: &LinuxUser, rootfs: &Path) -> Result<ResolvedUser, UserError> {
    // An image without these files has numbers only.
    let read = |name: &str| read_beneath(rootfs, name).unwrap_or_default();
    resolve(user, &read("etc/passwd"), &read("etc/group"))
}

fn resolve(user: &LinuxUser, passwd: &str, group: &str) -> Result<ResolvedUser, UserError> {
    let (of_image, group_of_image) = user.of_image.split_once(':').unwrap_or((&user.of_image, ""));
    let known: Vec<Passwd<'_>> = passwd.lines().filter_map(Passwd::parse).collect();
    let groups: Vec<Group<'_>> = group.lines().filter_map(Group::parse).collect();
    let by_uid = |uid: u32| known.iter().find(|entry| entry.uid == uid);
    let (uid, entry) = match (user.uid, of_image.parse::<u32>()) {
        (Some(uid), _) | (None, Ok(uid)) => (uid, by_uid(uid)),
        (None, Err(_)) if of_image.is_empty() => (0, by_uid(0)),
        (None, Err(_)) => {
            let entry = known.iter().find(|entry| entry.name == of_image);
            let entry = entry.ok_or_else(|| UserError::NoUser(of_image.to_owned()))?;
            (entry.uid, Some(entry))
        }
    };
    if user.refuse_root && uid == 0 {
        return Err(UserError::Root);
    }
    // The image's group belongs to the image's user.
    let group_of_image = if user.uid.is_some() { "" } else { group_of_image };
    let gid = match (user.gid, group_of_image.parse::<u32>()) {
        (Some(gid), _) | (None, Ok(gid)) => gid,
        (None, Err(_)) if group_of_image.is_empty() => entry.map_or(0, |entry| entry.gid),
        (None, Err(_)) => {
            let found = groups.iter().find(|entry| entry.name == group_of_image);
            found.ok_or_else(|| UserError::NoGroup(group_of_image.to_owned()))?.gid
        }
    };
    let name = entry.map(|entry| entry.name).filter(|_| user.groups_policy == GroupsPolicy::Merge);
    let member =
        groups.iter().filter(|group| name.is_some_and(|name| group.members.split(',').any(|of| of == name)));
    let mut all: Vec<u32> = user.groups.iter().copied().chain(member.map(|group| group.gid)).collect();
    // Its own among them: a process that gives its own up must not get past files that are closed to that group.
    all.push(gid);
    all.sort_unstable();
    all.dedup();
    all.truncate(GROUPS_MAX);
    // To the kernel the largest of all means that nothing changes, which here is root; and runtimes keep ids with a sign.
    if let Some(id) = [uid].iter().chain(&all).find(|id| **id > ID_MAX) {
        return Err(UserError::TooLarge(*id));
    }
    let home = entry.map(|entry| entry.home.to_owned()).filter(|home| !home.is_empty());
    Ok(ResolvedUser { uid, gid, groups: all, home })
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Passwd<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some(Self { name, gid, members: fields.next().unwrap_or_default() })
    }
}

/// Reads a file as whoever has `rootfs` as root would find it: links lead nowhere else. Nothing but a file is read.
fn read_beneath(rootfs: &Path, name: &str) -> io::Result<String> {
    let root = openat(CWD, rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(openat2(&root, name, flags, Mode::empty(), resolve)?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// As much of a file of users as is looked at.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The largest id of users and groups.
const ID_MAX: u32 = i32::MAX.cast_unsigned();
/// Groups that the kernel lets a process have.
const GROUPS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\nbroken\nbare:x:50:51";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:70:web,other\nmore:x:71:web";

    fn check(of_image: &str, (uid, gid): (Option<u32>, Option<u32>), expected: (u32, u32, &[u32], &str)) {
        let user = LinuxUser { of_image: of_image.into(), uid, gid, groups: vec![9], ..LinuxUser::default() };
        let found = resolve(&user, PASSWD, GROUP).unwrap();
        let home = found.home.as_deref().unwrap_or("-");
        assert_eq!((found.uid, found.gid, &found.groups[..], home), expected);
    }

    #[test]
    fn names_and_numbers_are_users() {
        check("", (None, None), (0, 0, &[0, 9], "/root"));
        check("web", (None, None), (33, 34, &[9, 34, 70, 71], "/srv"));
        check("33", (None, None), (33, 34, &[9, 34, 70, 71], "/srv"));
        check("web:logs", (None, None), (33, 70, &[9, 70, 71], "/srv"));
        check("web:5", (None, None), (33, 5, &[5, 9, 70, 71], "/srv"));
        check("1234", (None, None), (1234, 0, &[0, 9], "-"));
        check("50", (None, None), (50, 51, &[9, 51], "-"));
        check("root:5", (Some(33), None), (33, 34, &[9, 34, 70, 71], "/srv"));
        check("nobody-there", (Some(7), Some(8)), (7, 8, &[8, 9], "-"));
        check(
            "2147483647:2147483647",
            (None, None),
            (2_147_483_647, 2_147_483_647, &[9, 2_147_483_647], "-"),
        );
    }

    #[test]
    fn a_pod_may_keep_its_containers_out_of_the_images_groups() {
        let groups_policy = GroupsPolicy::Strict;
        let user =
            LinuxUser { of_image: "web".into(), groups: vec![9], groups_policy, ..LinuxUser::default() };
        assert_eq!(resolve(&user, PASSWD, GROUP).unwrap().groups, [9, 34]);
    }

    /// A runtime would take them for a change of nothing, and the container would be root.
    #[test]
    fn ids_without_a_sign_are_refused() {
        let check = |user: LinuxUser, passwd: &str, group: &str, expected: u32| {
            let user = LinuxUser { refuse_root: true, ..user };
            assert_eq!(resolve(&user, passwd, group), Err(UserError::TooLarge(expected)));
        };
        let of_image = |of_image: &str| LinuxUser { of_image: of_image.into(), ..LinuxUser::default() };
        check(of_image("4294967295"), "", "", u32::MAX);
        check(of_image("2147483648"), "", "", 1 << 31);
        check(of_image("5:4294967295"), "", "", u32::MAX);
        check(of_image("evil"), "evil:x:4294967295:0::/:/bin/sh", "", u32::MAX);
        check(of_image("evil"), "evil:x:7:4294967295::/:/bin/sh", "", u32::MAX);
        check(of_image("evil"), "evil:x:7:8::/:/bin/sh", "g:x:4294967295:evil", u32::MAX);
        check(LinuxUser { uid: Some(u32::MAX), ..LinuxUser::default() }, "", "", u32::MAX);
        check(LinuxUser { uid: Some(7), groups: vec![u32::MAX], ..LinuxUser::default() }, "", "", u32::MAX);
    }

    #[test]
    fn who_is_not_there_or_not_wanted_is_no_user() {
        let check = |of_image: &str, uid, expected: &str| {
            let user =
                LinuxUser { of_image: of_image.into(), uid, refuse_root: true, ..LinuxUser::default() };
            let found = resolve(&user, PASSWD, GROUP).map_err(|error| error.to_string());
            assert_eq!(found.map(|user| user.uid.to_string()).unwrap_or_else(|why| why), expected);
        };
        check("nobody", None, "unable to find user nobody: no matching entries in passwd file");
        check("web:nobody", None, "unable to find group nobody: no matching entries in group file");
        check("", None, "container has runAsNonRoot and image will run as root");
        check("root", None, "container has runAsNonRoot and image will run as root");
        check("root", Some(5), "5");
        check("web", Some(0), "container has runAsNonRoot and image will run as root");
    }

    #[test]
    fn no_link_leads_out_of_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let (outside, rootfs) = (folder.path().join("outside"), folder.path().join("rootfs"));
        fs::create_dir_all(rootfs.join("etc")).unwrap();
        fs::write(&outside, "secret").unwrap();
        symlink(&outside, rootfs.join("etc/passwd")).unwrap();
        symlink("../../outside", rootfs.join("etc/group")).unwrap();
        symlink("/etc/real", rootfs.join("etc/inside")).unwrap();
        fs::write(rootfs.join("etc/real"), "known").unwrap();
        assert!(read_beneath(&rootfs, "etc/passwd").is_err());
        assert!(read_beneath(&rootfs, "etc/group").is_err());
        assert_eq!(read_beneath(&rootfs, "etc/inside").unwrap(), "known");
        assert!(read_beneath(&rootfs, "etc").is_err(), "no file");
    }
}
