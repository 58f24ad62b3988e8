//! `create service`.

use anyhow::Result;
use serde_json::Value;

use super::OutputArgs;
use crate::{
    builder::service::{ServiceType, service},
    failure::UsageError,
    resource::{self, Kind},
};

/// Options of `create service`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create service clusterip web --tcp=80:8080
  dunlin create service nodeport web --tcp=80 --node-port=30080
  dunlin create service externalname db --external-name=db.example.com
The service is of pods with the label app=NAME; `dunlin expose` makes one of a workload's pods.")]
pub(crate) struct Args {
    #[command(subcommand)]
    of: Of,
}

#[derive(Debug, clap::Subcommand)]
enum Of {
    /// At an address inside the cluster.
    #[command(name = "clusterip")]
    ClusterIp {
        #[command(flatten)]
        shared: Shared,
        /// The address; None means those of the pods.
        #[arg(long = "clusterip", value_name = "ADDRESS")]
        address: Option<String>,
    },
    /// At a port of every node.
    #[command(name = "nodeport")]
    NodePort {
        #[command(flatten)]
        shared: Shared,
        /// That port; the server chooses one when it is left out.
        #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        node_port: Option<u16>,
    },
    /// From outside the cluster.
    #[command(name = "loadbalancer")]
    LoadBalancer {
        #[command(flatten)]
        shared: Shared,
    },
    /// Another name for something elsewhere.
    #[command(name = "externalname")]
    ExternalName {
        #[command(flatten)]
        shared: Shared,
        /// Its name there.
        #[arg(long, value_name = "NAME")]
        external_name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Shared {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// PORT or PORT:TARGET; may be repeated.
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    tcp: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let made: Result<Value, UsageError> = match &self.of {
            Of::ClusterIp { shared, address } => {
                let of = ServiceType::ClusterIp { address: address.as_deref() };
                service(&shared.name, &of, &shared.tcp)
            }
            Of::NodePort { shared, node_port } => {
                service(&shared.name, &ServiceType::NodePort { port: *node_port }, &shared.tcp)
            }
            Of::LoadBalancer { shared } => service(&shared.name, &ServiceType::LoadBalancer, &shared.tcp),
            Of::ExternalName { shared, external_name } => {
                service(&shared.name, &ServiceType::ExternalName { name: external_name }, &shared.tcp)
            }
        };
        Ok((resource::find("services")?, made?))
    }

    pub(super) const fn output(&self) -> &OutputArgs {
        match &self.of {
            Of::ClusterIp { shared, .. }
            | Of::NodePort { shared, .. }
            | Of::LoadBalancer { shared }
            | Of::ExternalName { shared, .. } => &shared.output,
        }
    }
}
