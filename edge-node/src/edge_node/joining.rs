//! How a machine comes to its identity: from its disk, or by a join token, tried until the coordinator has answered.

use std::{fs, time::Duration};

use dunlin_link::{NodeName, backoff::Backoff, join::JoinToken};

use super::StartError;
use crate::{
    config::{EdgeNodeConfig, JoinSource, Machine},
    session::{Identity, JoinError, JoinOptions, join},
};

/// What a machine begins with.
pub(super) struct Beginning {
    /// Who it is; `None` while it runs static pods alone.
    pub(super) identity: Option<Identity>,
    /// What it is to join with meanwhile.
    pub(super) to_join: Option<JoinOptions>,
    /// What it may join again with, when the coordinator refuses it.
    pub(super) again: Option<JoinOptions>,
}

/// Finds out what a machine begins with. One without static pods has nothing to do before it has joined, and waits for that.
///
/// # Errors
/// When there is nothing to do, or joining is refused.
pub(super) async fn begin(config: &EdgeNodeConfig) -> Result<Beginning, StartError> {
    let nobody = Beginning { identity: None, to_join: None, again: None };
    match standing(config)? {
        Standing::Node(identity, again) => Ok(Beginning { identity: Some(*identity), again, ..nobody }),
        Standing::Joining(options) if config.static_pods.is_some() => {
            tracing::info!("this machine is no node of a cluster yet: it runs static pods while it joins");
            Ok(Beginning { to_join: Some(options), ..nobody })
        }
        Standing::Joining(options) => {
            Ok(Beginning { identity: Some(join_at_last(options).await?), ..nobody })
        }
        Standing::Alone if config.static_pods.is_some() => {
            tracing::warn!(
                "this machine is no node of a cluster: it runs static pods only, until it is given a join token"
            );
            Ok(nobody)
        }
        Standing::Alone => Err(StartError::NotJoined),
    }
}

/// What a machine is at its start.
enum Standing {
    /// A node; with what it may join again with, when the coordinator refuses it.
    Node(Box<Identity>, Option<JoinOptions>),
    /// No node yet, with what to become one.
    Joining(JoinOptions),
    /// No node, and nothing to become one with.
    Alone,
}

/// What the state folder and the options say.
fn standing(config: &EdgeNodeConfig) -> Result<Standing, StartError> {
    let Some(identity) = Identity::load(&config.state_dir)? else {
        let token = token(config)?;
        let node = NodeName::new(&*config.node_name);
        return Ok(token.map_or(Standing::Alone, |token| Standing::Joining(options(config, token, node))));
    };
    let (node, asked) = (identity.node(), &config.node_name);
    // A name that nobody chose is no wish: the machine may have been renamed since it joined.
    if node.as_str() != asked && *asked != Machine::hostname() {
        tracing::warn!(
            %node, asked, state_dir = %config.state_dir.display(),
            "this state folder is that of another node, which runs now; for a node of the name asked for, give another state folder and a join token"
        );
    }
    // A node needs no token: one that cannot be read is no reason not to start.
    let token = token(config).ok().flatten();
    let token = token.filter(|token| {
        // It was removed from the cluster since, if it is refused: nothing new is said by the same token.
        if identity.joined_with(&token.id) {
            return false;
        }
        let ours = identity.trusts(token.ca);
        if !ours {
            tracing::warn!(
                token = %token.id,
                "the join token is ignored: it is of another cluster than this machine is a node of; to join that one, remove the state folder's `identity` first"
            );
        }
        ours
    });
    let again = token.map(|token| options(config, token, identity.node().clone()));
    Ok(Standing::Node(Box::new(identity), again))
}

/// Joins, and tries again for as long as nobody answers.
///
/// # Errors
/// When the coordinator refuses, or the identity cannot be kept.
pub(super) async fn join_at_last(options: JoinOptions) -> Result<Identity, JoinError> {
    let mut backoff = Backoff::new(RETRY_MAX);
    loop {
        match join(options.clone()).await {
            Err(error @ (JoinError::Connect(_) | JoinError::Broken(_))) => {
                let wait = backoff.next_delay(&mut rand::rng());
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    ?wait,
                    "failed to join the cluster; trying again"
                );
                tokio::time::sleep(wait).await;
            }
            result => return result,
        }
    }
}

fn options(config: &EdgeNodeConfig, token: JoinToken, node: NodeName) -> JoinOptions {
    let (addresses, state_dir) = (config.coordinators.clone(), config.state_dir.clone());
    JoinOptions { token, addresses, node, state_dir, transport: config.transport }
}

fn token(config: &EdgeNodeConfig) -> Result<Option<JoinToken>, StartError> {
    let text = match &config.join {
        None => return Ok(None),
        Some(JoinSource::Token(token)) => token.clone(),
        Some(JoinSource::File(path)) => {
            fs::read_to_string(path).map_err(|source| StartError::TokenFile { path: path.clone(), source })?
        }
    };
    Ok(Some(text.trim().parse()?))
}

/// The longest that a machine waits between attempts to join: someone may stand beside it.
const RETRY_MAX: Duration = Duration::from_secs(30);
