//! Labels and annotations of slices and Endpoints.

use dunlin_api::time::format_time;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::view::{
    Labels,
    services::{MANAGED_BY, Manager, SERVICE_NAME, Service},
    workload::Meta,
};

/// Labels of the slices of a Service: its own, and who is behind them.
pub(super) fn slice_labels(name: &str, service: &Service) -> Labels {
    let mut labels = service.meta.labels.clone();
    labels.remove(HEADLESS);
    if !service.has_address {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    claim(&mut labels, name, Manager::Slices);
    labels
}

/// Says in labels whose slice it is, and who looks after it.
pub(super) fn claim(labels: &mut Labels, service: &str, manager: Manager) {
    labels.insert(SERVICE_NAME.to_owned(), service.to_owned());
    labels.insert(MANAGED_BY.to_owned(), manager.name().to_owned());
}

/// What has to be merged into metadata so that labels and annotations are these and no others.
pub(super) fn patch(known: &Meta, labels: &Labels, annotations: &Labels) -> Value {
    json!({
        "labels": merged(&known.labels, labels),
        "annotations": merged(&known.annotations, annotations),
    })
}

/// Annotations with the time of the change that they are written for, or without any.
pub(super) fn triggered(mut annotations: Labels, at: Option<Timestamp>) -> Labels {
    annotations.remove(TRIGGER_TIME);
    if let Some(at) = at {
        annotations.insert(TRIGGER_TIME.to_owned(), format_time(at));
    }
    annotations
}

fn merged(known: &Labels, wanted: &Labels) -> Value {
    let gone = known.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let set = wanted.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    gone.chain(set).collect::<Map<_, _>>().into()
}

/// Label of what belongs to a Service without an address of its own.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Annotation: when that changed which slices or Endpoints were written for.
pub(super) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
