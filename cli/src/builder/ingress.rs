//! Ingresses of rules in one line each: `HOST/PATH=SERVICE:PORT[,tls[=SECRET]]`.

use serde_json::{Map, Value, json};

use crate::failure::UsageError;

/// What an Ingress is made of.
#[derive(Clone, Debug)]
pub(crate) struct Ingress<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Name of its class.
    pub(crate) class: Option<&'a str>,
    /// `SERVICE:PORT` for what no rule fits.
    pub(crate) default_backend: Option<&'a str>,
    /// The rules.
    pub(crate) rules: &'a [String],
    /// Annotations.
    pub(crate) annotations: Map<String, Value>,
}

struct Rule<'a> {
    host: &'a str,
    path: &'a str,
    backend: Value,
    tls: Option<Option<&'a str>>,
}

impl Ingress<'_> {
    /// The object.
    ///
    /// # Errors
    /// [`UsageError`] when there is neither a rule nor a backend, or one of them is malformed.
    pub(crate) fn object(&self) -> Result<Value, UsageError> {
        if self.rules.is_empty() && self.default_backend.is_none() {
            return Err(UsageError(
                "not enough information provided: every ingress has to either specify a default-backend (which catches all \
                 traffic) or a list of rules (which catch specific paths)"
                    .to_owned(),
            ));
        }
        let mut spec = json!({});
        if let Some(class) = self.class {
            spec["ingressClassName"] = class.into();
        }
        if let Some(text) = self.default_backend {
            let backend = backend(text);
            spec["defaultBackend"] = backend.ok_or_else(|| {
                UsageError("default-backend should be in format servicename:serviceport".to_owned())
            })?;
        }
        let rules =
            self.rules.iter().map(|text| rule(text)).collect::<Result<Vec<Rule<'_>>, UsageError>>()?;
        let tls = certificates(&rules);
        if !tls.is_empty() {
            spec["tls"] = tls.into();
        }
        if !rules.is_empty() {
            spec["rules"] = by_host(&rules).into();
        }
        let mut metadata = json!({"name": self.name});
        if !self.annotations.is_empty() {
            metadata["annotations"] = self.annotations.clone().into();
        }
        Ok(json!({"metadata": metadata, "spec": spec}))
    }
}

/// A rule for each host, with all its paths, in the order in which the hosts come first.
fn by_host(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut hosts: Vec<(&str, Vec<Value>)> = Vec::new();
    for rule in rules {
        let exact = rule.path.strip_suffix('*');
        let (path, how) = exact.map_or((rule.path, "Exact"), |path| (path, "Prefix"));
        let path = json!({"path": path, "pathType": how, "backend": rule.backend});
        match hosts.iter_mut().find(|(host, _)| *host == rule.host) {
            Some((_, paths)) => paths.push(path),
            None => hosts.push((rule.host, vec![path])),
        }
    }
    let one = |(host, paths): (&str, Vec<Value>)| {
        let mut rule = json!({"http": {"paths": paths}});
        if !host.is_empty() {
            rule["host"] = host.into();
        }
        rule
    };
    hosts.into_iter().map(one).collect()
}

/// Which hosts are served with which certificate; none is named for the default one.
fn certificates(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut secrets: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
    for rule in rules.iter().filter(|rule| !rule.host.is_empty()) {
        let Some(secret) = rule.tls else { continue };
        match secrets.iter_mut().find(|(known, _)| *known == secret) {
            Some((_, hosts)) if hosts.contains(&rule.host) => {}
            Some((_, hosts)) => hosts.push(rule.host),
            None => secrets.push((secret, vec![rule.host])),
        }
    }
    let one = |(secret, hosts): (Option<&str>, Vec<&str>)| match secret {
        Some(secret) => json!({"hosts": hosts, "secretName": secret}),
        None => json!({"hosts": hosts}),
    };
    secrets.into_iter().map(one).collect()
}

fn rule(text: &str) -> Result<Rule<'_>, UsageError> {
    let parsed = (|| {
        let (place, rest) = text.split_once('=')?;
        let slash = place.find('/')?;
        let (host, path) = place.split_at(slash);
        let (service, tls) = rest.split_once(',').map_or((rest, None), |(service, tls)| (service, Some(tls)));
        let tls = match tls {
            None => None,
            Some("tls") => Some(None),
            Some(other) => Some(Some(other.strip_prefix("tls=")?)),
        };
        Some(Rule { host, path, backend: backend(service)?, tls })
    })();
    parsed.ok_or_else(|| {
        UsageError(format!(
            "rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
        ))
    })
}

fn backend(text: &str) -> Option<Value> {
    let (service, port) =
        text.split_once(':').filter(|(service, port)| !service.is_empty() && !port.is_empty())?;
    let port = match port.parse::<u16>() {
        Ok(number) => json!({"number": number}),
        Err(_) => json!({"name": port}),
    };
    Some(json!({"service": {"name": service, "port": port}}))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::Ingress;

    fn made(rules: &[&str], default_backend: Option<&str>) -> Result<Value, String> {
        let rules: Vec<String> = rules.iter().map(|&rule| rule.to_owned()).collect();
        let ingress =
            Ingress { name: "i", class: None, default_backend, rules: &rules, annotations: Map::new() };
        ingress.object().map(|object| object["spec"].clone()).map_err(|error| error.to_string())
    }

    // What kubectl 1.36 makes of the same options, without the empty status.
    #[test]
    fn rules() {
        let backend = |name: &str, port: Value| json!({"service": {"name": name, "port": port}});
        let path = |path: &str, how: &str, backend: Value| json!({"path": path, "pathType": how, "backend": backend});
        assert_eq!(
            made(&["foo.com/bar=svc1:8080,tls=my-cert"], None).unwrap(),
            json!({"tls": [{"hosts": ["foo.com"], "secretName": "my-cert"}], "rules": [{"host": "foo.com",
                "http": {"paths": [path("/bar", "Exact", backend("svc1", json!({"number": 8080})))]}}]})
        );
        assert_eq!(
            made(&["foo.com/bar*=svc1:http", "foo.com/=svc:80", "/x=s:1,tls"], Some("d:80")).unwrap(),
            json!({"defaultBackend": backend("d", json!({"number": 80})), "rules": [
                {"host": "foo.com", "http": {"paths": [
                    path("/bar", "Prefix", backend("svc1", json!({"name": "http"}))),
                    path("/", "Exact", backend("svc", json!({"number": 80})))]}},
                {"http": {"paths": [path("/x", "Exact", backend("s", json!({"number": 1})))]}}]})
        );
    }

    #[test]
    fn mistakes() {
        let format = "is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]";
        for rule in ["foo", "foo.com/=svc", "foo.com=svc:80", "a/=s:80,ssl"] {
            assert_eq!(made(&[rule], None).unwrap_err(), format!("rule {rule} {format}"));
        }
        assert!(made(&[], None).unwrap_err().starts_with("not enough information provided"));
        assert_eq!(
            made(&[], Some("d")).unwrap_err(),
            "default-backend should be in format servicename:serviceport"
        );
    }
}
