//! Services.

use serde_json::{Map, Value, json};

use crate::failure::UsageError;

/// A Service of pods with the label `app=NAME`, from options.
///
/// # Errors
/// [`UsageError`] when a port is malformed, or there is none where one is needed.
pub(crate) fn service(name: &str, of: &ServiceType<'_>, tcp: &[String]) -> Result<Value, UsageError> {
    let mut ports = tcp.iter().map(|text| port(text)).collect::<Result<Vec<Value>, UsageError>>()?;
    let labels = json!({"app": name});
    let mut spec = json!({"selector": labels, "type": of.name()});
    let needs_port = match of {
        ServiceType::ClusterIp { address } => {
            if let Some(address) = address {
                spec["clusterIP"] = (*address).into();
            }
            *address != Some("None")
        }
        ServiceType::NodePort { port } => {
            if let (Some(port), [first, ..]) = (port, ports.as_mut_slice()) {
                first["nodePort"] = (*port).into();
            }
            true
        }
        ServiceType::LoadBalancer => true,
        ServiceType::ExternalName { name } => {
            spec["externalName"] = (*name).into();
            false
        }
    };
    if needs_port && ports.is_empty() {
        return Err(UsageError("at least one tcp port specifier must be provided".to_owned()));
    }
    if !ports.is_empty() {
        spec["ports"] = ports.into();
    }
    Ok(json!({"metadata": {"name": name, "labels": labels}, "spec": spec}))
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServiceType<'a> {
    /// Inside the cluster, at an address of its own, this one if it is given; `None` means at those of the pods.
    ClusterIp {
        /// The address.
        address: Option<&'a str>,
    },
    /// At a port of every node.
    NodePort {
        /// That port.
        port: Option<u16>,
    },
    /// From outside.
    LoadBalancer,
    /// It stands for another name.
    ExternalName {
        /// That name.
        name: &'a str,
    },
}

impl ServiceType<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::ClusterIp { .. } => "ClusterIP",
            Self::NodePort { .. } => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName { .. } => "ExternalName",
        }
    }
}

/// `PORT` or `PORT:TARGET` as a port of a Service, named after what was typed.
fn port(text: &str) -> Result<Value, UsageError> {
    let (port, target) = text.split_once(':').unwrap_or((text, text));
    let number = port.parse::<u16>().ok().filter(|port| *port > 0);
    let number = number.ok_or_else(|| UsageError(format!("{port:?} is not a port between 1 and 65535")))?;
    let target = target_port(target)?;
    Ok(json!({"name": text.replace(':', "-"), "protocol": "TCP", "port": number, "targetPort": target}))
}

/// A port of pods: its number or name.
///
/// # Errors
/// [`UsageError`] for a number that is none.
pub(crate) fn target_port(text: &str) -> Result<Value, UsageError> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse::<u16>().ok().filter(|port| *port > 0);
        return number
            .map(Value::from)
            .ok_or_else(|| UsageError(format!("{text:?} is not a port between 1 and 65535")));
    }
    Ok(text.into())
}

/// A port that a workload shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exposed {
    /// What the Service listens on.
    pub(crate) port: u16,
    /// `TCP`, for instance.
    pub(crate) protocol: String,
}

/// What `expose` makes a Service of.
#[derive(Clone, Debug)]
pub(crate) struct Exposure<'a> {
    /// Name of the Service.
    pub(crate) name: &'a str,
    /// Labels of the Service.
    pub(crate) labels: Map<String, Value>,
    /// Labels of the pods.
    pub(crate) selector: Map<String, Value>,
    /// Its ports.
    pub(crate) ports: &'a [Exposed],
    /// Port of the pods; each port's own when it is left out.
    pub(crate) target_port: Option<&'a str>,
    /// `NodePort`, for instance.
    pub(crate) service_type: Option<&'a str>,
    /// Addresses outside at which it is also reached.
    pub(crate) external_ip: Option<&'a str>,
    /// Address of the load balancer.
    pub(crate) load_balancer_ip: Option<&'a str>,
    /// `ClientIP`, for instance.
    pub(crate) session_affinity: Option<&'a str>,
    /// Its address; `None` means those of the pods.
    pub(crate) cluster_ip: Option<&'a str>,
}

impl Exposure<'_> {
    /// The object.
    ///
    /// # Errors
    /// [`UsageError`] for a port that is none.
    pub(crate) fn object(&self) -> Result<Value, UsageError> {
        let several = self.ports.len() > 1;
        let mut ports = Vec::new();
        for (index, exposed) in self.ports.iter().enumerate() {
            let target = match self.target_port {
                Some(target) => target_port(target)?,
                None => exposed.port.into(),
            };
            let mut port = json!({"protocol": exposed.protocol, "port": exposed.port, "targetPort": target});
            if several {
                port["name"] = format!("port-{}", index + 1).into();
            }
            ports.push(port);
        }
        let mut spec = json!({"ports": ports, "selector": self.selector});
        let optional = [
            ("type", self.service_type),
            ("loadBalancerIP", self.load_balancer_ip),
            ("sessionAffinity", self.session_affinity),
            ("clusterIP", self.cluster_ip),
        ];
        for (field, value) in optional {
            if let Some(value) = value {
                spec[field] = value.into();
            }
        }
        if let Some(address) = self.external_ip {
            spec["externalIPs"] = json!([address]);
        }
        let mut metadata = json!({"name": self.name});
        if !self.labels.is_empty() {
            metadata["labels"] = self.labels.clone().into();
        }
        Ok(json!({"metadata": metadata, "spec": spec}))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Exposed, Exposure, ServiceType, service};

    // What kubectl 1.36 makes of the same options, without the empty status.
    #[test]
    fn services() {
        let check = |of: ServiceType<'_>, tcp: &str, mut spec: Value| {
            let tcp: Vec<String> = tcp.split_whitespace().map(str::to_owned).collect();
            spec["selector"] = json!({"app": "s"});
            let expected = json!({"metadata": {"name": "s", "labels": {"app": "s"}}, "spec": spec});
            assert_eq!(service("s", &of, &tcp).unwrap(), expected);
        };
        let port = |name: &str, port: u16, target: Value| json!({"name": name, "protocol": "TCP", "port": port, "targetPort": target});
        check(
            ServiceType::ClusterIp { address: None },
            "80:8080 443",
            json!({"type": "ClusterIP", "ports": [port("80-8080", 80, json!(8080)), port("443", 443, json!(443))]}),
        );
        check(
            ServiceType::ClusterIp { address: Some("None") },
            "",
            json!({"type": "ClusterIP", "clusterIP": "None"}),
        );
        check(
            ServiceType::LoadBalancer,
            "80:http",
            json!({"type": "LoadBalancer", "ports": [port("80-http", 80, json!("http"))]}),
        );
        let mut with_node_port = port("80", 80, json!(80));
        with_node_port["nodePort"] = json!(30001);
        check(
            ServiceType::NodePort { port: Some(30001) },
            "80",
            json!({"type": "NodePort", "ports": [with_node_port]}),
        );
        check(
            ServiceType::ExternalName { name: "a.example" },
            "",
            json!({"type": "ExternalName", "externalName": "a.example"}),
        );
    }

    #[test]
    fn mistakes() {
        let check = |tcp: &[&str], expected: &str| {
            let tcp: Vec<String> = tcp.iter().map(|&text| text.to_owned()).collect();
            let error = service("s", &ServiceType::LoadBalancer, &tcp).unwrap_err().to_string();
            assert_eq!(error, expected);
        };
        check(&[], "at least one tcp port specifier must be provided");
        check(&["a"], "\"a\" is not a port between 1 and 65535");
        check(&["80:70000"], "\"70000\" is not a port between 1 and 65535");
    }

    #[test]
    fn workloads_are_exposed() {
        let labels = json!({"app": "web"}).as_object().unwrap().clone();
        let tcp = |port| Exposed { port, protocol: "TCP".to_owned() };
        let exposure = Exposure {
            name: "web",
            labels: labels.clone(),
            selector: labels,
            ports: &[tcp(80)],
            target_port: Some("http"),
            service_type: None,
            external_ip: None,
            load_balancer_ip: None,
            session_affinity: None,
            cluster_ip: None,
        };
        let expected = json!({"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"selector": {"app": "web"},
            "ports": [{"protocol": "TCP", "port": 80, "targetPort": "http"}]}});
        assert_eq!(exposure.object().unwrap(), expected);
        let several = Exposure {
            labels: Map::new(),
            ports: &[tcp(80), tcp(443)],
            target_port: None,
            service_type: Some("NodePort"),
            external_ip: Some("1.2.3.4"),
            ..exposure
        };
        let expected = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "type": "NodePort",
            "externalIPs": ["1.2.3.4"], "ports": [
                {"name": "port-1", "protocol": "TCP", "port": 80, "targetPort": 80},
                {"name": "port-2", "protocol": "TCP", "port": 443, "targetPort": 443}]}});
        assert_eq!(several.object().unwrap(), expected);
    }
}
