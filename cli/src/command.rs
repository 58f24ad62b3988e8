//! The command line: every command is a variant here and a module of the same name below.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    failure,
    session::{self, ConnectionArgs},
    terminal,
};

mod annotate;
mod api_resources;
mod api_versions;
mod apply;
mod attach;
mod auth;
mod autoscale;
mod backup;
mod cluster_info;
mod completion;
mod config;
mod container;
mod coordinator;
mod cordon;
mod core_dump;
mod create;
mod debug;
mod delete;
mod describe;
mod dev;
mod diff;
mod doctor;
mod drain;
mod edge_node;
mod edit;
mod events;
mod exec;
mod explain;
mod explain_schedule;
mod expose;
mod get;
mod image;
mod kubeconfig;
mod label;
mod local;
mod logs;
mod metadata;
mod node;
mod patch;
mod port_forward;
mod push;
mod reasons;
mod replace;
mod restore;
mod rollout;
mod run;
mod runner;
mod scale;
mod set;
mod stay;
mod taint;
mod target;
mod top;
mod version;
mod wait;

/// Runs pods made of WebAssembly on fleets of small machines, with Kubernetes' manifests and words.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to connect and as whom.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Log more to stderr: -v for information, -vv for details.
    #[arg(short, long = "verbose", global = true, action = clap::ArgAction::Count, help_heading = "Connection")]
    pub(crate) verbosity: u8,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dunlin dev                            a cluster of three nodes on this machine
  dunlin push hello.wasm hello          store a module as dunlin.local/hello
  dunlin apply -f pod.yaml              create or change what a manifest declares
  dunlin get pods -A -o wide            see all pods
  dunlin logs hello -f                  follow what a pod prints";

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine, for trying things out.
    Dev(dev::Args),
    /// Run the coordinator.
    Coordinator(coordinator::Args),
    /// Run this machine as a node.
    EdgeNode(Box<edge_node::Args>),
    /// Look for what keeps this machine from being a good node.
    Doctor(doctor::Args),
    /// Host the WASM containers of a node; started by the node itself.
    #[command(hide = true)]
    Runner(runner::Args),
    /// Compile one module; started by the node itself.
    #[command(hide = true)]
    Compile(runner::CompilerArgs),
    /// See and restart the pods of the node on this machine, also without a coordinator.
    Local(local::Args),
    /// See, pull, load, save and remove the images of the node on this machine.
    Image(image::Args),
    #[command(flatten)]
    Client(ClientCommand),
}

impl Command {
    /// Runs the command to its end, and tells a person when it failed.
    pub(crate) fn run(self, connection: &ConnectionArgs, verbosity: u8) -> ExitCode {
        let outcome = match self {
            Self::Runner(args) => return runner::run(args, verbosity),
            Self::Compile(args) => return runner::compile(args),
            Self::Dev(args) => dev::run(&args, connection, verbosity),
            Self::Coordinator(args) => coordinator::run(args, verbosity),
            Self::EdgeNode(args) => edge_node::run(*args, verbosity),
            Self::Doctor(args) => doctor::run(args),
            Self::Local(args) => {
                terminal::start_logging(verbosity);
                local::run(args, connection)
            }
            Self::Image(args) => {
                terminal::start_logging(verbosity);
                image::run(args)
            }
            Self::Client(command) => {
                terminal::start_logging(verbosity);
                command.run(connection)
            }
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure::report(&error),
        }
    }
}

/// Commands that ask the coordinator, or only change the client's own files.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create or change objects so that they are as manifests declare them.
    Apply(apply::Args),
    /// Show what an apply would change.
    Diff(diff::Args),
    /// Create objects from manifests or options; objects that exist are errors.
    Create(create::Args),
    /// Ask who you are to the coordinator, and what you may do.
    Auth(auth::Args),
    /// Show one or many objects.
    Get(get::Args),
    /// Show all about an object: its state, why it is so, and its events.
    Describe(describe::Args),
    /// Change an object in an editor.
    Edit(edit::Args),
    /// Change fields of objects by a patch.
    Patch(patch::Args),
    /// Make objects be exactly as manifests say.
    Replace(replace::Args),
    /// Delete objects by name, by label or by manifest.
    Delete(delete::Args),
    /// Run a pod of an image, and stay with it if wanted.
    Run(run::Args),
    /// Make a Service of the pods of a workload.
    Expose(expose::Args),
    /// Set how many pods a workload is to have.
    Scale(scale::Args),
    /// Set images, resources, variables and more of a workload's pods.
    Set(set::Args),
    /// Let the number of a workload's pods follow their load.
    Autoscale(autoscale::Args),
    /// See, hold, repeat and take back rollouts.
    Rollout(rollout::Args),
    /// Print what containers wrote.
    Logs(logs::Args),
    /// Run a command in a container.
    Exec(exec::Args),
    /// See what a container writes from now on, and write to its stdin.
    Attach(attach::Args),
    /// Look into a pod or a node with a container that is made for it.
    Debug(debug::Args),
    /// Let ports of this machine lead to a pod's.
    PortForward(port_forward::Args),
    /// List events, the newest last.
    Events(events::Args),
    /// Show what nodes and pods use of processors and memory.
    Top(top::Args),
    /// Wait until objects are in a state.
    Wait(wait::Args),
    /// Let no new pods onto a node.
    Cordon(cordon::Args),
    /// Let pods onto a node again.
    Uncordon(cordon::Args),
    /// Close nodes and move their pods elsewhere.
    Drain(drain::Args),
    /// Set or remove taints of nodes.
    Taint(taint::Args),
    /// Set or remove labels of objects.
    Label(label::Args),
    /// Set or remove annotations of objects.
    Annotate(annotate::Args),
    /// Store a module, or the images of an archive, in the coordinator, to be used as images.
    Push(push::Args),
    /// Manage what lets machines join as nodes.
    Node(node::Args),
    /// Write all of the cluster's state into a file, keys included.
    Backup(backup::Args),
    /// Make a coordinator's data folder of a backup.
    Restore(restore::Args),
    /// Explain the fields of a kind.
    Explain(explain::Args),
    /// Print the core dump that a container left when it trapped, for tools that read core dumps of WebAssembly.
    #[command(name = "coredump")]
    CoreDump(core_dump::Args),
    /// Tell how the scheduler would place a pod, node by node.
    ExplainSchedule(explain_schedule::Args),
    /// List the kinds of objects that the coordinator serves.
    ApiResources(api_resources::Args),
    /// List the versions of all groups.
    ApiVersions(api_versions::Args),
    /// Show the versions of client and coordinator.
    Version(version::Args),
    /// Show where the coordinator is and how the cluster fares.
    ClusterInfo(cluster_info::Args),
    /// Show and change the client configuration.
    Config(config::Args),
    /// Print the current context for kubectl, or write it into a kubeconfig.
    Kubeconfig(kubeconfig::Args),
    /// Print a completion script for a shell.
    Completion(completion::Args),
}

impl ClientCommand {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// When it failed; what was printed already is marked so.
    fn run(self, connection: &ConnectionArgs) -> Result<()> {
        match self {
            Self::Apply(args) => session::run(connection, |session| apply::run(args, session)),
            Self::Diff(args) => diff::run(args, connection),
            Self::Create(args) => session::run(connection, |session| create::run(args, session)),
            Self::Auth(args) => session::run(connection, |session| auth::run(args, session)),
            Self::Get(args) => session::run(connection, |session| get::run(args, session)),
            Self::Describe(args) => session::run(connection, |session| describe::run(args, session)),
            Self::Edit(args) => session::run(connection, |session| edit::run(args, session)),
            Self::Patch(args) => session::run(connection, |session| patch::run(args, session)),
            Self::Replace(args) => session::run(connection, |session| replace::run(args, session)),
            Self::Delete(args) => session::run(connection, |session| delete::run(args, session)),
            Self::Run(args) => session::run(connection, |session| run::run(args, session)),
            Self::Expose(args) => session::run(connection, |session| expose::run(args, session)),
            Self::Set(args) => session::run(connection, |session| set::run(args, session)),
            Self::Drain(args) => session::run(connection, |session| drain::run(args, session)),
            Self::Taint(args) => session::run(connection, |session| taint::run(args, session)),
            Self::Scale(args) => session::run(connection, |session| scale::run(args, session)),
            Self::Autoscale(args) => session::run(connection, |session| autoscale::run(args, session)),
            Self::Rollout(args) => session::run(connection, |session| rollout::run(args, session)),
            Self::Logs(args) => session::run(connection, |session| logs::run(args, session)),
            Self::Exec(args) => session::run(connection, |session| exec::run(args, session)),
            Self::Attach(args) => session::run(connection, |session| attach::run(args, session)),
            Self::Debug(args) => session::run(connection, |session| debug::run(args, session)),
            Self::PortForward(args) => session::run(connection, |session| port_forward::run(args, session)),
            Self::Events(args) => session::run(connection, |session| events::run(args, session)),
            Self::Top(args) => session::run(connection, |session| top::run(args, session)),
            Self::Wait(args) => session::run(connection, |session| wait::run(args, session)),
            Self::Cordon(args) => {
                session::run(connection, |session| cordon::run(args, cordon::Wanted::Cordoned, session))
            }
            Self::Uncordon(args) => {
                session::run(connection, |session| cordon::run(args, cordon::Wanted::Schedulable, session))
            }
            Self::Label(args) => session::run(connection, |session| label::run(args, session)),
            Self::Annotate(args) => session::run(connection, |session| annotate::run(args, session)),
            Self::Push(args) => session::run(connection, |session| push::run(args, session)),
            Self::Node(args) => session::run(connection, |session| node::run(args, session)),
            Self::Backup(args) => backup::run(args, connection),
            Self::Restore(args) => restore::run(&args),
            Self::Explain(args) => session::run(connection, |session| explain::run(args, session)),
            Self::CoreDump(args) => session::run(connection, |session| core_dump::run(args, session)),
            Self::ExplainSchedule(args) => {
                session::run(connection, |session| explain_schedule::run(args, session))
            }
            Self::ApiResources(args) => session::run(connection, |session| api_resources::run(args, session)),
            Self::ApiVersions(args) => session::run(connection, |session| api_versions::run(args, session)),
            Self::Version(args) => version::run(&args, connection),
            Self::ClusterInfo(args) => session::run(connection, |session| cluster_info::run(args, session)),
            Self::Config(args) => config::run(args, connection),
            Self::Kubeconfig(args) => kubeconfig::run(args, connection),
            Self::Completion(args) => completion::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Arguments;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn typos_are_answered_with_suggestions() {
        let check = |line: &str, expected: &str| {
            let error = Arguments::try_parse_from(line.split_whitespace()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("dunlin aply -f x", "'apply'");
        check("dunlin get pods --namspace x", "'--namespace'");
        check("dunlin events --types=Foo", "[possible values: Normal, Warning]");
        check("dunlin apply --dry-run=cleint -f x", "'client'");
    }
}
