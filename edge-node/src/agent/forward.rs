//! Forwards: connections to a pod's localhost. What is there is the pod's own network namespace, which a socket can be made in and used
//! from outside, so that a connection costs the pod nothing and outlives no one.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use dunlin_edge_node_core::address::ForwardPlace;
use dunlin_link::{PodUid, stream::StreamRefusal};
use dunlin_pod_network::tcp_socket;
use tokio::{
    net::{TcpSocket, TcpStream},
    task::spawn_blocking,
    time::timeout,
};

use super::{AgentHost, Input, streams::CONNECT_TIMEOUT};
use crate::session::{ByteStream, StreamRefused};

impl AgentHost {
    /// Connects to a port on a pod's localhost.
    pub(super) async fn forward_to(&self, uid: PodUid, port: u16) -> Result<ByteStream, StreamRefused> {
        let question = |reply| Input::ForwardPlace { uid: uid.clone(), port, reply };
        let place = self
            .ask(question)
            .await?
            .map_err(|message| StreamRefused { reason: StreamRefusal::Impossible, message })?;
        let taken = self.forwards.take(&uid).ok_or_else(|| StreamRefused {
            reason: StreamRefusal::TooMany,
            message: format!(
                "{FORWARDS_PER_POD_MAX} connections to a pod, and {FORWARDS_MAX} to all of a node, are forwarded at most"
            ),
        })?;
        let connected = match place {
            ForwardPlace::StandIn(address) => Way::Machine.connect(address).await.map_err(reason),
            ForwardPlace::MachineLocalhost => Way::Machine.localhost(port).await,
            ForwardPlace::PodLocalhost => match self.doors.network(&uid) {
                Some(namespace) => Way::Inside(namespace).localhost(port).await,
                None => Err("the pod's sandbox does not run".to_owned()),
            },
        };
        match connected {
            Ok(stream) => {
                // What is typed is waited for; one that cannot be told so is served all the same.
                let _ = stream.set_nodelay(true);
                Ok(ByteStream::new(stream).keeping(taken))
            }
            Err(why) => Err(StreamRefused {
                reason: StreamRefusal::NotRunning,
                message: format!("failed to connect to localhost:{port} inside the pod: {why}"),
            }),
        }
    }
}

/// Where sockets are made.
#[derive(Debug)]
enum Way {
    Machine,
    /// In the network namespace at this path.
    Inside(PathBuf),
}

impl Way {
    /// As kubelets do, by IPv4 first.
    async fn localhost(&self, port: u16) -> Result<TcpStream, String> {
        let by_four = match self.connect((Ipv4Addr::LOCALHOST, port).into()).await {
            Ok(stream) => return Ok(stream),
            Err(error) => reason(error),
        };
        // Where there is no IPv6 at all, that is no news.
        self.connect((Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_| by_four)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(address.ip()).await?;
        let connected = timeout(CONNECT_TIMEOUT, socket.connect(address)).await;
        connected.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn socket(&self, address: IpAddr) -> io::Result<TcpSocket> {
        match (self, address) {
            (Self::Machine, IpAddr::V4(_)) => TcpSocket::new_v4(),
            (Self::Machine, IpAddr::V6(_)) => TcpSocket::new_v6(),
            (Self::Inside(namespace), _) => {
                let namespace = namespace.clone();
                let made = spawn_blocking(move || tcp_socket(&namespace, address)).await;
                let socket = made.map_err(io::Error::other)??;
                Ok(TcpSocket::from_std_stream(socket.into()))
            }
        }
    }
}

/// In the words of Kubernetes' clients, without the number of the error.
fn reason(error: io::Error) -> String {
    match error.kind() {
        kind @ (io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut) => kind.to_string(),
        _ => error.to_string(),
    }
}

/// How many forwards are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwards(Arc<Mutex<HashMap<PodUid, usize>>>);

/// One of them.
#[derive(Debug)]
struct Taken {
    forwards: Forwards,
    uid: PodUid,
}

impl Forwards {
    /// Room for one; `None` when there is none.
    fn take(&self, uid: &PodUid) -> Option<Taken> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= FORWARDS_MAX {
            return None;
        }
        let of_pod = open.entry(uid.clone()).or_default();
        if *of_pod >= FORWARDS_PER_POD_MAX {
            return None;
        }
        *of_pod += 1;
        Some(Taken { forwards: self.clone(), uid: uid.clone() })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut open = self.forwards.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_pod) = open.get_mut(&self.uid) {
            *of_pod -= 1;
            if *of_pod == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// Forwards to one pod. Fewer than a node has, so that one pod does not take all places.
const FORWARDS_PER_POD_MAX: usize = 64;

/// Forwards of a node. Fewer than the streams that it grants, so that logs and commands find a place beside them.
const FORWARDS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let forwards = Forwards::default();
        let take = |pod: &str, count: usize| -> Vec<Taken> {
            (0..count).map_while(|_| forwards.take(&PodUid::new(pod))).collect()
        };
        let first = take("a", FORWARDS_MAX);
        assert_eq!(first.len(), FORWARDS_PER_POD_MAX);
        let second = take("b", FORWARDS_PER_POD_MAX);
        assert_eq!((second.len(), take("c", 1).len()), (FORWARDS_MAX - FORWARDS_PER_POD_MAX, 0));
        drop(first);
        assert_eq!(take("c", 1).len(), 1);
        drop(second);
        assert!(forwards.0.lock().unwrap().is_empty());
    }
}
