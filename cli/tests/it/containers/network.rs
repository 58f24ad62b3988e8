//! A static web server in a container, asked from everywhere.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use super::shore::on_each_runtime;
use crate::site::free_port;

#[test]
fn a_web_server_answers_on_its_pods_address_and_on_ports_of_the_machine() {
    on_each_runtime("web", |berth| {
        let (everywhere, loopback) = (free_port(), free_port());
        let server = format!(
            "containers:\n- {{name: c, image: BUSYBOX, command: [httpd, -f, -p, '8080', -h, /www], \
             ports: [{{containerPort: 8080, hostPort: {everywhere}}}]}}\n\
             - {{name: local, image: BUSYBOX, command: [httpd, -f, -p, '8081', -h, /www], \
             ports: [{{containerPort: 8081, hostPort: {loopback}, hostIP: 127.0.0.1}}]}}\n"
        );
        berth.pod("web", &server);
        berth.pod("client", "containers: [{name: c, image: BUSYBOX, command: [sleep, '1000']}]\n");
        berth.wait_for("web", "phase", "Running");
        berth.wait_for("client", "phase", "Running");
        let pod: Ipv4Addr = berth.status("web", "podIP").parse().unwrap();
        assert_eq!(get((pod, 8080).into()).unwrap(), "dunlin");
        assert_eq!(get((Ipv4Addr::LOCALHOST, everywhere).into()).unwrap(), "dunlin");
        assert_eq!(get((Ipv4Addr::LOCALHOST, loopback).into()).unwrap(), "dunlin");
        // The machine's own address, which is the bridge's, too.
        let gateway =
            berth.exec("client", &["sh", "-c", "ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'"]);
        let gateway: Ipv4Addr = gateway.stdout.trim().parse().unwrap();
        assert_eq!(get((gateway, everywhere).into()).unwrap(), "dunlin");
        assert!(get((gateway, loopback).into()).is_err(), "a port of the loopback alone");
        for from in [format!("{pod}:8080"), format!("{gateway}:{everywhere}")] {
            let asked = berth.exec("client", &["timeout", "5", "wget", "-qO-", &format!("http://{from}/")]);
            assert_eq!(asked.stdout, "dunlin\n", "{from}: {asked:?}");
        }
        // Another pod's loopback is its own.
        let none = berth.exec("client", &["timeout", "5", "wget", "-qO-", "http://127.0.0.1:8080/"]);
        assert_ne!(none.code, 0, "{none:?}");
        berth.ok(&["delete", "pod", "web"]);
        assert!(get((Ipv4Addr::LOCALHOST, everywhere).into()).is_err(), "the port of a pod that is gone");
    });
}

/// Asks for the page of a server.
fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
    body.ok_or_else(|| std::io::Error::other(answer))
}
