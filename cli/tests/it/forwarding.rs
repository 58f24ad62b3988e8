//! A program that forwards ports, of this project or of Kubernetes, and connections through it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::cluster::wait_until;

/// The program, as long as it forwards.
#[derive(Debug)]
pub(crate) struct Forward {
    child: Child,
    /// Ports here, by those of the pod.
    ports: HashMap<u16, u16>,
    complaints: tempfile::NamedTempFile,
}

impl Forward {
    /// Starts one, for so many ports.
    pub(crate) fn start(mut command: Command, count: usize) -> Self {
        let complaints = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(File::create(complaints.path()).unwrap()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ports = HashMap::new();
        while ports.len() < count {
            let Some(line) = said.next() else {
                panic!("{command:?}: {}", fs::read_to_string(complaints.path()).unwrap());
            };
            ports.extend(forwarded(&line.unwrap()));
        }
        // So that it does not stop at a pipe that is full.
        thread::spawn(move || said.for_each(drop));
        Self { child, ports, complaints }
    }

    /// A connection to a port of the pod.
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[&port])).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends something to its end, and answers all that comes back.
    pub(crate) fn ask(&self, port: u16, said: &[u8]) -> Vec<u8> {
        let mut stream = self.connect(port);
        let mut heard = Vec::new();
        thread::scope(|scope| {
            let mut to = stream.try_clone().unwrap();
            scope.spawn(move || {
                // A server that has said all need not hear all.
                let _ = to.write_all(said).and_then(|()| to.shutdown(Shutdown::Write));
            });
            stream.read_to_end(&mut heard).unwrap();
        });
        heard
    }

    /// What a web server there has at a path.
    pub(crate) fn page(&self, port: u16, path: &str) -> String {
        let mut stream = self.connect(port);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(answer)
    }

    /// What it complained of so far.
    pub(crate) fn complaints(&self) -> String {
        fs::read_to_string(self.complaints.path()).unwrap()
    }

    /// Waits until it complains of something.
    pub(crate) fn complains(&self, of: &str) {
        wait_until("complaint", || {
            let complaints = self.complaints();
            if complaints.contains(of) { Ok(()) } else { Err(format!("no {of:?} in {complaints:?}")) }
        });
    }

    /// Waits until it has ended; answers its code and what it complained of.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = wait_until("end", || {
            self.child.try_wait().unwrap().ok_or_else(|| "it still forwards".to_owned())
        });
        (status.code(), self.complaints())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `Forwarding from 127.0.0.1:40001 -> 80`: the ports there and here.
fn forwarded(line: &str) -> Option<(u16, u16)> {
    let (here, there) = line.strip_prefix("Forwarding from 127.0.0.1:")?.split_once(" -> ")?;
    Some((there.parse().ok()?, here.parse().ok()?))
}
