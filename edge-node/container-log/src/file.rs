//! A log file and the older ones that it leaves behind when it is full.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// How much of a container's output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// A file is rotated before it grows beyond this.
    pub file_bytes_max: u64,
    /// Files kept per container, the current one included: `LOG`, `LOG.1`, and so on from new to old.
    pub files_max: u32,
}

impl LogBounds {
    /// Two files of 10 MiB: what Kubernetes keeps per file, fewer of them, for SD cards.
    pub const DEFAULT: Self = Self { file_bytes_max: 10 << 20, files_max: 2 };
}

/// The current file.
#[derive(Debug)]
pub struct LogFile {
    path: Box<Path>,
    bounds: LogBounds,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens the file for appending; its folder is made if it is missing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(path: &Path, bounds: LogBounds) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let (file, size) = append_to(path)?;
        Ok(Self { path: path.into(), bounds, file, size })
    }

    /// Appends whole lines; begins a new file first when they would not fit this one.
    ///
    /// # Errors
    /// When the disk refuses; some of the lines may be written.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.size > 0 && self.size + lines.len() as u64 > self.bounds.file_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every file becomes one older; the oldest is replaced.
    fn rotate(&mut self) -> io::Result<()> {
        let oldest = self.bounds.files_max.saturating_sub(1);
        if oldest == 0 {
            fs::remove_file(&self.path)?;
        }
        for age in (0..oldest).rev() {
            match fs::rename(self.aged(age), self.aged(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        (self.file, self.size) = append_to(&self.path)?;
        Ok(())
    }

    fn aged(&self, age: u32) -> PathBuf {
        if age == 0 {
            return self.path.to_path_buf();
        }
        let mut name = OsString::from(self.path.as_os_str());
        name.push(format!(".{age}"));
        PathBuf::from(name)
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files_max: u32, writes: &[&str], expected: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod/0.log");
        let mut log = LogFile::open(&path, LogBounds { file_bytes_max: 10, files_max }).unwrap();
        for lines in writes {
            log.write(lines.as_bytes()).unwrap();
        }
        let mut found: Vec<(String, String)> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|file| {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(file).unwrap())
            })
            .collect();
        found.sort();
        let expected: Vec<_> = expected.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn files_are_rotated_within_their_bounds() {
        check(2, &["123456\n", "78\n"], &[("0.log", "123456\n78\n")]);
        check(2, &["123456\n", "7890\n"], &[("0.log", "7890\n"), ("0.log.1", "123456\n")]);
        check(2, &["aaaaaaaa\n", "bbbbbbbb\n", "cc\n"], &[("0.log", "cc\n"), ("0.log.1", "bbbbbbbb\n")]);
        check(1, &["aaaaaaaa\n", "bbbbbbbb\n"], &[("0.log", "bbbbbbbb\n")]);
        let three = [("0.log", "cccccccc\n"), ("0.log.1", "bbbbbbbb\n"), ("0.log.2", "aaaaaaaa\n")];
        check(3, &["aaaaaaaa\n", "bbbbbbbb\n", "cccccccc\n"], &three);
    }
}
