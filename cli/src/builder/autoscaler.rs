//! HorizontalPodAutoscalers.

use dunlin_api::quantity::Quantity;
use serde_json::{Value, json};

use crate::failure::UsageError;

/// What an autoscaler is made of.
#[derive(Clone, Debug)]
pub(crate) struct Autoscaler<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// `apiVersion`, kind and name of what it scales.
    pub(crate) target: (&'a str, &'a str, &'a str),
    /// Fewest pods; the server's choice when it is left out.
    pub(crate) min: Option<u32>,
    /// Most pods.
    pub(crate) max: u32,
    /// `70%` of what is asked for, or an amount per pod.
    pub(crate) cpu: Option<&'a str>,
    /// The same of memory.
    pub(crate) memory: Option<&'a str>,
}

impl Autoscaler<'_> {
    /// The object.
    ///
    /// # Errors
    /// [`UsageError`] when bounds or aims make no sense.
    pub(crate) fn object(&self) -> Result<Value, UsageError> {
        if self.max < 1 {
            return Err(UsageError(format!(
                "--max=MAXPODS is required and must be at least 1, max: {}",
                self.max
            )));
        }
        if let Some(min) = self.min.filter(|min| *min > self.max) {
            return Err(UsageError(format!(
                "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {}, min: {min}",
                self.max
            )));
        }
        let mut metrics = Vec::new();
        for (resource, aim) in [("cpu", self.cpu), ("memory", self.memory)] {
            if let Some(aim) = aim {
                metrics.push(metric(resource, aim)?);
            }
        }
        let (version, kind, name) = self.target;
        let mut spec = json!({
            "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": name}, "maxReplicas": self.max,
        });
        if let Some(min) = self.min {
            spec["minReplicas"] = min.into();
        }
        if !metrics.is_empty() {
            spec["metrics"] = metrics.into();
        }
        Ok(json!({"metadata": {"name": self.name}, "spec": spec}))
    }
}

/// A share of what pods ask for, or an amount of each; a plain number is one of thousandths of a processor, or of mebibytes.
fn metric(resource: &str, aim: &str) -> Result<Value, UsageError> {
    let wrong =
        || UsageError(format!("invalid --{resource}: {aim:?} is neither a share such as 70% nor an amount"));
    let target = match aim.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.parse::<u32>().ok().filter(|percent| *percent > 0).ok_or_else(wrong)?;
            json!({"type": "Utilization", "averageUtilization": percent})
        }
        None => {
            let unit = match resource {
                _ if !is_number(aim) => "",
                "cpu" => "m",
                _ => "Mi",
            };
            let aim = format!("{aim}{unit}");
            let amount = aim.parse::<Quantity>().map_err(|_| wrong())?;
            if amount.is_zero() || amount.is_negative() {
                return Err(wrong());
            }
            json!({"type": "AverageValue", "averageValue": aim})
        }
    };
    Ok(json!({"type": "Resource", "resource": {"name": resource, "target": target}}))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Autoscaler;

    fn plain<'a>() -> Autoscaler<'a> {
        let target = ("apps/v1", "Deployment", "web");
        Autoscaler { name: "web", target, min: None, max: 3, cpu: None, memory: None }
    }

    #[test]
    fn autoscalers() {
        let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        let expected =
            json!({"metadata": {"name": "web"}, "spec": {"scaleTargetRef": reference, "maxReplicas": 3}});
        assert_eq!(plain().object().unwrap(), expected);
        let aims = Autoscaler { min: Some(2), cpu: Some("50%"), memory: Some("200Mi"), ..plain() };
        let spec = aims.object().unwrap()["spec"].clone();
        let resource =
            |name: &str, target| json!({"type": "Resource", "resource": {"name": name, "target": target}});
        let metrics = json!([
            resource("cpu", json!({"type": "Utilization", "averageUtilization": 50})),
            resource("memory", json!({"type": "AverageValue", "averageValue": "200Mi"})),
        ]);
        assert_eq!((&spec["minReplicas"], &spec["metrics"]), (&json!(2), &metrics));
        let plain = Autoscaler { cpu: Some("70"), memory: Some("200"), ..plain() }.object().unwrap();
        let aim =
            |index: usize| plain["spec"]["metrics"][index]["resource"]["target"]["averageValue"].clone();
        assert_eq!((aim(0), aim(1)), (json!("70m"), json!("200Mi")));
    }

    #[test]
    fn mistakes() {
        let check = |autoscaler: Autoscaler<'_>, expected: &str| {
            assert_eq!(autoscaler.object().unwrap_err().to_string(), expected);
        };
        check(Autoscaler { max: 0, ..plain() }, "--max=MAXPODS is required and must be at least 1, max: 0");
        check(
            Autoscaler { min: Some(5), ..plain() },
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: 3, min: 5",
        );
        check(
            Autoscaler { cpu: Some("x"), ..plain() },
            "invalid --cpu: \"x\" is neither a share such as 70% nor an amount",
        );
    }
}
