//! Figures about requests, under Kubernetes' names where Kubernetes has the same figure.

use std::{sync::Arc, time::Duration};

use dunlin_api::Kind;
use dunlin_link::rpc::Method;

use super::{
    path::{ResourceRequest, Verb},
    seats::{Seats, Work},
};
use crate::metrics::{Counter, Family, Gauge, Histogram, Labels, Text, Type};

/// Counts what is asked and answered.
#[derive(Debug)]
pub(super) struct Figures {
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram>,
    long: Family<Asked, Gauge>,
    watch_events: Family<Watched, Counter>,
    panics: Counter,
}

/// What a request is about, in so few words that there are few of them altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

/// The same with how it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Answered {
    asked: Asked,
    code: u16,
}

/// What a watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Watched {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
}

/// Counts a request that lasts, until this is dropped.
#[derive(Debug)]
pub(super) struct Lasting(Option<Arc<Gauge>>);

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            requests: Family::new(Counter::default),
            durations: Family::new(|| Histogram::new(DURATIONS)),
            long: Family::new(Gauge::default),
            watch_events: Family::new(Counter::default),
            panics: Counter::default(),
        }
    }

    /// A request was answered; `duration` is how long that took.
    pub(super) fn answered(&self, asked: Asked, code: u16, duration: Duration) {
        if let Some(counter) = self.requests.member(&Answered { asked, code }) {
            counter.increment();
        }
        // How long a watch lasts says nothing about how fast it was.
        if asked.verb != WATCH
            && let Some(histogram) = self.durations.member(&asked)
        {
            histogram.observe(duration);
        }
    }

    /// A request lasts from now on.
    pub(super) fn lasting(&self, asked: Asked) -> Lasting {
        let gauge = self.long.member(&asked);
        if let Some(gauge) = &gauge {
            gauge.increment();
        }
        Lasting(gauge)
    }

    /// The counter of events that watches of a kind are told.
    pub(super) fn watch_events(&self, kind: &Kind) -> Option<Arc<Counter>> {
        self.watch_events.member(&Watched { group: kind.group, version: kind.version, resource: kind.plural })
    }

    /// A request panicked.
    pub(super) fn panicked(&self) {
        self.panics.increment();
    }

    pub(super) fn collect(&self, seats: &Seats, text: &mut Text) {
        let help = "Requests answered, by what they ask and the code of the answer.";
        text.counters("apiserver_request_total", help, &self.requests);
        let help = "Time until the head of an answer, without watches.";
        text.histograms("apiserver_request_duration_seconds", help, &self.durations);
        let help = "Watches and followed logs under way.";
        text.gauges("apiserver_longrunning_requests", help, &self.long);
        let help = "Events told to watches.";
        text.counters("apiserver_watch_events_total", help, &self.watch_events);
        let help = "Requests that failed by a defect.";
        text.counter("dunlin_request_panics_total", help, self.panics.value());
        let kinds = [("readOnly", Work::Reading), ("mutating", Work::Mutating), ("long", Work::Long)];
        let usage = kinds.map(|(kind, work)| ([("request_kind", kind)], seats.usage(work)));
        let name = "apiserver_current_inflight_requests";
        text.family(name, Type::Gauge, "Requests that have a seat.");
        for (labels, used) in &usage {
            text.sample(name, labels, used.taken);
        }
        let name = "dunlin_waiting_requests";
        text.family(name, Type::Gauge, "Requests that wait for a seat.");
        for (labels, used) in &usage {
            text.sample(name, labels, used.waiting);
        }
        let name = "dunlin_refused_requests_total";
        text.family(name, Type::Counter, "Requests that got no seat and were answered 429.");
        for (labels, used) in &usage {
            text.sample(name, labels, used.refused);
        }
    }
}

impl Asked {
    /// A request about objects.
    pub(super) fn resource(request: &ResourceRequest, content_type: &str) -> Self {
        let kind = request.kind;
        // What nobody knows has no name here, or clients could make up as many as they like.
        let known = kind.subresources.iter().map(|known| known.name).chain(["log", "binding"]);
        Self {
            verb: match request.verb {
                Verb::Get => "GET",
                Verb::List => "LIST",
                Verb::Watch => WATCH,
                Verb::Create => "POST",
                Verb::Update => "PUT",
                Verb::Patch if content_type.starts_with("application/apply-patch") => "APPLY",
                Verb::Patch => "PATCH",
                Verb::Delete => "DELETE",
                Verb::DeleteCollection => "DELETECOLLECTION",
            },
            group: kind.group,
            version: kind.version,
            resource: kind.plural,
            subresource: known.into_iter().find(|known| *known == request.subresource).unwrap_or_default(),
            scope: match (request.name.as_str(), request.namespace.as_str()) {
                ("", "") => "cluster",
                ("", _) => "namespace",
                _ => "resource",
            },
        }
    }

    /// A request about something else.
    pub(super) fn other(method: Method, path: &'static str) -> Self {
        let verb = match method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        };
        Self { verb, subresource: path, ..Self::default() }
    }
}

impl Labels for Asked {
    fn write(&self, each: &mut dyn FnMut(&str, &str)) {
        each("verb", self.verb);
        each("group", self.group);
        each("version", self.version);
        each("resource", self.resource);
        each("subresource", self.subresource);
        each("scope", self.scope);
    }
}

impl Labels for Answered {
    fn write(&self, each: &mut dyn FnMut(&str, &str)) {
        self.asked.write(each);
        each("code", &self.code.to_string());
    }
}

impl Labels for Watched {
    fn write(&self, each: &mut dyn FnMut(&str, &str)) {
        each("group", self.group);
        each("version", self.version);
        each("resource", self.resource);
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.decrement();
        }
    }
}

const WATCH: &str = "WATCH";

/// Seconds; those of Kubernetes.
const DURATIONS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
