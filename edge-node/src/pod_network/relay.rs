//! The API for pods with a network of their own, where the coordinator listens on the machine's loopback only (`dunlin dev`): what comes to
//! the same port at the bridge's address is carried there. TLS is the pod's with the coordinator.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use dunlin_edge_node_core::env::ApiAddress;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// What is carried where.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    at: SocketAddr,
    to: ApiAddress,
}

impl Relay {
    pub(super) fn new(gateway: Ipv4Addr, to: ApiAddress) -> Self {
        Self { at: (gateway, to.port).into(), to }
    }

    /// Carries until it is dropped. The bridge is there by now.
    pub(super) async fn serve(&self) {
        loop {
            match TcpListener::bind(self.at).await {
                Ok(listener) => self.accept_from(&listener).await,
                Err(error) => {
                    tracing::warn!(%error, at = %self.at, "pods with a network of their own do not reach the API; it is tried again");
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn accept_from(&self, listener: &TcpListener) {
        let mut carried = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept(), if carried.len() < CONNECTIONS_MAX => accepted,
                Some(_) = carried.join_next() => continue,
            };
            match accepted {
                Ok((pod, _)) => {
                    let (host, port) = (self.to.host.clone(), self.to.port);
                    carried.spawn(async move { carry(pod, (&host, port)).await });
                }
                Err(error) => {
                    tracing::warn!(%error, at = %self.at, "a pod's connection to the API was not taken");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn carry(mut pod: TcpStream, to: (&str, u16)) -> io::Result<()> {
    let mut api = TcpStream::connect(to).await?;
    copy_bidirectional(&mut pod, &mut api).await.map(drop)
}

/// As many as all pods of a node may hold; more wait.
const CONNECTIONS_MAX: usize = 1024;

/// After an address that somebody else has, or that is gone.
const RETRY: Duration = Duration::from_secs(5);

/// While the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_pods_say_reaches_the_api_and_its_answer_them() {
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = api.local_addr().unwrap().port();
        let relay = Relay::new(Ipv4Addr::new(127, 0, 9, 1), ApiAddress::new("127.0.0.1", port));
        let at = relay.at;
        let task = tokio::spawn(async move { relay.serve().await });
        let mut pod = loop {
            match TcpStream::connect(at).await {
                Ok(pod) => break pod,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        pod.write_all(b"ask").await.unwrap();
        let (mut asked, _) = api.accept().await.unwrap();
        let mut heard = [0; 3];
        asked.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ask");
        asked.write_all(b"answer").await.unwrap();
        drop(asked);
        let mut answer = String::new();
        pod.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        task.abort();
    }
}
