//! Ports of the machine that lead to pods with WASM alone, on a node whose agent dies meanwhile.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
};

use crate::{
    cluster::wait_until,
    site::{Site, free_port},
};

/// A server whose port of the machine has the number of its own, one that listens by itself, and one at one address of the machine.
fn manifest(handler: u16, listener: u16, only: u16) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: handler
    image: dunlin.local/http-hello
    ports:
    - {{containerPort: {handler}, hostPort: {handler}}}
  - name: listener
    image: dunlin.local/interfaces
    args: [serve, '{listener}']
    ports:
    - {{containerPort: {listener}, hostPort: {listener}}}
  - name: narrow
    image: dunlin.local/interfaces
    args: [serve, '{only}']
    ports:
    - {{containerPort: {only}, hostPort: {only}, hostIP: 127.0.0.9}}
"
    )
}

fn exchanged(address: Ipv4Addr, port: u16, said: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((address, port))?;
    stream.write_all(said.as_bytes())?;
    let mut answer = [0; 12];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn page(port: u16) -> Result<(), String> {
    let request = "GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    match exchanged(Ipv4Addr::LOCALHOST, port, request) {
        Ok(answer) if answer == "HTTP/1.1 200" => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn echo(address: Ipv4Addr, port: u16) -> Result<(), String> {
    match exchanged(address, port, "echo me") {
        Ok(answer) if answer == "echo me" => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn ports_of_the_machine_lead_to_guests_over_a_crash_of_the_agent() {
    let site = Site::start();
    let mut machine = site.join("n1", &site.token(&[]));
    ["http-hello", "interfaces"].into_iter().for_each(|module| site.push(module));
    let (handler, listener, only) = (free_port(), free_port(), free_port());
    let one = Ipv4Addr::new(127, 0, 0, 9);
    site.ok(&["apply", "-f", "-"], &manifest(handler, listener, only));
    let answers = || {
        page(handler)?;
        echo(Ipv4Addr::LOCALHOST, listener)?;
        echo(one, only)
    };
    wait_until("host ports", || answers().map_err(|why| format!("{why}\n{}", machine.log())));
    // For one address means at no other.
    assert!(echo(Ipv4Addr::LOCALHOST, only).is_err());
    let ids = "jsonpath={.status.containerStatuses[*].containerID}";
    let before = site.ok(&["get", "pod", "web", "-o", ids], "");

    machine.kill_agent();
    answers().unwrap();
    machine.start_agent(&[]);
    site.wait_for_ready(&machine);
    wait_until("second session", || {
        let log = machine.log();
        if log.matches("session opened").count() >= 2 { Ok(()) } else { Err(log) }
    });
    answers().unwrap();
    assert_eq!(site.ok(&["get", "pod", "web", "-o", ids], ""), before);

    // Another pod waits for the port, and gets it when it is free.
    let second = manifest(handler, listener, only).replace("name: web", "name: next");
    site.ok(&["apply", "-f", "-"], &second);
    site.wait_for(&["describe", "pod", "next"], |text| text.contains("didn't have free ports"));
    site.ok(&["delete", "pod", "web"], "");
    site.wait_for(&["get", "pod", "next", "--no-headers"], |row| row.contains("Running"));
    wait_until("host ports of the next pod", answers);
    site.ok(&["delete", "pod", "next"], "");
    assert!(
        page(handler).is_err() && echo(Ipv4Addr::LOCALHOST, listener).is_err() && echo(one, only).is_err()
    );
}
