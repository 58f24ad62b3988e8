//! Clients over QUIC speak as nodes do: frames are passed on after a look at each.

use dunlin_link::exec::{ExecEnd, Input, Output};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tracing::debug;

use super::super::frames::FrameReader;
use crate::{service::upgrade::Duplex, sessions::NodeStream};

/// Passes frames on until the node has told the end, or the client has left. Dropping the node's stream tells it of that.
pub(super) async fn relay(client: Box<dyn Duplex>, node: NodeStream) {
    let (from_client, mut to_client) = tokio::io::split(client);
    let (from_node, mut to_node) = tokio::io::split(node);
    tokio::select! {
        () = towards_node(FrameReader::new(from_client), &mut to_node) => debug!("a client left its stream"),
        () = towards_client(FrameReader::new(from_node), &mut to_client) => {}
    }
}

/// Ends when the client breaks its stream off.
async fn towards_node<R: AsyncRead + Unpin>(
    mut client: FrameReader<R>,
    node: &mut (impl AsyncWrite + Unpin),
) {
    loop {
        let input = match client.next().await {
            Ok(Some(frame)) => match Input::decode(&frame) {
                Ok(Some(input)) => input,
                Ok(None) => continue,
                Err(_) => return,
            },
            Ok(None) => break,
            Err(_) => return,
        };
        if send(node, input).await.is_err() {
            break;
        }
    }
    // No more input, or nobody who takes any: the rest is the node's. A client that leaves now stops reading.
    let _ = send(node, Input::StdinEnd).await;
    std::future::pending().await
}

async fn send(node: &mut (impl AsyncWrite + Unpin), input: Input) -> std::io::Result<()> {
    node.write_all(&input.encode()).await?;
    node.flush().await
}

/// Ends with the end that the node tells, or that is told in its place.
async fn towards_client<R: AsyncRead + Unpin>(
    mut node: FrameReader<R>,
    client: &mut (impl AsyncWrite + Unpin),
) {
    loop {
        let output = next_output(&mut node).await;
        let is_end = matches!(output, Output::End(_));
        let sent = async {
            client.write_all(&output.encode()).await?;
            client.flush().await
        };
        if sent.await.is_err() || is_end {
            // One that is gone needs no end.
            let _ = client.shutdown().await;
            return;
        }
    }
}

/// What a node tells next; its silence is an end too.
pub(super) async fn next_output<R: AsyncRead + Unpin>(node: &mut FrameReader<R>) -> Output {
    loop {
        let Ok(Some(frame)) = node.next().await else {
            return Output::End(ExecEnd::Failed(LOST.to_owned()));
        };
        match Output::decode(&frame) {
            Ok(Some(output)) => return output,
            Ok(None) => {}
            Err(error) => return Output::End(ExecEnd::Failed(error.to_string())),
        }
    }
}

/// What is said when a node's stream breaks off.
const LOST: &str = "the connection to the node was lost";
