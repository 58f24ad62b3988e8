//! What every client command starts with: the selected context, the namespace in effect, and a connection to the API.

use std::{future::Future, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use dunlin_api::time::parse_duration;
use dunlin_link::rpc::Impersonation;

use crate::{api::Api, client::Client, context, manifest::NamespaceGiven};

/// Options of all commands that talk to a coordinator.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConnectionArgs {
    // The variable is read elsewhere: clap takes an option that it has found in the environment for one that was typed.
    /// Client configuration file, a kubeconfig (default: $DUNLIN_CONFIG, else ~/.config/dunlin/config, else kubectl's).
    #[arg(
        long,
        global = true,
        visible_alias = "kubeconfig",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Context to use instead of the current one.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    pub(crate) context: Option<String>,
    /// Namespace to work in.
    #[arg(long, short, global = true, value_name = "NAME", help_heading = "Connection")]
    pub(crate) namespace: Option<String>,
    /// Make requests as this user or service account (system:serviceaccount:NAMESPACE:NAME), as far as your roles allow it.
    #[arg(long = "as", global = true, value_name = "USER", help_heading = "Connection")]
    pub(crate) as_user: Option<String>,
    /// Group of that user; may be given several times.
    #[arg(long, global = true, value_name = "GROUP", help_heading = "Connection")]
    pub(crate) as_group: Vec<String>,
    /// Uid of that user.
    #[arg(long, global = true, value_name = "UID", help_heading = "Connection")]
    pub(crate) as_uid: Option<String>,
    /// Give up on the whole command after this long, for instance 30s; 0 means never.
    #[arg(long, global = true, value_name = "TIME", value_parser = crate::session::duration, default_value = "0",
          hide_default_value = true, help_heading = "Connection")]
    pub(crate) request_timeout: Duration,
}

impl ConnectionArgs {
    /// Whom requests are made as, when it is somebody else.
    ///
    /// # Errors
    /// When parts of a user are given, and no user.
    fn impersonation(&self) -> Result<Option<Impersonation>> {
        let Some(user) = self.as_user.clone().filter(|user| !user.is_empty()) else {
            ensure!(
                self.as_group.is_empty() && self.as_uid.is_none(),
                "--as-group and --as-uid are about the user of --as, which is not given"
            );
            return Ok(None);
        };
        let uid = self.as_uid.clone().unwrap_or_default();
        Ok(Some(Impersonation { user, groups: self.as_group.clone(), uid, extra: Vec::new() }))
    }
}

/// A command's view of the cluster.
#[derive(Debug)]
pub(crate) struct Session {
    /// The API.
    pub(crate) api: Api,
    /// The namespace asked for, else the context's.
    pub(crate) namespace: String,
    given: NamespaceGiven,
    /// `host:port` of the coordinator.
    pub(crate) server: String,
    /// Name of the context.
    pub(crate) context: String,
}

impl Session {
    /// Whether the namespace was asked for on the command line.
    pub(crate) const fn namespace_given(&self) -> NamespaceGiven {
        self.given
    }
}

/// Connects, runs a command to its end, and says goodbye to the coordinator.
///
/// # Errors
/// When no context is selected, the connection fails, or the command does.
pub(crate) fn run<F>(args: &ConnectionArgs, command: impl FnOnce(Session) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let impersonation = args.impersonation()?;
    let config = context::load(&context::locate(args.config.as_deref())?)?;
    let access = context::access(&config, args.context.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let client = Client::connect(&access).await?.acting_as(impersonation);
        let api = Api::new(client);
        let session = Session {
            api: api.clone(),
            namespace: args.namespace.clone().unwrap_or(access.namespace),
            given: if args.namespace.is_some() { NamespaceGiven::Yes } else { NamespaceGiven::No },
            server: access.server,
            context: access.context,
        };
        let timeout = args.request_timeout;
        let outcome = if timeout.is_zero() {
            command(session).await
        } else {
            let late = |_| Err(anyhow!("the command did not end within --request-timeout={timeout:?}"));
            tokio::time::timeout(timeout, command(session)).await.unwrap_or_else(late)
        };
        api.close().await;
        outcome
    })
}

/// Parses `1h30m`, `90s`, `500ms` or plain seconds.
///
/// # Errors
/// When the text is none of these.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("{text:?} is not a time such as 30s, 5m or 1h30m"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn durations() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        };
        check("0", Some(0));
        check("30", Some(30_000));
        check("1h30m", Some(5_400_000));
        check("500ms", Some(500));
        check("", None);
        check("5", Some(5_000));
        check("5x", None);
        check("m", None);
    }
}
