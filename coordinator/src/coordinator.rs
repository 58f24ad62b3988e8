//! A running coordinator: opens its parts in order, keeps their tasks, and closes them in reverse.

use std::{
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dunlin_api::Status;
use dunlin_link::{join::JoinToken, message::Tunables, reference::Reference, restore::SignedRestore};
use dunlin_registry::Client;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    account_keys::{AccountKeys, AccountKeysError},
    artifacts::Artifacts,
    authn::Authenticator,
    backup::{
        self, Source,
        snapshots::{self, Snapshots},
    },
    compiling::Compiling,
    config::CoordinatorConfig,
    driver::{Driver, DriverError, DriverOptions},
    folders,
    founding::{self, FoundingError},
    members::Members,
    pki::{ClientCredentials, CodeSigner, Pki, PkiError, ServingCertificate},
    quic::{BindError, QuicServer, Services},
    server_time,
    service::{ApiService, Backups, BootstrapError, Clock, ClusterInfo, User},
    sessions::{ConnectedCluster, SESSIONS_MAX, SessionOptions, Sessions},
    store::{Absent, OpenError, Store, StoreError, StoreOptions},
    tokens::{NewToken, TokenError, Tokens},
};

/// A coordinator that serves. Dropping it without [`Coordinator::shutdown`] leaves its tasks to end with the runtime; nothing
/// acknowledged is lost by that.
#[derive(Debug)]
pub struct Coordinator {
    address: SocketAddr,
    advertised: Vec<String>,
    pki: Pki,
    tokens: Tokens,
    clock: Clock,
    store: Store,
    api: ApiService,
    stop: CancellationToken,
    server: JoinHandle<()>,
    driver: JoinHandle<Result<(), DriverError>>,
    /// Snapshots, compiling, and the sweeping of blobs.
    beside: JoinHandle<()>,
}

/// What a client needs to reach this coordinator as a user of its own.
#[derive(Clone, Debug)]
pub struct ClientAccess {
    /// `HOST:PORT`.
    pub address: String,
    /// Certificate of the cluster's authority.
    pub ca_pem: String,
    /// The user's certificate and key.
    pub credentials: ClientCredentials,
}

/// Why a coordinator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder cannot be made.
    #[error("failed to make the data folder `{path}`")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A restore into the folder was cut off.
    #[error(
        "a restore into `{path}` was cut off; repeat it: dunlin restore FILE --data-dir {path} --replace"
    )]
    RestoreUnfinished {
        /// Which.
        path: PathBuf,
    },
    /// The store cannot be opened.
    #[error("failed to open the store")]
    Store(#[from] OpenError),
    /// The store is damaged. Nothing is restored unasked: that would silently undo what was acknowledged since.
    #[error("the store cannot be used; {advice}")]
    StoreDamaged {
        /// What to do, with the command.
        advice: String,
        /// What is wrong.
        source: OpenError,
    },
    /// The store failed while starting.
    #[error("failed to begin a new term in the store")]
    Term(#[source] StoreError),
    /// It is not known which restore of the cluster this is.
    #[error("failed to tell which restore of the cluster this is")]
    Generation(#[from] backup::GenerationError),
    /// The first objects cannot be written.
    #[error("failed to make the system's namespaces")]
    Bootstrap(#[from] BootstrapError),
    /// Where the API is cannot be written into its Service.
    #[error("failed to tell pods where the API is")]
    Publish(#[source] Status),
    /// The store's certificate authority cannot be opened, is missing, or is another one.
    #[error("failed to tell which cluster this is")]
    Founding(#[from] FoundingError),
    /// The keys of service accounts cannot be opened.
    #[error("failed to open the keys of service accounts")]
    AccountKeys(#[from] AccountKeysError),
    /// The folder of modules cannot be opened.
    #[error("failed to open the folder of modules")]
    Artifacts(#[source] std::io::Error),
    /// The key that vouches for compiled code cannot be opened.
    #[error("failed to open the key for compiled code")]
    CodeSigner(#[source] PkiError),
    /// The folders of compiled code cannot be opened.
    #[error("failed to open the folders of compiled code")]
    Compiling(#[source] std::io::Error),
    /// What is configured of registries cannot be used.
    #[error(transparent)]
    Registries(dunlin_registry::config::ConfigError),
    /// The UDP port cannot be served.
    #[error("failed to serve QUIC")]
    Bind(#[from] BindError),
    /// The socket is gone.
    #[error("failed to read the address of the UDP socket")]
    Address(#[source] std::io::Error),
}

impl Coordinator {
    /// Opens everything under `config.data_dir` and serves. Returns once requests are answered.
    ///
    /// # Errors
    /// When a part cannot be opened; nothing is left running then.
    pub async fn start(config: CoordinatorConfig) -> Result<Self, StartError> {
        make_private(&config.data_dir)
            .map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
        if backup::is_unfinished(&config.data_dir) {
            return Err(StartError::RestoreUnfinished { path: config.data_dir });
        }
        let store = open_store(&config)?;
        let started = Self::start_on(store.clone(), config).await;
        if started.is_err() {
            // Whoever tries again, with another port for instance, must find the store free.
            store.close().await;
        }
        started
    }

    async fn start_on(store: Store, config: CoordinatorConfig) -> Result<Self, StartError> {
        let pki = founding::authority(&store, &config.data_dir).await?;
        let restore = backup::last_restore(&store, pki.cluster_id()).await?;
        founding::record(&store, &pki).await?;
        let clock = server_time::clock(&store, config.clock_trust).await.map_err(StartError::Term)?;
        let term = store.next_term().await.map_err(StartError::Term)?;
        let artifacts = Artifacts::open(&config.data_dir, store.clone()).map_err(StartError::Artifacts)?;
        let (found_linux, linux_images) = mpsc::channel(LINUX_IMAGES_MAX);
        let compiling = open_compiling(&config, &pki, &artifacts, found_linux)?;
        let tokens = Tokens::new(store.clone(), pki.digest());
        let api = ApiService::new(store.clone(), clock.clone());
        api.attach_network(config.service_network.clone());
        api.attach_account_keys(AccountKeys::open(&config.data_dir)?);
        api.bootstrap().await?;
        api.publish_authority(pki.certificate_pem()).await?;
        let driver = Driver::new(DriverOptions {
            store: store.clone(),
            service: api.clone(),
            clock: clock.clone(),
            node_grace: config.node_grace,
            content_key: pki.content_key(),
            pki: pki.clone(),
            controllers: config.controllers,
            linux_images,
        });
        let tunables = tunables(config.node_grace);
        let cluster = ConnectedCluster {
            dispatch: driver.dispatch(),
            intake: driver.intake(),
            artifacts: artifacts.clone(),
            compiling: compiling.clone(),
        };
        let options = session_options(&config, (&pki, restore), (term, clock.clone()));
        let sessions = Sessions::new(Arc::new(cluster), options);
        let services = services(&config, &pki, &tokens, sessions.clone(), api.clone())?;
        let server = QuicServer::bind(config.listen, tunables, services)?;
        let address = server.local_addr().map_err(StartError::Address)?;
        let advertised = advertised(config.advertise, address);
        api.publish_api(&reachable(&advertised), address.port()).await.map_err(StartError::Publish)?;
        api.attach_figures(Arc::new(store.clone()));
        api.attach_figures(Arc::new(sessions.clone()));
        api.attach_artifacts(artifacts.clone());
        api.attach_tokens(tokens.clone());
        api.attach_sessions(Arc::new(sessions.clone()));
        api.attach_logs(Arc::new(sessions.clone()));
        api.attach_streams(Arc::new(sessions));
        api.attach_cluster(ClusterInfo {
            id: pki.cluster_id().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: advertised.clone(),
        });
        let source = Source {
            store: store.clone(),
            data_dir: config.data_dir,
            cluster_id: pki.cluster_id().to_owned(),
        };
        let snapshots = Snapshots::new(config.snapshots, source.cluster_id.clone());
        api.attach_backups(Backups { source: source.clone(), snapshots: snapshots.clone() });
        let stop = CancellationToken::new();
        let snapshots = snapshots.run(source, stop.child_token());
        let beside = beside(snapshots, (compiling, artifacts), stop.child_token());
        let driver = tokio::spawn(driver.run(stop.child_token()));
        let server = tokio::spawn(server.run(stop.child_token()));
        Ok(Self { address, advertised, pki, tokens, clock, store, api, stop, server, driver, beside })
    }

    /// Ends when the coordinator can no longer work, for instance because its disk failed.
    pub async fn failed(&mut self) -> Option<DriverError> {
        match (&mut self.driver).await {
            Ok(Ok(())) | Err(_) => None,
            Ok(Err(error)) => Some(error),
        }
    }

    /// Stops accepting, lets what runs end, and closes the store.
    pub async fn shutdown(self) {
        self.api.drain();
        self.stop.cancel();
        let drained = async {
            let server = self.server.await;
            // A snapshot and code that are being made end unfinished, and a panic was told when it happened.
            let _ = self.beside.await;
            if !self.driver.is_finished() {
                let _ = self.driver.await;
            }
            server
        };
        match tokio::time::timeout(SHUTDOWN_GRACE, drained).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the server's task panicked"),
            Err(_) => tracing::warn!("some connections did not end in time"),
        }
        self.store.close().await;
    }

    /// Where the UDP port is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new client certificate for the cluster's administrator.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn admin_access(&self) -> Result<ClientAccess, PkiError> {
        let admin = User::new("admin", ["system:masters".to_owned()]);
        let credentials = self.pki.issue_user(&admin, self.clock.now_millis(), ADMIN_VALIDITY)?;
        let address = local_address(self.address).to_string();
        Ok(ClientAccess { address, ca_pem: self.pki.certificate_pem().to_owned(), credentials })
    }

    /// A token for one node to join with soon.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn join_token(&self, description: &str) -> Result<JoinToken, TokenError> {
        self.tokens
            .create(
                NewToken {
                    description: description.to_owned(),
                    lifetime: Some(JOIN_TOKEN_LIFETIME),
                    uses: Some(1),
                    addresses: self.advertised.clone(),
                    replaces: None,
                },
                self.clock.now_millis(),
            )
            .await
    }
}

/// The store, which a first start makes before the authority: one that is absent beside an authority was lost.
fn open_store(config: &CoordinatorConfig) -> Result<Store, StartError> {
    let absent = if Pki::exists(&config.data_dir) { Absent::Refuse } else { Absent::Make };
    let options = StoreOptions { absent, ..StoreOptions::new(config.data_dir.join("store")) };
    Store::open(&options).map_err(|error| store_error(error, config))
}

/// Says how to go on from a damaged store.
fn store_error(error: OpenError, config: &CoordinatorConfig) -> StartError {
    if !matches!(error, OpenError::Damaged { .. }) {
        return error.into();
    }
    let (data_dir, snapshots) = (config.data_dir.display(), &config.snapshots.folder);
    let whole = |path: &PathBuf| backup::inspect(path, None).is_ok();
    // Without its authority nobody knows which cluster this was, and whose snapshots to look for.
    let pki = Pki::load(&config.data_dir).ok().flatten();
    let listed = pki.map(|pki| snapshots::list(snapshots, pki.cluster_id())).unwrap_or_default();
    let newest = listed.into_iter().rev().find(|(path, _)| whole(path));
    let advice = match newest {
        Some((path, manifest)) => format!(
            "its newest snapshot is whole and of revision {}; to go on from that: dunlin restore {} --data-dir {data_dir} --replace",
            manifest.revision,
            path.display()
        ),
        None => format!(
            "there is no whole snapshot of the cluster in {}; to go on from a backup: dunlin restore FILE --data-dir {data_dir} --replace",
            snapshots.display()
        ),
    };
    StartError::StoreDamaged { advice, source: error }
}

/// The data holds secrets and keys: its folder is its owner's only, also one that an administrator made before.
pub(crate) fn make_private(dir: &Path) -> std::io::Result<()> {
    folders::make(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

/// Silence must be noticed within the grace that makes a node unreachable. Half of it is enough for a keep-alive, because QUIC sends
/// one that is not answered again, after a few round trips and then half as often each time, for the other half.
fn tunables(node_grace: Duration) -> Tunables {
    let keep_alive = (node_grace / 2).min(KEEP_ALIVE_MAX);
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Tunables {
        keep_alive_ms: millis(keep_alive),
        idle_timeout_ms: millis(node_grace),
        reconnect_ms_max: millis(RECONNECT_MAX),
    }
}

/// What tokens and `cluster-info` name: as configured, else the socket's address, else the host's name.
fn advertised(configured: Vec<String>, address: SocketAddr) -> Vec<String> {
    if !configured.is_empty() {
        return configured;
    }
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    vec![format!("{name}:{}", address.port())]
}

/// The addresses among what is advertised that pods on other machines can use.
fn reachable(advertised: &[String]) -> Vec<IpAddr> {
    let address = |text: &String| text.parse().ok().map(|address: SocketAddr| address.ip());
    let is_usable =
        |address: &IpAddr| !address.is_loopback() && !address.is_unspecified() && address.is_ipv4();
    advertised.iter().filter_map(address).filter(is_usable).collect()
}

/// What goes on beside all else, until `stop`.
fn beside(
    snapshots: impl Future<Output = ()> + Send + 'static,
    (compiling, artifacts): (Compiling, Artifacts),
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let tidy = artifacts.keep_tidy(stop.child_token());
        tokio::join!(snapshots, compiling.run(stop), tidy);
    })
}

/// What all sessions have in common.
fn session_options(
    config: &CoordinatorConfig,
    (pki, restore): (&Pki, Option<SignedRestore>),
    (term, clock): (u64, Clock),
) -> SessionOptions {
    SessionOptions {
        cluster_id: pki.cluster_id().to_owned(),
        restore,
        term,
        tunables: tunables(config.node_grace),
        node_bandwidth: config.node_bandwidth,
        sessions_max: SESSIONS_MAX,
        clock,
    }
}

/// What compiles modules for nodes.
fn open_compiling(
    config: &CoordinatorConfig,
    pki: &Pki,
    artifacts: &Artifacts,
    found_linux: mpsc::Sender<Reference>,
) -> Result<Compiling, StartError> {
    let signer = CodeSigner::open(&config.data_dir, pki).map_err(StartError::CodeSigner)?;
    let registries = config.registries.as_ref().filter(|_| config.compiler.is_some());
    let client = registries.map(Client::new).transpose().map_err(StartError::Registries)?;
    let registries = client.map(|client| (client, found_linux));
    Compiling::open(&config.data_dir, artifacts.clone(), signer, (config.compiler.clone(), registries))
        .map_err(StartError::Compiling)
}

/// Images for Linux that were found and that the driver has yet to hear of.
const LINUX_IMAGES_MAX: usize = 64;

/// What the port leads to.
fn services(
    config: &CoordinatorConfig,
    pki: &Pki,
    tokens: &Tokens,
    sessions: Sessions,
    api: ApiService,
) -> Result<Services, BindError> {
    let clock = api.clock().clone();
    let members = Members::new(pki.clone(), tokens.clone(), clock, config.node_certificate_lifetime);
    let certificate = ServingCertificate::new(pki, &names(&config.advertise, &config.tls_names))?;
    let authenticator = Authenticator::new(members.clone(), tokens.clone(), api.clone());
    Ok(Services::new(certificate, members, sessions, api, authenticator))
}

/// Names for the certificate of HTTPS: the machine's, those by which nodes know it, and others that were asked for.
fn names(advertised: &[String], others: &[String]) -> Vec<String> {
    let host = |address: &String| {
        let (host, _) = address.rsplit_once(':')?;
        Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
    };
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    std::iter::once(own).chain(advertised.iter().filter_map(host)).chain(others.iter().cloned()).collect()
}

/// A wildcard is no address to connect to; the machine itself reaches the port by loopback.
fn local_address(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()),
        IpAddr::V6(_) => SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), address.port()),
    }
}

/// Between two signs of life on a link that may cost something by the byte.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(25);

/// Full jitter up to this, so that a fleet does not come back as one.
const RECONNECT_MAX: Duration = Duration::from_secs(60);

/// For joins that this process itself starts.
const JOIN_TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// As long as kubeadm's administrator certificate; a new one is written at each start of the coordinator.
const ADMIN_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long connections may take to end when the coordinator stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
