//! Channels over WebSocket (`v4.channel.k8s.io`): two for each port, for bytes and for what went wrong, by the first byte of a message. Each
//! begins with the port's number. A port is connected to at once, and once.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Forwarder,
    carry::{Gone, Inlet, Outlet, PIECES_MAX, Told, carry},
};
use crate::service::{
    spdy::PIECE_BYTES_MAX,
    upgrade::Duplex,
    websocket::{self, Incoming, Message, Outgoing},
};

/// Speaks until all connections are over, or the client leaves.
pub(super) async fn talk(client: Box<dyn Duplex>, ports: Vec<u16>, forwarder: Forwarder) {
    let (sink, mut stream) = websocket::server(client).await.split();
    let (told, messages) = mpsc::channel(MESSAGES_MAX);
    let writer = AbortOnDropHandle::new(tokio::spawn(write(sink, messages)));
    let mut connections = JoinSet::new();
    let mut inlets = Vec::with_capacity(ports.len());
    for (channel, port) in (0..=u8::MAX).step_by(2).zip(ports) {
        let (pieces, bytes) = mpsc::channel(PIECES_MAX);
        inlets.push(pieces);
        let outlet = Channel { data: channel, told: told.clone() };
        let forwarder = forwarder.clone();
        connections.spawn(async move {
            for number in [outlet.data, outlet.error()] {
                outlet.send(number, &port.to_le_bytes()).await?;
            }
            let inlet = Inlet { bytes, left: CancellationToken::new() };
            carry(&forwarder, port, inlet, &outlet).await
        });
    }
    drop(told);
    tokio::select! {
        () = take(&mut stream, &inlets) => return,
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
    let farewell = async {
        if let Ok(Ok(mut sink)) = writer.await {
            sink.send(Message::Close(Some(websocket::done()))).await?;
            while let Some(Ok(_)) = stream.next().await {}
        }
        Ok::<(), websocket::Error>(())
    };
    // Neither a client that is gone nor one that never answers is waited for.
    let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
}

/// Takes what the client says; ends when it has left.
async fn take(client: &mut Incoming, inlets: &[mpsc::Sender<Bytes>]) {
    while let Some(Ok(message)) = client.next().await {
        let Message::Binary(mut bytes) = message else { continue };
        let Some(&channel) = bytes.first() else { continue };
        // What is said on the channel for errors means nothing.
        let Some(inlet) = inlets.get(usize::from(channel / 2)).filter(|_| channel % 2 == 0) else { continue };
        let mut rest = bytes.split_off(1);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES_MAX));
            // Of a connection that is over nothing is wanted any more.
            let _ = inlet.send(piece).await;
        }
    }
}

/// Sends what is told, and looks at a client of which nothing is heard. Answers the way there once all was told.
async fn write(
    mut sink: Outgoing,
    mut messages: mpsc::Receiver<Message>,
) -> Result<Outgoing, websocket::Error> {
    let mut look = interval(PING_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.reset();
    loop {
        let message = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => message,
                None => return Ok(sink),
            },
            _ = look.tick() => Message::Ping(Bytes::new()),
        };
        sink.send(message).await?;
    }
}

/// The two channels of a port.
struct Channel {
    data: u8,
    told: mpsc::Sender<Message>,
}

impl Channel {
    const fn error(&self) -> u8 {
        self.data + 1
    }

    async fn send(&self, channel: u8, bytes: &[u8]) -> Result<(), Gone> {
        let message = Message::binary([&[channel], bytes].concat());
        self.told.send(message).await.map_err(|_| Gone)
    }
}

impl Outlet for Channel {
    async fn tell(&self, told: Told) -> Result<(), Gone> {
        match told {
            Told::Data(bytes) => self.send(self.data, &bytes).await,
            Told::Error(why) => self.send(self.error(), why.as_bytes()).await,
            // There is no word for it. When all are over the WebSocket is closed.
            Told::DataEnd | Told::Over => Ok(()),
        }
    }
}

/// Messages that wait for a client that does not read.
const MESSAGES_MAX: usize = 16;

/// How often a client of which nothing is heard is looked at.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a client may take to take the end.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
