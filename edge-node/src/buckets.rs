//! Sees to it that the buckets of guests go with their namespaces.
//!
//! Asks the coordinator, whenever a session opens and then now and then, about the namespaces that the runner keeps buckets of, and tells
//! the runner what it says. What follows is the runner's (`local/keyvalue/namespaces.rs`); without a session nothing does.

use std::{io, path::PathBuf, time::Duration};

use dunlin_edge_node_core::sandbox::stream::{BucketNamespaces, BucketVerdicts};
use dunlin_link::{
    frame::encode,
    limits::{EXEC_FRAME_BYTES_MAX, NAMESPACES_ASKED_MAX},
};
use tokio::{io::AsyncWriteExt as _, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{agent::AgentHost, frames::read_frame, session::SessionHandle};

/// What it takes.
#[derive(Debug)]
pub(crate) struct BucketUpkeep {
    /// What another says of its namespaces is of no interest to what this one's have left.
    pub(crate) cluster: String,
    pub(crate) session: SessionHandle,
    /// The node's file of buckets, which the runner has open.
    pub(crate) file: PathBuf,
}

impl BucketUpkeep {
    /// Goes on until `shutdown`.
    pub(crate) async fn run(self, host: AgentHost, shutdown: CancellationToken) {
        let upkeep = async {
            let mut connection = None;
            loop {
                connection = Some(self.session.other_connection(connection).await);
                self.look_while_connected(&host, connection).await;
            }
        };
        tokio::select! {
            () = upkeep => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn look_while_connected(&self, host: &AgentHost, connection: Option<usize>) {
        while self.session.is_connected() {
            let pause = self.look(host).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "nothing was learned of the namespaces that have buckets");
                // A coordinator of an earlier release will not answer the next time either.
                if error.kind() == io::ErrorKind::Unsupported { EVERY } else { SOON }
            });
            // Whichever comes first; what is new is found out by whoever called.
            if timeout(pause, self.session.other_connection(connection)).await.is_ok() {
                return;
            }
        }
    }

    /// Answers when to look again.
    async fn look(&self, host: &AgentHost) -> io::Result<Duration> {
        if !self.file.exists() {
            return Ok(EVERY);
        }
        let opened = host.open_buckets(&self.file).await;
        let Some(mut runner) = opened.map_err(|refused| io::Error::other(refused.message))? else {
            return Ok(SOON);
        };
        let told = timeout(RUNNER_TIMEOUT, read_frame(&mut runner, EXEC_FRAME_BYTES_MAX)).await??;
        let told = told.ok_or(io::ErrorKind::UnexpectedEof)?;
        let BucketNamespaces { names } = told.decode().map_err(io::Error::other)?;
        for names in names.chunks(NAMESPACES_ASKED_MAX) {
            let answer = self.session.namespaces(names.to_vec()).await?;
            // What has pods here is not gone, whatever was so when the answer was made: a static pod's needs no object.
            let pods = host.pods().await.map_err(io::Error::other)?;
            let has_pods = |name: &str| pods.iter().any(|pod| pod.assignment.namespace == name);
            let said = names.iter().cloned().zip(answer.uids);
            let namespaces = said.filter(|(name, uid)| uid.is_some() || !has_pods(name)).collect();
            let (cluster, restore_generation) = (self.cluster.clone(), answer.restore_generation);
            let verdicts = BucketVerdicts { cluster, restore_generation, namespaces };
            runner.write_all(&encode(&verdicts)).await?;
        }
        runner.shutdown().await?;
        // It ends its side when it has acted on all.
        timeout(RUNNER_TIMEOUT, read_frame(&mut runner, EXEC_FRAME_BYTES_MAX)).await??;
        Ok(EVERY)
    }
}

/// How long a namespace's buckets may outlive it while a session is up.
const EVERY: Duration = Duration::from_secs(600);

/// The same after a look that failed, and while no runner runs, which begins with the next guest.
const SOON: Duration = Duration::from_secs(20);

/// How long the runner may take; removing what a namespace may keep takes a second on a slow disk.
const RUNNER_TIMEOUT: Duration = Duration::from_secs(60);
