//! `expose`: a Service of the pods of a workload, of a pod, or of another Service's pods.

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::{
    builder::{
        self, Override,
        service::{Exposed, Exposure},
    },
    document::{at, entries, items, text},
    failure::{Failures, UsageError},
    manifest::{self, FileArgs},
    resource,
    session::Session,
    workload,
};

use super::{
    create::{OutputArgs, create_object, print_outcome},
    target::{self, Found, ObjectArgs, Unnamed},
};

/// Options of `expose`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin expose deployment web --port=80 --target-port=8080
  dunlin expose pod hello --name=front
  dunlin expose service web --port=443 --name=web-https --type=NodePort")]
pub(crate) struct Args {
    /// TYPE NAME, or TYPE/NAME, of a pod, service, deployment, replicaset or replicationcontroller.
    #[arg(value_name = "RESOURCE", value_parser = resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// Port of the Service; those of the containers when it is left out.
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// Port of the pods, by number or name; the Service's own when it is left out.
    #[arg(long, value_name = "PORT")]
    target_port: Option<String>,
    /// Protocol; what the container's port says, else TCP.
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Name of the Service; that of what it exposes when it is left out.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Labels of the Service, KEY=VALUE,..; those of what it exposes when they are left out.
    #[arg(long, short = 'l', value_name = "LABELS")]
    labels: Option<String>,
    /// Labels of the pods, KEY=VALUE,..; those that the workload selects by when they are left out.
    #[arg(long, value_name = "LABELS")]
    selector: Option<String>,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName.
    #[arg(long = "type", value_name = "TYPE")]
    of: Option<String>,
    /// Address of the Service; None means those of the pods.
    #[arg(long, value_name = "ADDRESS")]
    cluster_ip: Option<String>,
    /// Address outside at which it is reached, too.
    #[arg(long, value_name = "ADDRESS")]
    external_ip: Option<String>,
    /// Address of the load balancer.
    #[arg(long, value_name = "ADDRESS")]
    load_balancer_ip: Option<String>,
    /// None or ClientIP.
    #[arg(long, value_name = "AFFINITY")]
    session_affinity: Option<String>,
    /// Fields, as JSON or YAML, that go over those of the Service.
    #[arg(long, value_name = "OBJECT")]
    overrides: Option<String>,
    /// How they go over them.
    #[arg(long, value_enum, default_value = "merge")]
    override_type: Override,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes a Service of everything named.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let objects = ObjectArgs::of_files(args.files.clone());
    let mut failures = Failures::default();
    for found in target::found(&args.resources, &objects, Unnamed::Refused, &session).await? {
        let Some(found) = failures.note(found)? else { continue };
        failures.note(expose(&args, &found, &session).await)?;
    }
    failures.into_result()
}

async fn expose(args: &Args, found: &Found, session: &Session) -> Result<()> {
    let kind = resource::find("services")?;
    let mut object = args.service(found)?;
    if let Some(overrides) = &args.overrides {
        let over = manifest::value("--overrides", overrides)?;
        object = builder::overridden(kind, object, over, args.override_type)?;
    }
    let created = create_object(kind, object, args.output.dry_run, "kubectl-expose", session).await?;
    print_outcome(&args.output, kind, &created, "exposed")
}

impl Args {
    fn service(&self, found: &Found) -> Result<Value> {
        let kind = found.target.kind;
        let source = &found.object;
        let kinds = ["Pod", "Service", "Deployment", "ReplicaSet", "ReplicationController"];
        if !kinds.contains(&kind.kind) {
            bail!("cannot expose a {}", workload::rollout::qualified(kind));
        }
        let words =
            |text: &str| builder::pairs(builder::comma_separated(text), "label").map_err(anyhow::Error::from);
        let selector = match &self.selector {
            Some(text) => words(text)?,
            None => selector(kind.kind, source)?,
        };
        let labels = match &self.labels {
            Some(text) => words(text)?,
            None => at(source, &["metadata", "labels"]).as_object().cloned().unwrap_or_default(),
        };
        let ports = self.ports(kind.kind, source)?;
        let exposure = Exposure {
            name: self.name.as_deref().unwrap_or(&found.target.name),
            labels,
            selector,
            ports: &ports,
            target_port: self.target_port.as_deref(),
            service_type: self.of.as_deref(),
            external_ip: self.external_ip.as_deref(),
            load_balancer_ip: self.load_balancer_ip.as_deref(),
            session_affinity: self.session_affinity.as_deref(),
            cluster_ip: self.cluster_ip.as_deref(),
        };
        Ok(exposure.object()?)
    }

    fn ports(&self, kind: &str, source: &Value) -> Result<Vec<Exposed>> {
        let known = known_ports(kind, source);
        let protocol = |port: u16| {
            let of_container =
                known.iter().find(|exposed| exposed.port == port).map(|exposed| exposed.protocol.clone());
            self.protocol.clone().or(of_container).unwrap_or_else(|| "TCP".to_owned())
        };
        let ports: Vec<u16> = match self.port.as_slice() {
            [] => known.iter().map(|exposed| exposed.port).collect(),
            ports => ports.to_vec(),
        };
        if ports.is_empty() {
            let why = "couldn't find port via --port flag or introspection";
            return Err(UsageError(why.to_owned()).into());
        }
        Ok(ports.into_iter().map(|port| Exposed { port, protocol: protocol(port) }).collect())
    }
}

/// Ports that a Service or the containers of pods declare.
fn known_ports(kind: &str, source: &Value) -> Vec<Exposed> {
    let exposed = |port: &Value, field: &str| {
        let protocol = match text(port, &["protocol"]) {
            "" => "TCP",
            protocol => protocol,
        };
        let number = port[field].as_u64().and_then(|number| u16::try_from(number).ok())?;
        Some(Exposed { port: number, protocol: protocol.to_owned() })
    };
    if kind == "Service" {
        return items(source, &["spec", "ports"]).iter().filter_map(|port| exposed(port, "port")).collect();
    }
    let spec = workload::pod_spec_path(kind).map_or(&Value::Null, |path| at(source, path));
    let containers = items(spec, &["containers"]).iter();
    containers
        .flat_map(|container| items(container, &["ports"]))
        .filter_map(|port| exposed(port, "containerPort"))
        .collect()
}

/// The labels by which a Service finds the pods.
fn selector(kind: &str, source: &Value) -> Result<Map<String, Value>> {
    let path: &[&str] = match kind {
        "Pod" => &["metadata", "labels"],
        "Service" | "ReplicationController" => &["spec", "selector"],
        _ => {
            if !items(source, &["spec", "selector", "matchExpressions"]).is_empty() {
                bail!(
                    "couldn't convert expressions - \"{}\" to map-based selector format",
                    workload::pod_selector(source)
                );
            }
            &["spec", "selector", "matchLabels"]
        }
    };
    let labels: Map<String, Value> =
        entries(source, path).map(|(key, value)| (key.to_owned(), json!(value))).collect();
    if labels.is_empty() {
        let what =
            if kind == "Pod" { "the pod has no labels and cannot be exposed" } else { "it selects no pods" };
        return Err(anyhow!("{what}; give the labels of pods with --selector"));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{known_ports, selector};
    use crate::builder::service::Exposed;

    #[test]
    fn ports_and_labels_come_from_what_is_exposed() {
        let ports = json!([{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]);
        let deployment = json!({"spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"ports": ports}]}}}});
        let exposed = |port, protocol: &str| Exposed { port, protocol: protocol.to_owned() };
        assert_eq!(known_ports("Deployment", &deployment), [exposed(80, "TCP"), exposed(53, "UDP")]);
        assert_eq!(json!(selector("Deployment", &deployment).unwrap()), json!({"a": "b"}));
        let service = json!({"spec": {"selector": {"c": "d"}, "ports": [{"port": 443, "protocol": "TCP"}]}});
        assert_eq!(known_ports("Service", &service), [exposed(443, "TCP")]);
        assert_eq!(json!(selector("Service", &service).unwrap()), json!({"c": "d"}));
        assert!(selector("Pod", &json!({})).is_err());
    }
}
