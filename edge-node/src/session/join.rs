//! A machine becomes a node: makes its key, checks the coordinator against the token, and asks for a certificate.

use std::{path::PathBuf, time::Duration};

use dunlin_link::{
    NodeName,
    frame::Message,
    join::{JoinRequest, JoinToken, Joined},
    message::Refused,
};
use quinn::{Connection, VarInt};
use rcgen::CertificateParams;
use rustls_pki_types::CertificateDer;
use tracing::{info, warn};

use super::{
    connect::{ConnectError, Connected, describe},
    dial::Dial,
    identity::{Folder, Identity, IdentityError, Record},
    stream::{read_frame, write_head},
    tls::{authority_of, join_config},
    way::{Transport, Ways},
};

/// What joining takes.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// From the cluster's operator.
    pub token: JoinToken,
    /// `host:port` addresses of the coordinator to use instead of those in the token; empty for none.
    pub addresses: Vec<String>,
    /// What the node shall be called.
    pub node: NodeName,
    /// Where its identity is kept.
    pub state_dir: PathBuf,
    /// How the coordinator may be reached.
    pub transport: Transport,
}

/// Why a machine did not become a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The identity cannot be kept.
    #[error("failed to keep the node's identity")]
    Identity(#[from] IdentityError),
    /// The request cannot be made.
    #[error("failed to make the certificate request")]
    Request(#[from] rcgen::Error),
    /// There is no connection.
    #[error("failed to reach the coordinator")]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("the connection broke before the coordinator answered: {0}")]
    Broken(String),
    /// The coordinator says no; its own words.
    #[error("the coordinator refused: {0}")]
    Refused(String),
    /// The coordinator's answer makes no sense.
    #[error("the coordinator's answer is malformed")]
    Malformed,
}

/// Makes this machine a node of the token's cluster, and keeps its identity in the state folder. Joining again with the same folder
/// keeps the key.
///
/// # Errors
/// Why it did not become one.
pub async fn join(options: JoinOptions) -> Result<Identity, JoinError> {
    let JoinOptions { token, addresses, node, state_dir, transport } = options;
    let addresses = if addresses.is_empty() { token.addresses.clone() } else { addresses };
    let folder = Folder::of(&state_dir);
    let key = folder.key()?;
    let request = CertificateParams::default().serialize_request(&key)?;
    let tls = join_config(token.ca).map_err(ConnectError::from)?;
    let dial = Dial { tls, socket: None, tunables: None, plan: Ways::new(transport).plan() };
    let connected = connect(&dial, &addresses).await?;
    let connection = &connected.connection;
    let authority = authority(connection, &token).ok_or(JoinError::Malformed)?;
    let request = JoinRequest {
        token: token.id.clone(),
        secret: token.secret,
        node: node.clone(),
        certificate_request: request.der().to_vec(),
    };
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, ask(connection, &request)).await;
    let joined = asked.unwrap_or_else(|_| Err(JoinError::Broken("no answer in time".into())));
    connection.close(VarInt::from_u32(0), b"joined or refused");
    let Joined { chain, cluster_id } = joined?;
    let certificate = CertificateDer::from(chain.into_iter().next().ok_or(JoinError::Malformed)?);
    let record = Record { node, cluster_id, addresses, token: Some(token.id) };
    Ok(folder.keep(record, &key, certificate, authority)?)
}

/// Tries the addresses in turn, and says so: whoever joins a machine waits for it.
async fn connect(dial: &Dial, addresses: &[String]) -> Result<Connected, ConnectError> {
    let mut last = ConnectError::NoAddress;
    for address in addresses {
        info!(address, "joining the cluster");
        match dial.dial(address).await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "failed to reach the coordinator");
                last = error;
            }
        }
    }
    Err(last)
}

/// The authority that the token names, as the coordinator sent it.
fn authority(connection: &Connection, token: &JoinToken) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    authority_of(&chain, token.ca)
}

async fn ask(connection: &Connection, request: &JoinRequest) -> Result<Joined, JoinError> {
    let broken = |error: std::io::Error| match connection.close_reason() {
        Some(reason) => JoinError::Broken(describe(&reason)),
        None => JoinError::Broken(error.to_string()),
    };
    let (mut output, mut input) =
        connection.open_bi().await.map_err(|error| JoinError::Broken(describe(&error)))?;
    write_head(&mut output, request).await.map_err(broken)?;
    // Fails only when the coordinator has ended the stream, which reading shows.
    let _ = output.finish();
    let answer = read_frame(&mut input).await.map_err(broken)?;
    if answer.kind == Refused::KIND {
        let Refused { reason } = answer.decode().map_err(|_| JoinError::Malformed)?;
        return Err(JoinError::Refused(reason));
    }
    answer.decode().map_err(|_| JoinError::Malformed)
}

/// From the request to the answer; the coordinator commits in between.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
