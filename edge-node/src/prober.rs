//! Looks at containers, as the core asks for it: requests, connections and commands, each with its time and its bound on what is read.
//!
//! It knows nothing of probes and hooks: a look goes in, how it went comes out, in the words of a kubelet.

mod dial;
mod exec;
mod grpc;
mod http;
mod tls;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use dunlin_edge_node_core::{
    check::{Check, Outcome, What},
    node::{CheckKey, CheckOrder},
};
use futures_util::FutureExt;
use rustls::ClientConfig;
use tokio::{sync::Semaphore, time::timeout};

use crate::sandbox::Doors;

/// Who looks; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Prober {
    places: Arc<Semaphore>,
    doors: Doors,
    tls: Arc<ClientConfig>,
}

impl Prober {
    /// One that opens commands at these doors.
    pub(crate) fn new(doors: Doors) -> Self {
        Self { places: Arc::new(Semaphore::new(LOOKS_MAX)), doors, tls: Arc::new(tls::config()) }
    }

    /// Does what is ordered. Its time begins when its turn has come.
    pub(crate) async fn look(self, order: CheckOrder) -> (CheckKey, Outcome) {
        let CheckOrder { key, id, check } = order;
        let looked = AssertUnwindSafe(async {
            let Ok(_place) = self.places.acquire().await else {
                return Outcome::Error("the node is shutting down".to_owned());
            };
            let within = Duration::from_millis(check.timeout_ms);
            let looked = match &check.what {
                What::Http(http) => timeout(within, http::get(http, &self.tls)).await,
                What::Tcp(target) => timeout(within, dial::look(target)).await,
                What::Grpc { target, service } => timeout(within, grpc::ask(target, service)).await,
                What::Exec { container, command } => {
                    timeout(within, exec::run(&self.doors.of(&id), (&key, &id, container), command)).await
                }
            };
            looked.unwrap_or_else(|_late| Outcome::Failure(late(&check)))
        });
        // Whoever asked waits for an answer in any case.
        let outcome = looked.catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Outcome::Error("the look panicked".to_owned()));
        (key, shortened(outcome))
    }
}

/// What a look says that took too long.
fn late(check: &Check) -> String {
    let within = if check.timeout_ms.is_multiple_of(1000) {
        format!("{}s", check.timeout_ms / 1000)
    } else {
        format!("{}ms", check.timeout_ms)
    };
    match &check.what {
        What::Http(http) => {
            let url = http::url(http);
            format!(
                "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )
        }
        What::Tcp(target) => format!("dial tcp {}: i/o timeout", target.shown),
        What::Grpc { .. } => format!("timeout: health rpc did not complete within {within}"),
        What::Exec { command, .. } => {
            let command = command.join(" ");
            format!("command timed out: \"{command}\" timed out after {within}")
        }
    }
}

/// Texts become events, which have a bound; the beginning says most.
fn shortened(outcome: Outcome) -> Outcome {
    let cut = |mut text: String| {
        let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text
    };
    match outcome {
        Outcome::Success => Outcome::Success,
        Outcome::Warning(text) => Outcome::Warning(cut(text)),
        Outcome::Failure(text) => Outcome::Failure(cut(text)),
        Outcome::Error(text) => Outcome::Error(cut(text)),
    }
}

/// Looks at a time: a node that boots with hundreds of pods asks all of them at once, and each takes a socket and a buffer.
const LOOKS_MAX: usize = 64;

/// Longest text of an outcome, so that an event holds it with a few words before it.
const TEXT_BYTES_MAX: usize = 960;

#[cfg(test)]
mod tests;
