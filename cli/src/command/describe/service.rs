//! Services, with the endpoints of their pods.

use serde_json::Value;

use super::{Facts, Sheet, workload::selector};
use crate::document::{items, plain, text};

pub(super) fn describe(sheet: &mut Sheet, object: &Value, facts: &Facts) {
    sheet.head(object);
    sheet.field(0, "Selector", selector(object));
    let spec = &object["spec"];
    sheet.field(0, "Type", text(spec, &["type"]));
    sheet.field_if_any(0, "IP Family Policy", text(spec, &["ipFamilyPolicy"]));
    sheet.field(0, "IP Families", or_none(&joined(spec, "ipFamilies")));
    sheet.field(0, "IP", text(spec, &["clusterIP"]));
    sheet.field(0, "IPs", or_none(&joined(spec, "clusterIPs")));
    sheet.field_if_any(0, "External IPs", &joined(spec, "externalIPs"));
    sheet.field_if_any(0, "Desired LoadBalancer IP", text(spec, &["loadBalancerIP"]));
    sheet.field_if_any(0, "External Name", text(spec, &["externalName"]));
    let ingress: Vec<&str> =
        items(object, &["status", "loadBalancer", "ingress"])
            .iter()
            .map(|point| {
                if text(point, &["ip"]).is_empty() {
                    text(point, &["hostname"])
                } else {
                    text(point, &["ip"])
                }
            })
            .collect();
    sheet.field_if_any(0, "LoadBalancer Ingress", &ingress.join(", "));
    items(spec, &["ports"]).iter().for_each(|port| describe_port(sheet, port, facts));
    sheet.field(0, "Session Affinity", text(spec, &["sessionAffinity"]));
    sheet.field_if_any(0, "External Traffic Policy", text(spec, &["externalTrafficPolicy"]));
    sheet.field_if_any(0, "Internal Traffic Policy", text(spec, &["internalTrafficPolicy"]));
    sheet.field_if_any(0, "HealthCheck NodePort", &plain(&spec["healthCheckNodePort"]));
    sheet.field_if_any(0, "LoadBalancer Source Ranges", &joined(spec, "loadBalancerSourceRanges"));
}

fn describe_port(sheet: &mut Sheet, port: &Value, facts: &Facts) {
    let name = match text(port, &["name"]) {
        "" => "<unset>",
        name => name,
    };
    let protocol = text(port, &["protocol"]);
    sheet.field(0, "Port", format!("{name}\t{}/{protocol}", plain(&port["port"])));
    sheet.field(0, "TargetPort", format!("{}/{protocol}", plain(&port["targetPort"])));
    if port["nodePort"].as_i64().is_some_and(|number| number != 0) {
        sheet.field(0, "NodePort", format!("{name}\t{}/{protocol}", plain(&port["nodePort"])));
    }
    sheet.field(0, "Endpoints", endpoints(&facts.related, text(port, &["name"])));
}

/// Where ready pods answer on a port: the first few, and how many more.
fn endpoints(slices: &[Value], port: &str) -> String {
    let mut all: Vec<String> = Vec::new();
    for slice in slices {
        for number in items(slice, &["ports"]).iter().filter(|other| text(other, &["name"]) == port) {
            let ready = items(slice, &["endpoints"])
                .iter()
                .filter(|endpoint| endpoint["conditions"]["ready"] != false);
            all.extend(ready.filter_map(|endpoint| {
                let address = endpoint["addresses"][0].as_str()?;
                let number = plain(&number["port"]);
                Some(if address.contains(':') {
                    format!("[{address}]:{number}")
                } else {
                    format!("{address}:{number}")
                })
            }));
        }
    }
    let shown = all.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => "<none>".to_owned(),
        count if count > SHOWN_MAX => format!("{shown} + {} more...", count - SHOWN_MAX),
        _ => shown,
    }
}

fn joined(spec: &Value, field: &str) -> String {
    items(spec, &[field]).iter().map(plain).collect::<Vec<_>>().join(",")
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// As many as kubectl shows.
const SHOWN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::endpoints;

    #[test]
    fn endpoints_are_those_of_ready_pods() {
        let endpoint =
            |address: &str, ready: bool| json!({"addresses": [address], "conditions": {"ready": ready}});
        let slice = |addresses: &[(&str, bool)]| {
            let endpoints: Vec<_> =
                addresses.iter().map(|(address, ready)| endpoint(address, *ready)).collect();
            json!({"ports": [{"name": "", "port": 80}, {"name": "b", "port": 81}], "endpoints": endpoints})
        };
        assert_eq!(endpoints(&[slice(&[("10.0.0.1", true), ("10.0.0.2", false)])], ""), "10.0.0.1:80");
        assert_eq!(endpoints(&[slice(&[("::1", true)])], "b"), "[::1]:81");
        assert_eq!(endpoints(&[], ""), "<none>");
        let five = [("1", true), ("2", true), ("3", true), ("4", true), ("5", true)];
        assert_eq!(endpoints(&[slice(&five)], ""), "1:80,2:80,3:80 + 2 more...");
    }
}
