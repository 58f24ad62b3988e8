//! Runs the machine over one connection: reads, writes, acts, answers streams and keeps time, all in one task.

use std::{io, sync::Arc, time::Duration};

use dunlin_link::{
    bandwidth::{Budget, BytesPerSecond},
    session::{CloseCode, SessionError, node::NodeOutput},
};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tracing::{info, warn};

use super::{
    SessionHost, Shared,
    connect::{Connected, describe},
    identity::IdentityError,
    path,
    renew::{Begin, Verdict},
    streams, wall,
};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    /// The machine could not go on.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The coordinator closed the connection, or it broke; in words.
    #[error("the connection ended: {0}")]
    Connection(String),
    /// The coordinator wants to hear of the node more often than this connection, made before that was known, speaks.
    #[error("the coordinator asks for a shorter keep-alive; connecting again")]
    TooSilent,
    /// This machine's network changed, and the connection cannot come along; in words.
    #[error("this machine's network changed, and {0}")]
    NetworkChanged(&'static str),
    /// The coordinator says that the node's certificate has expired.
    #[error("the coordinator says that this node's certificate has expired; renewing it")]
    Expired,
    /// The connection was for a new certificate, which is there.
    #[error("connecting again with the renewed certificate")]
    Renewed,
    /// The coordinator wants nothing of this node; its own words.
    #[error("the coordinator refused: {0}")]
    Refused(String),
    /// There is no asking for a new certificate.
    #[error("failed to ask for a new certificate")]
    Identity(#[from] IdentityError),
    /// The agent cannot keep what it was told.
    #[error("failed to commit a change")]
    Commit(#[source] io::Error),
}

impl SessionEnd {
    /// Whether another connection is better tried at once.
    pub(super) const fn is_worth_another(&self) -> bool {
        matches!(self, Self::NetworkChanged(_) | Self::Renewed)
    }

    /// Whether the coordinator has said that it wants nothing of this node.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Session(SessionError::Refused(_)))
    }

    /// What to close the connection with.
    pub(super) fn close(&self) -> (CloseCode, String) {
        match self {
            Self::Session(error) => (error.close_code(), error.reason()),
            _ => (CloseCode::GoingAway, self.to_string()),
        }
    }
}

/// Runs one session until it ends, or a renewal before one.
pub(super) async fn drive<H: SessionHost>(
    shared: &Arc<Shared>,
    host: &Arc<H>,
    connected: &Connected,
) -> SessionEnd {
    let begin = shared.credentials.begin(shared.server_time.now());
    let end = run(shared, host, connected, begin).await;
    let verdict = if matches!(end, SessionEnd::Expired) { Verdict::Expired } else { Verdict::Other };
    shared.credentials.ended(begin, verdict);
    end
}

async fn run<H: SessionHost>(
    shared: &Arc<Shared>,
    host: &Arc<H>,
    connected: &Connected,
    begin: Begin,
) -> SessionEnd {
    let connection = &connected.connection;
    let (output, input) = match connection.open_bi().await {
        Ok(streams) => streams,
        Err(error) => return closed(&error),
    };
    // Before logs, however much of them waits.
    let _ = output.set_priority(CONTROL_PRIORITY);
    // A commit of the last session may still be under way; what the node holds is known only after it.
    drop(shared.committing.lock().await);
    match begin {
        Begin::Session => {
            shared.machine().handle_connected(shared.now(), wall(), host.applied(), host.unacked());
        }
        Begin::Renewal => match shared.credentials.request() {
            Ok(request) => {
                shared.machine().handle_connected_to_renew(shared.now(), host.applied(), request);
            }
            Err(error) => return error.into(),
        },
    }
    let run = Run { shared, host, connected, begin };
    run.shared.bells.ring();
    let ended = tokio::try_join!(
        // What came is acted on before more is sent: a connection that is given up at once takes no events along.
        biased;
        run.read(input),
        run.act(),
        run.write(output),
        run.answer_streams(),
        run.keep_time(),
        path::follow(&shared.network, connected),
        run.keep_certificate(),
    );
    match ended {
        // The stream's own error says less than why the connection closed.
        Err(SessionEnd::Connection(text)) => match connection.close_reason() {
            Some(reason) => closed(&reason),
            None => SessionEnd::Connection(text),
        },
        Err(end) => end,
        Ok((never, ..)) => match never {},
    }
}

/// What it means that the connection is closed, however early that is.
fn closed(reason: &ConnectionError) -> SessionEnd {
    if closes_with(reason, CloseCode::Expired) {
        SessionEnd::Expired
    } else if closes_with(reason, CloseCode::Refused) {
        SessionEnd::Refused(describe(reason))
    } else {
        SessionEnd::Connection(describe(reason))
    }
}

/// Whether the coordinator closed with this code.
fn closes_with(reason: &ConnectionError, code: CloseCode) -> bool {
    let code = VarInt::from_u32(code as u32);
    matches!(reason, ConnectionError::ApplicationClosed(close) if close.error_code == code)
}

struct Run<'a, H> {
    shared: &'a Arc<Shared>,
    host: &'a Arc<H>,
    connected: &'a Connected,
    begin: Begin,
}

/// The loops end only by an error.
pub(super) enum Never {}

impl<H: SessionHost> Run<'_, H> {
    async fn read(&self, mut input: RecvStream) -> Result<Never, SessionEnd> {
        loop {
            let chunk = input.read_chunk(READ_BYTES, true).await;
            let chunk = chunk.map_err(|error: ReadError| SessionEnd::Connection(error.to_string()))?;
            let Some(chunk) = chunk else {
                return Err(SessionEnd::Connection("the coordinator ended the control stream".into()));
            };
            self.shared.contacts.heard();
            self.shared.machine().handle_bytes(self.shared.now(), &chunk.bytes)?;
            self.shared.bells.ring();
        }
    }

    async fn write(&self, mut output: SendStream) -> Result<Never, SessionEnd> {
        loop {
            loop {
                // A statement of its own, so that the lock is free before the await.
                let next = self.shared.machine().poll_transmit(wall());
                let Some(bytes) = next else { break };
                let written = output.write_all(&bytes).await;
                written.map_err(|error: WriteError| SessionEnd::Connection(error.to_string()))?;
                self.shared.spend(bytes.len());
            }
            self.shared.bells.write.notified().await;
        }
    }

    async fn act(&self) -> Result<Never, SessionEnd> {
        loop {
            loop {
                let next = self.shared.machine().poll_output();
                let Some(output) = next else { break };
                self.act_on(output).await?;
                self.shared.bells.ring();
            }
            self.shared.bells.act.notified().await;
        }
    }

    async fn act_on(&self, output: NodeOutput) -> Result<(), SessionEnd> {
        match output {
            NodeOutput::Opened(welcome) if self.connected.is_too_silent(welcome.tunables) => {
                return Err(SessionEnd::TooSilent);
            }
            NodeOutput::Opened(welcome) => {
                self.shared.server_time.told(welcome.server_time);
                self.shared.credentials.changed.notify_one();
                let epoch = welcome.epoch;
                *self.shared.budget() = BytesPerSecond::of(&welcome.extensions).map(Budget::new);
                self.shared.contacts.opened(welcome.server_time);
                let before = self.host.applied().restore_generation;
                if welcome.restore_generation > before {
                    let generation = welcome.restore_generation;
                    warn!(
                        generation,
                        before, "the cluster was restored from a backup, as its authority has signed"
                    );
                }
                info!(
                    coordinator = self.connected.address,
                    carrier = %self.connected.way(),
                    term = epoch.term,
                    counter = epoch.counter,
                    "session opened"
                );
                self.shared.connection.send_replace(Some(self.connected.connection.clone()));
            }
            NodeOutput::Commit(change) => {
                let turn = Arc::clone(&self.shared.committing).lock_owned().await;
                let host = Arc::clone(self.host);
                // A task of its own: a commit that has begun ends, whatever becomes of the connection.
                let commit = tokio::spawn(async move {
                    let refusals = host.commit(change).await;
                    drop(turn);
                    refusals
                });
                let refusals = commit.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                let refusals = refusals.map_err(SessionEnd::Commit)?;
                self.shared.machine().committed(self.host.applied(), refusals);
            }
            NodeOutput::Acked(reports) => self.host.acked(reports),
            NodeOutput::StaticPodsWanted(uids) => self.host.static_pods_wanted(uids).await,
            NodeOutput::Renewed(chain) => {
                self.shared.credentials.renewed(chain).await;
                if self.begin == Begin::Renewal {
                    return Err(SessionEnd::Renewed);
                }
            }
            NodeOutput::Connect => {}
        }
        Ok(())
    }

    async fn answer_streams(&self) -> Result<Never, SessionEnd> {
        streams::serve(self.host, &self.connected.connection, self.shared).await;
        let reason = self.connected.connection.close_reason();
        Err(SessionEnd::Connection(reason.as_ref().map_or_else(String::new, describe)))
    }

    /// Renews the certificate when it is time by the coordinator's clock.
    async fn keep_certificate(&self) -> Result<Never, SessionEnd> {
        let Shared { credentials, server_time, .. } = &**self.shared;
        loop {
            if !self.shared.machine().is_open() {
                credentials.changed.notified().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(credentials.wait(server_time.now())) => {}
                () = credentials.changed.notified() => continue,
            }
            let request = credentials.request()?;
            self.shared.machine().renew(request);
            self.shared.bells.ring();
            let answered = tokio::time::timeout(RENEWAL_TIMEOUT, credentials.changed.notified()).await;
            if answered.is_err() || credentials.wait(server_time.now()).is_zero() {
                credentials.retry(server_time.now());
            }
        }
    }

    async fn keep_time(&self) -> Result<Never, SessionEnd> {
        loop {
            let timeout = self.shared.machine().poll_timeout();
            let expired = async {
                match timeout {
                    Some(at) => tokio::time::sleep(at.since(self.shared.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expired => {
                    self.shared.machine().handle_timeout(self.shared.now())?;
                    self.shared.bells.ring();
                }
                () = self.shared.bells.time.notified() => {}
            }
        }
    }
}

/// For a new certificate to come over a slow line; what is later is taken as well.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Before everything else on the connection.
const CONTROL_PRIORITY: i32 = 10;

/// Taken at a time.
const READ_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use quinn::ApplicationClose;

    use super::*;

    #[test]
    fn a_close_means_what_its_code_says() {
        let check = |code: CloseCode, expected: &str| {
            let error_code = VarInt::from_u32(code as u32);
            let close = ApplicationClose { error_code, reason: "no member".into() };
            let end = closed(&ConnectionError::ApplicationClosed(close));
            assert_eq!(format!("{end:?}"), expected);
        };
        check(CloseCode::Refused, "Refused(\"no member\")");
        check(CloseCode::Expired, "Expired");
        check(CloseCode::GoingAway, "Connection(\"no member\")");
    }
}
