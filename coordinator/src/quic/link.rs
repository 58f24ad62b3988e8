//! A node's connection: who it is, its control stream, the streams that are opened on it, and the modules that it fetches.

use std::{io, ops::Range, sync::Arc, time::Duration};

use dunlin_link::{NodeName, message::Busy, session::CloseCode};
use quinn::Connection;
use rand::Rng as _;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{Instrument, debug, error, info_span, warn};

use super::{
    Services, close,
    gate::{Gate, Passing},
    line::{Line, LineMeter},
    opening, peer,
    stream::write_head,
    transfers, turn_away, widen,
};
use crate::{
    members::Member,
    sessions::{self, SessionEnd, Sessions, WISHES_MAX, Wire},
};

/// Serves a node's connection until it ends.
pub(super) async fn serve(services: &Arc<Services>, line: &Line) {
    let connection = &line.connection;
    let member = match authorize(services, connection).await {
        Ok(member) => member,
        Err(reason) => return turn_away(connection, &reason),
    };
    let node = member.node();
    // A renewal takes no room for long.
    if !member.is_expired() && !services.sessions.has_room(node) {
        warn!(%node, "refused a session: there is no room for more");
        return send_away(connection).await;
    }
    let span = info_span!("session", %node);
    let meter = Arc::new(LineMeter::new(line.clone(), services.sessions.idle_timeout()));
    let wire = Wire { certificate_end: member.certificate_end(), meter };
    run(&services.sessions, line, &member, wire).instrument(span).await;
}

/// Answers a greeting with when to come again.
async fn send_away(connection: &Connection) {
    let said = async {
        let (mut output, _input) = connection.accept_bi().await?;
        // Drawn anew for each, so that those who were sent away together do not come back together.
        let retry_after_ms = rand::rng().random_range(RETRY_AFTER_MS);
        write_head(&mut output, &Busy { retry_after_ms }).await?;
        // The node closes once it has read that.
        let _ = connection.closed().await;
        io::Result::Ok(())
    };
    // Whether it was told or not, it comes again.
    let _ = tokio::time::timeout(CONTROL_TIMEOUT, said).await;
    close(connection, CloseCode::Busy, "the coordinator has no room for more sessions");
}

/// The node that this connection is, by its registered key.
async fn authorize(services: &Services, connection: &Connection) -> Result<Member, String> {
    let Some(peer) = peer(connection)? else {
        return Err("a session needs a node's certificate; join the cluster with a token first".into());
    };
    services.members.member(peer).await.map_err(|error| error.to_string())
}

async fn run(sessions: &Sessions, line: &Line, member: &Member, wire: Wire) {
    let connection = &line.connection;
    let node = member.node();
    let is_expired = member.is_expired();
    if !is_expired {
        widen(connection, NODE_STREAMS_MAX, RECEIVE_WINDOW);
    }
    let control = tokio::time::timeout(CONTROL_TIMEOUT, connection.accept_bi()).await;
    let Ok(Ok((output, input))) = control else {
        return close(connection, CloseCode::Protocol, "the node opened no control stream");
    };
    // Before logs and modules, however many of them are under way.
    let _ = output.set_priority(CONTROL_PRIORITY);
    let gate = Arc::new(Gate::new(sessions.node_bandwidth()));
    let output = Passing::new(output, &gate);
    let (wish, wishes) = mpsc::channel(WISHES_MAX);
    let end = tokio::select! {
        end = sessions::drive(sessions, member, (input, output), wish, wire) => end,
        () = serve_streams(sessions, connection, node, &gate), if !is_expired => SessionEnd::Finished,
        never = opening::serve(connection, node, &gate, wishes) => never,
    };
    let (code, reason) = end.close();
    warn!(error = &end as &dyn std::error::Error, "session ended");
    close(connection, code, &reason);
}

/// Answers the streams that the node opens beside the control stream: modules, code, tokens.
async fn serve_streams(sessions: &Sessions, connection: &Connection, node: &NodeName, gate: &Arc<Gate>) {
    let mut transfers = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((output, input)) = stream else { return std::future::pending().await };
                let (sessions, node, gate) = (sessions.clone(), node.clone(), Arc::clone(gate));
                transfers.spawn(async move {
                    if let Err(error) = transfers::serve(&sessions, &node, &gate, (output, input)).await {
                        debug!(%node, %error, "what a node fetches was not sent to its end");
                    }
                });
            }
            Some(done) = transfers.join_next() => {
                if let Err(panic) = done {
                    error!(%panic, "a transfer failed by a defect");
                }
            }
        }
    }
}

/// Priorities: control over status over exec over logs over artifacts.
const CONTROL_PRIORITY: i32 = 10;

/// Streams that a node may have open: its control stream, modules under way, code, a token, and a look at namespaces.
const NODE_STREAMS_MAX: u32 = 11;

/// Bytes of all its streams that wait to be read, while none is open whose reader may be slow.
pub(super) const RECEIVE_WINDOW: u32 = 1 << 20;

/// When a node for which there is no room shall come again.
const RETRY_AFTER_MS: Range<u64> = 15_000..60_000;

/// From the end of the handshake to the control stream.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(15);
