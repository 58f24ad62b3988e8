//! `port-forward`: ports of this machine that lead to a pod's localhost, one stream of the API for each connection.

mod connection;
mod listening;
mod ports;

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};

use self::{
    listening::{Listeners, accept},
    ports::{Pair, Wanted},
};
use crate::{api, client, command::container, document::text, failure, resource, session::Session, terminal};

/// Options of `port-forward`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin port-forward web 8080:80                     localhost:8080 leads to port 80 of the pod
  dunlin port-forward deployment/web 8080 9090        to one of its pods, the same ports on both sides
  dunlin port-forward service/web 8443:https          to what the Service's port leads to, in one of its pods
  dunlin port-forward web :80                         a free port is taken here
  dunlin port-forward --address 0.0.0.0 web 8080:80   for other machines, too")]
pub(crate) struct Args {
    /// POD or pod/POD; or TYPE/NAME of a workload or Service, for one of its pods.
    #[arg(value_name = "POD")]
    pod: String,
    /// Ports: `[LOCAL:]REMOTE`, by number or, on the pod's side, by name.
    #[arg(value_name = "[LOCAL:]REMOTE", required = true)]
    ports: Vec<String>,
    /// Addresses to listen on, separated by commas: of this machine, or localhost.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,
}

/// The pod that ports lead to.
#[derive(Debug)]
struct Goal {
    session: Session,
    path: String,
    uid: String,
}

/// Forwards until it is interrupted, or the pod is gone.
///
/// # Errors
/// When there is no such pod, nothing can be listened on, or the pod goes.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let wanted: Vec<Wanted> = args.ports.iter().map(|word| Wanted::parse(word)).collect::<Result<_>>()?;
    let (pod, path) = container::pod(&args.pod, &session).await?;
    let service = service(&args.pod, &session).await?;
    let phase = text(&pod, &["status", "phase"]);
    if phase != "Running" {
        bail!("unable to forward port because pod is not running. Current status={phase}");
    }
    let pairs: Vec<Pair> =
        wanted.iter().map(|wanted| wanted.resolve(&pod, service.as_ref())).collect::<Result<_>>()?;
    let listeners = Listeners::open(&pairs, &args.address).await?;
    let uid = text(&pod, &["metadata", "uid"]).to_owned();
    let goal = Arc::new(Goal { session, path, uid });
    tokio::select! {
        ended = forward(&goal, listeners) => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

/// The Service, where the words name one.
async fn service(named: &str, session: &Session) -> Result<Option<Value>> {
    let Some((typed, name)) = named.split_once('/') else { return Ok(None) };
    let kind = resource::resolve_one(typed, &session.api).await?;
    if kind.kind != "Service" {
        return Ok(None);
    }
    session.api.get(&api::object(kind, &session.namespace, name), &[]).await.map(Some)
}

/// Ends with the first failure that concerns all connections.
async fn forward(goal: &Arc<Goal>, listeners: Listeners) -> Result<()> {
    let (accepted, mut connections) = mpsc::channel::<(TcpStream, Pair)>(1);
    let mut listening = JoinSet::new();
    for (listener, pair) in listeners.into_listeners() {
        listening.spawn(accept(listener, pair, accepted.clone()));
    }
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            Some((stream, pair)) = connections.recv(), if carried.len() < CONNECTIONS_MAX => {
                terminal::print(&format!("Handling connection for {}\n", pair.local))?;
                let goal = Arc::clone(goal);
                carried.spawn(async move { goal.carry(stream, pair).await });
            }
            Some(ended) = carried.join_next() => ended??,
            Some(ended) = listening.join_next() => ended??,
        }
    }
}

impl Goal {
    /// Carries one connection; that it fails is told, and fails the others only when the pod is gone.
    async fn carry(&self, stream: TcpStream, pair: Pair) -> Result<()> {
        let port = pair.remote.to_string();
        let carried = async {
            let opened =
                self.session.api.converse(&format!("{}/portforward", self.path), &[("ports", &port)]).await?;
            connection::carry(stream, opened).await;
            Ok(())
        };
        let Err(error) = carried.await else { return Ok(()) };
        if client::is_lost(&error) {
            return Err(error);
        }
        failure::print(&error.context(format!("an error occurred forwarding {} -> {port}", pair.local)));
        if self.is_gone().await? { Err(anyhow!("lost connection to pod")) } else { Ok(()) }
    }

    /// Whether the pod is not there any more, or is over.
    async fn is_gone(&self) -> Result<bool> {
        match self.session.api.get(&self.path, &[]).await {
            Ok(pod) => Ok(text(&pod, &["metadata", "uid"]) != self.uid
                || matches!(text(&pod, &["status", "phase"]), "Succeeded" | "Failed")),
            Err(error) if failure::is_reason(&error, "NotFound") => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Connections at a time; the others wait. An API connection has room for 128 requests.
const CONNECTIONS_MAX: usize = 100;
