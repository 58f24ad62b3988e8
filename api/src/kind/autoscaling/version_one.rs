//! HorizontalPodAutoscaler, version 1: it has a field for the use of the CPU alone, and annotations for all else.

use serde_json::{Map, Value, json};

use super::{behavior, horizontal_pod_autoscaler as stored};
use crate::{
    kind::{Conversion, ConversionError, Kind, Storage},
    value::{default, has, object_mut, put, remove, set, text},
};

mod metric;

pub(in crate::kind) static KIND: Kind = Kind {
    version: "v1",
    schema: "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    storage: Storage::As(Conversion { stored: &stored::KIND, to_stored, from_stored }),
    default: |object| default(object_mut(object, "spec"), "minReplicas", 1),
    row: |object, now| {
        let mut converted = object.clone();
        // What cannot be converted was never stored.
        let _ = to_stored(&mut converted);
        stored::row(&converted, now)
    },
    ..stored::KIND
};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

fn to_stored(object: &mut Value) -> Result<(), ConversionError> {
    let mut metrics = list_of(take(object, METRICS)?)?;
    for metric in &mut metrics {
        metric::spec_to_stored(metric);
    }
    let spec = object_mut(object, "spec");
    let percent = remove(spec, "targetCPUUtilizationPercentage").and_then(|percent| percent.as_i64());
    metrics.extend(percent.map(stored::cpu_utilization));
    if metrics.is_empty() {
        metrics.push(stored::cpu_utilization(stored::DEFAULT_CPU_PERCENT));
    }
    set(spec, "metrics", metrics);
    if let Some(value) = take(object, BEHAVIOR)? {
        set(object_mut(object, "spec"), "behavior", behavior::from_annotation(value));
    }
    status_to_stored(object)
}

fn status_to_stored(object: &mut Value) -> Result<(), ConversionError> {
    let current = take(object, CURRENT_METRICS)?;
    let conditions = take(object, CONDITIONS)?;
    let status = object_mut(object, "status");
    let percent = remove(status, "currentCPUUtilizationPercentage");
    // The annotation has more to say than the field.
    if let Some(current) = current {
        let mut current = list_of(Some(current))?;
        for metric in &mut current {
            metric::status_to_stored(metric);
        }
        set(status, "currentMetrics", current);
    } else if let Some(percent) = percent {
        let resource = json!({"name": "cpu", "current": {"averageUtilization": percent}});
        set(status, "currentMetrics", json!([{"type": "Resource", "resource": resource}]));
    }
    if let Some(conditions) = conditions {
        set(status, "conditions", list_of(Some(conditions))?);
    }
    Ok(())
}

fn from_stored(object: &mut Value) {
    let mut annotations = remove(&mut object["metadata"], "annotations").unwrap_or_default();
    for own in [METRICS, CURRENT_METRICS, BEHAVIOR, CONDITIONS] {
        remove(&mut annotations, own);
    }
    if annotations.is_null() {
        annotations = Value::Object(Map::new());
    }
    let spec = object_mut(object, "spec");
    let metrics = remove(spec, "metrics").unwrap_or_default();
    let metrics = metrics.as_array().map_or(&[][..], Vec::as_slice);
    let cpu = metrics.iter().find(|metric| is_cpu(metric));
    let percent = cpu.map(|metric| metric["resource"]["target"]["averageUtilization"].clone());
    put(spec, "targetCPUUtilizationPercentage", percent.unwrap_or_default());
    let others = metrics
        .iter()
        .filter(|metric| !(is_cpu(metric) && has(&metric["resource"]["target"], "averageUtilization")));
    let others: Vec<Value> = others.map(metric::spec_from_stored).collect();
    if !others.is_empty() {
        set(&mut annotations, METRICS, metric::text(&Value::from(others)));
    }
    if let Some(behavior) = remove(spec, "behavior") {
        set(&mut annotations, BEHAVIOR, behavior::to_annotation(&behavior));
    }
    status_from_stored(object_mut(object, "status"), &mut annotations);
    if annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
        set(object_mut(object, "metadata"), "annotations", annotations);
    }
}

fn status_from_stored(status: &mut Value, annotations: &mut Value) {
    let current = remove(status, "currentMetrics").unwrap_or_default();
    let current = current.as_array().map_or(&[][..], Vec::as_slice);
    let percents = current.iter().filter(|metric| is_cpu(metric));
    let mut percents = percents.map(|metric| metric["resource"]["current"]["averageUtilization"].clone());
    let percent = percents.rfind(|percent| !percent.is_null());
    put(status, "currentCPUUtilizationPercentage", percent.unwrap_or_default());
    if !current.is_empty() {
        let current: Vec<Value> = current.iter().map(metric::status_from_stored).collect();
        set(annotations, CURRENT_METRICS, metric::text(&Value::from(current)));
    }
    let conditions = remove(status, "conditions").unwrap_or_default();
    if conditions.as_array().is_some_and(|conditions| !conditions.is_empty()) {
        set(annotations, CONDITIONS, metric::text(&conditions));
    }
}

fn is_cpu(metric: &Value) -> bool {
    text(metric, "type") == "Resource" && metric["resource"]["name"] == "cpu"
}

/// Takes what an annotation says out of an object.
fn take(object: &mut Value, annotation: &str) -> Result<Option<Value>, ConversionError> {
    let annotations = &mut object_mut(object, "metadata")["annotations"];
    let Some(text) = remove(annotations, annotation) else { return Ok(None) };
    let value = serde_json::from_str(text.as_str().unwrap_or_default());
    value.map(Some).map_err(|error| ConversionError(format!("{annotation}: {error}")))
}

fn list_of(value: Option<Value>) -> Result<Vec<Value>, ConversionError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(ConversionError(
            "json: cannot unmarshal object into Go value of type []v1.MetricSpec".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a stored object is served as `expected`, and comes back as it was.
    fn check(spec: Value, status: Value, expected: Value) {
        let stored = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": spec, "status": status});
        let mut object = stored.clone();
        KIND.from_stored(&mut object);
        let found = json!([object["spec"], object["status"], object["metadata"]["annotations"]]);
        assert_eq!(found, expected);
        KIND.to_stored(&mut object).unwrap();
        let annotations = &mut object["metadata"]["annotations"];
        assert!(annotations.as_object().is_none_or(Map::is_empty), "{annotations}");
        remove(&mut object["metadata"], "annotations");
        assert_eq!(object, stored);
    }

    #[test]
    fn the_cpu_has_a_field() {
        check(
            json!({"metrics": [stored::cpu_utilization(50)]}),
            json!({"desiredReplicas": 2}),
            json!([
                {"targetCPUUtilizationPercentage": 50}, {"desiredReplicas": 2}, null,
            ]),
        );
        let mut bare = json!({"spec": {}});
        to_stored(&mut bare).unwrap();
        assert_eq!(bare["spec"]["metrics"], json!([stored::cpu_utilization(80)]));
    }

    #[test]
    fn all_else_has_annotations() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}});
        let pods = json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1k"}}});
        check(
            json!({"metrics": [memory, pods, stored::cpu_utilization(60)]}),
            json!({}),
            json!([
                {"targetCPUUtilizationPercentage": 60}, {},
                {METRICS: "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageUtilization\":70}},\
                           {\"type\":\"Pods\",\"pods\":{\"metricName\":\"m\",\"targetAverageValue\":\"1k\"}}]"},
            ]),
        );
        let condition = json!({"type": "AbleToScale", "status": "True", "reason": "R"});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "1m"}}});
        check(
            json!({"metrics": [stored::cpu_utilization(50)], "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}),
            json!({"conditions": [condition], "currentMetrics": [cpu]}),
            json!([
                {"targetCPUUtilizationPercentage": 50}, {"currentCPUUtilizationPercentage": 5},
                {
                    BEHAVIOR: "{\"ScaleUp\":null,\"ScaleDown\":{\"StabilizationWindowSeconds\":null,\"SelectPolicy\":\"Disabled\",\
                              \"Policies\":null,\"Tolerance\":null}}",
                    CURRENT_METRICS: "[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"currentAverageUtilization\":5,\
                                     \"currentAverageValue\":\"1m\"}}]",
                    CONDITIONS: "[{\"type\":\"AbleToScale\",\"status\":\"True\",\"reason\":\"R\"}]",
                },
            ]),
        );
    }

    #[test]
    fn annotations_that_say_nothing_are_refused() {
        for text in ["x", "{}", "{"] {
            let mut object = json!({"metadata": {"annotations": {METRICS: text}}, "spec": {}});
            assert!(to_stored(&mut object).is_err(), "{text}");
        }
    }
}
