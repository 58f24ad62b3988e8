//! `config`: shows and changes the client configuration; asks no coordinator.

use anyhow::Result;
use clap::Subcommand;

use crate::{
    context::{self, kubeconfig::Kubeconfig},
    failure::UsageError,
    session::ConnectionArgs,
    tabs::{self, Layout},
    terminal,
};

/// Options of `config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the configuration, certificates and keys left out.
    View {
        /// Print certificates and keys too.
        #[arg(long)]
        raw: bool,
    },
    /// List contexts; the current one has a star.
    GetContexts,
    /// Print the name of the current context.
    CurrentContext,
    /// Make a context the current one.
    UseContext {
        /// Its name.
        name: String,
    },
    /// Change a context: `dunlin config set-context --current -n demo` sets the namespace of later commands.
    SetContext {
        /// Its name.
        #[arg(required_unless_present = "current")]
        name: Option<String>,
        /// The current context.
        #[arg(long, conflicts_with = "name")]
        current: bool,
    },
    /// Remove a context, with its cluster and user if no other context needs them.
    DeleteContext {
        /// Its name.
        name: String,
    },
}

/// Runs the subcommand.
pub(crate) fn run(args: Args, connection: &ConnectionArgs) -> Result<()> {
    let path = context::locate(connection.config.as_deref())?;
    let mut config = context::load(&path)?;
    let said = match args.command {
        ConfigCommand::View { raw } => {
            let shown = if raw { config } else { without_secrets(config) };
            return Ok(terminal::print(&serde_norway::to_string(&shown)?)?);
        }
        ConfigCommand::GetContexts => return Ok(terminal::print(&contexts(&config))?),
        ConfigCommand::CurrentContext if config.current_context.is_empty() => {
            return Err(UsageError("current-context is not set".to_owned()).into());
        }
        ConfigCommand::CurrentContext => {
            return Ok(terminal::print(&format!("{}\n", config.current_context))?);
        }
        ConfigCommand::UseContext { name } => {
            exists(&config, &name)?;
            config.current_context.clone_from(&name);
            format!("Switched to context {name:?}.\n")
        }
        ConfigCommand::SetContext { name, .. } => {
            let name = name.unwrap_or_else(|| config.current_context.clone());
            set_namespace(&mut config, &name, connection.namespace.as_deref())?;
            format!("Context {name:?} modified.\n")
        }
        ConfigCommand::DeleteContext { name } => {
            exists(&config, &name)?;
            delete(&mut config, &name);
            format!("deleted context {name} from {}\n", path.display())
        }
    };
    context::save(&path, &config)?;
    Ok(terminal::print(&said)?)
}

fn without_secrets(mut config: Kubeconfig) -> Kubeconfig {
    let hide = |field: &mut Option<String>| {
        if field.is_some() {
            *field = Some("DATA+OMITTED".to_owned());
        }
    };
    config.clusters.iter_mut().for_each(|cluster| hide(&mut cluster.value.authority_data));
    for user in &mut config.users {
        hide(&mut user.value.certificate_data);
        hide(&mut user.value.key_data);
    }
    config
}

fn contexts(config: &Kubeconfig) -> String {
    let mut rows = "CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n".to_owned();
    for entry in &config.contexts {
        let star = if entry.name == config.current_context { "*" } else { "" };
        let context = &entry.value;
        let namespace = context.namespace.as_deref().unwrap_or_default();
        rows.push_str(&format!(
            "{star}\t{}\t{}\t{}\t{namespace}\n",
            entry.name, context.cluster, context.user
        ));
    }
    tabs::align(&rows, Layout::TABLE)
}

fn exists(config: &Kubeconfig, name: &str) -> Result<()> {
    match config.context(name) {
        Some(_) => Ok(()),
        None => {
            let known: Vec<&str> = config.contexts.iter().map(|context| context.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(UsageError(format!("no context exists with the name: {name:?}; there are: {known}")).into())
        }
    }
}

fn set_namespace(config: &mut Kubeconfig, name: &str, namespace: Option<&str>) -> Result<()> {
    exists(config, name)?;
    let Some(namespace) = namespace else {
        return Err(UsageError("nothing to set; give -n NAMESPACE".to_owned()).into());
    };
    for entry in config.contexts.iter_mut().filter(|entry| entry.name == name) {
        entry.value.namespace = Some(namespace.to_owned());
    }
    Ok(())
}

/// Removes a context and what only it used.
fn delete(config: &mut Kubeconfig, name: &str) {
    config.contexts.retain(|entry| entry.name != name);
    let contexts = &config.contexts;
    config.clusters.retain(|entry| contexts.iter().any(|context| context.value.cluster == entry.name));
    config.users.retain(|entry| contexts.iter().any(|context| context.value.user == entry.name));
    if config.current_context == name {
        config.current_context.clear();
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{contexts, delete, set_namespace};
    use crate::context::kubeconfig::Kubeconfig;

    fn config() -> Kubeconfig {
        serde_norway::from_str(
            "{current-context: a, extra: kept, clusters: [{name: c, cluster: {server: 'quic://x:1'}}], users: \
             [{name: u, user: {}}, {name: v, user: {}}], contexts: [{name: a, context: {cluster: c, user: u}}, \
             {name: b, context: {cluster: c, user: v, namespace: demo}}]}",
        )
        .unwrap()
    }

    #[test]
    fn listing() {
        expect![[r"
            CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE
            *         a      c         u          
                      b      c         v          demo
        "]]
        .assert_eq(&contexts(&config()));
    }

    #[test]
    fn changing() {
        let mut config = config();
        set_namespace(&mut config, "a", Some("demo")).unwrap();
        assert_eq!(config.context("a").unwrap().namespace.as_deref(), Some("demo"));
        assert!(
            set_namespace(&mut config, "z", Some("demo"))
                .unwrap_err()
                .to_string()
                .contains("there are: a, b")
        );

        delete(&mut config, "a");
        assert_eq!(config.current_context, "");
        assert_eq!((config.clusters.len(), config.users.len()), (1, 1));
        assert!(serde_norway::to_string(&config).unwrap().contains("extra: kept"));
    }
}
