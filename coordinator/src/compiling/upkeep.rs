//! Order among compilers and their code: which compilers are kept, and what of the code goes.

use std::{collections::HashSet, time::Duration};

use dunlin_link::Digest;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Compiling, Wanted, blocking};

impl Compiling {
    /// Puts in order what earlier coordinators left, and ends all compilations at `stop`; what they had is thrown away.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let this = self.clone();
        self.spawn(async move {
            if this.read_targets().await {
                this.sweep().await;
            }
            tokio::time::sleep(KEEP_COMPILER_AFTER).await;
            loop {
                if this.read_targets().await {
                    this.keep_compilers().await;
                }
                tokio::time::sleep(COMPILERS_KEPT_EVERY).await;
            }
        });
        stop.cancelled().await;
        self.shut_down().await;
    }

    /// Whether it is known what nodes run code of; what is too much goes another time.
    pub(super) async fn read_targets(&self) -> bool {
        let read = self.inner.targets.read(self.inner.artifacts.store()).await;
        if let Err(error) = &read {
            warn!(%error, "nodes could not be asked what they run code of");
        }
        read.is_ok()
    }

    /// Keeps this release's compiler, and the one before for as long as there are nodes of its release; with it goes what it made.
    pub(super) async fn keep_compilers(&self) {
        if let Err(error) = self.inner.compilers.keep(|target| self.inner.targets.has(target)).await {
            warn!(%error, "compilers could not be kept for nodes that stay behind the next release");
        }
        self.sweep().await;
    }

    /// Removes what is of no use any more.
    pub(super) async fn sweep(&self) {
        let targets = self.inner.compilers.targets().await;
        let this = self.clone();
        let swept = blocking(move || {
            let modules: HashSet<Digest> = this.inner.artifacts.stored()?.into_iter().collect();
            let is_wanted = |wanted: &Wanted| {
                let is_made = targets.as_ref().is_none_or(|targets| targets.contains(&wanted.target));
                (is_made || this.inner.targets.has(&wanted.target)) && modules.contains(&wanted.module)
            };
            this.inner.folder.sweep(is_wanted, CODE_BYTES_MAX)
        });
        match swept.await {
            Ok(gone) => {
                let mut jobs = self.jobs();
                gone.iter().for_each(|wanted| jobs.forget(wanted));
            }
            Err(error) => warn!(%error, "compiled code that is not needed any more could not be removed"),
        }
    }
}

/// A start is not held up by a copy of the executable, and a coordinator that is tried for a moment makes none.
const KEEP_COMPILER_AFTER: Duration = Duration::from_secs(60);

/// How often it is looked whether there are nodes of the release before: often enough for a file that lies there meanwhile.
const COMPILERS_KEPT_EVERY: Duration = Duration::from_secs(3600);

/// What compiled code may take of the disk.
const CODE_BYTES_MAX: u64 = 8 << 30;
