//! How a command ends: its process is gone with its last word, and waits for nothing that QUIC would like to hear after it.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{cluster::run, site::Site};

/// Passes datagrams on, and knows when the latest one came from the client.
struct Relay {
    address: SocketAddr,
    latest: Arc<Mutex<Option<Instant>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    fn to(coordinator: &str) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.connect(coordinator).unwrap();
        let address = near.local_addr().unwrap();
        let (latest, stop) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let client = Arc::new(Mutex::new(None::<SocketAddr>));
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        }
        let out = {
            let (near, far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let (latest, stop, client) = (Arc::clone(&latest), Arc::clone(&stop), Arc::clone(&client));
            move || {
                let mut buffer = [0; 1 << 16];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, from)) = near.recv_from(&mut buffer) else { continue };
                    *latest.lock().unwrap() = Some(Instant::now());
                    *client.lock().unwrap() = Some(from);
                    far.send(&buffer[..length]).unwrap();
                }
            }
        };
        let back = {
            let stop = Arc::clone(&stop);
            move || {
                let mut buffer = [0; 1 << 16];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(length) = far.recv(&mut buffer) else { continue };
                    let to = client.lock().unwrap().unwrap();
                    // The client may be gone by then.
                    let _ = near.send_to(&buffer[..length], to);
                }
            }
        };
        Self { address, latest, stop, threads: vec![thread::spawn(out), thread::spawn(back)] }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_command_ends_with_its_last_word() {
    let site = Site::start();
    let relay = Relay::to(&site.address());
    let config = std::fs::read_to_string(site.config()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, config.replace(&site.address(), &relay.address.to_string())).unwrap();
    let silence = || {
        let answer = run(&["get", "nodes"], "", folder.path(), &file);
        let end = Instant::now();
        assert_eq!(answer.code, 0, "{answer:?}");
        end.duration_since(relay.latest.lock().unwrap().unwrap())
    };
    // A machine that is busy with other tests takes its time for the end of any process.
    let silence = (0..10).map(|_| silence()).min().unwrap();
    assert!(silence < DRAINING, "{silence:?}");
}

/// QUIC stays for three probe timeouts after a close, of which each has a delay of acknowledgements of 25 ms in it.
const DRAINING: Duration = Duration::from_millis(60);
