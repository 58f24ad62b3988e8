//! A client of an HTTP handler: requests on connections that stay open, one after the other on each.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, client::conn::http1::SendRequest, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

use crate::figures::Times;

/// One connection.
pub(crate) struct Client {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; what went wrong on it, the request says.
        drop(tokio::spawn(connection));
        Ok(Self { sender, host: address.to_string() })
    }

    /// Asks, reads the whole answer, and says how long that took.
    ///
    /// # Errors
    /// When the answer is no success.
    pub(crate) async fn ask(&mut self, path: &str) -> Result<Duration> {
        let request = Request::get(path).header("host", &self.host).body(Empty::new())?;
        let start = Instant::now();
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        ensure!(status.is_success(), "the answer was {status}");
        Ok(start.elapsed())
    }
}

/// Keeps `connections` busy for a time; answers how long each request took.
///
/// # Errors
/// When a request fails.
pub(crate) async fn flood(address: SocketAddr, connections: usize, duration: Duration) -> Result<Times> {
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let mut client = Client::connect(address).await?;
        clients.spawn(async move {
            let (mut times, start) = (Times::default(), Instant::now());
            while start.elapsed() < duration {
                times.push(client.ask("/").await?);
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut all = Times::default();
    while let Some(times) = clients.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

/// Asks once in each `pause` on one connection for a time.
///
/// # Errors
/// When a request fails.
pub(crate) async fn paced(client: &mut Client, pause: Duration, duration: Duration) -> Result<Times> {
    let (mut times, start) = (Times::default(), Instant::now());
    while start.elapsed() < duration {
        times.push(client.ask("/").await?);
        sleep(pause).await;
    }
    Ok(times)
}
