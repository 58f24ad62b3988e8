//! Prometheus' text format, version 0.0.4.

use std::{
    fmt::{Display, Write as _},
    sync::atomic::Ordering,
};

use super::{Counter, Family, Gauge, Histogram, Labels};

/// Figures as text.
#[derive(Debug, Default)]
pub(crate) struct Text {
    out: String,
}

/// What kind of figure a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Text {
    /// Media type of the text.
    pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    pub(crate) fn into_string(self) -> String {
        self.out
    }

    /// Begins a family; its figures follow.
    pub(crate) fn family(&mut self, name: &str, kind: Type, help: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One figure of the family begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        self.labels(|each| labels.iter().for_each(|(name, value)| each(name, value)));
        self.line(format_args!(" {value}"));
    }

    /// A family of one figure that only grows.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, Type::Counter, help);
        self.sample(name, &[], value);
    }

    /// A family of one figure.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Type::Gauge, help);
        self.sample(name, &[], value);
    }

    pub(crate) fn counters<L: Labels>(&mut self, name: &str, help: &str, family: &Family<L, Counter>) {
        self.family(name, Type::Counter, help);
        for (labels, counter) in family.all() {
            self.labelled(name, &labels, counter.value());
        }
    }

    pub(crate) fn gauges<L: Labels>(&mut self, name: &str, help: &str, family: &Family<L, Gauge>) {
        self.family(name, Type::Gauge, help);
        for (labels, gauge) in family.all() {
            self.labelled(name, &labels, gauge.value());
        }
    }

    pub(crate) fn histograms<L: Labels>(&mut self, name: &str, help: &str, family: &Family<L, Histogram>) {
        self.family(name, Type::Histogram, help);
        for (labels, histogram) in family.all() {
            self.parts(name, |each| labels.write(each), &histogram);
        }
    }

    pub(crate) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, Type::Histogram, help);
        self.parts(name, |_| {}, histogram);
    }

    fn parts(&mut self, name: &str, labels: impl Fn(&mut dyn FnMut(&str, &str)), histogram: &Histogram) {
        let mut total = 0;
        let infinity = std::iter::once("+Inf".to_owned());
        let bounds = histogram.bounds.iter().map(ToString::to_string).chain(infinity);
        for (bound, count) in bounds.zip(&histogram.counts) {
            total += count.load(Ordering::Relaxed);
            let _ = write!(self.out, "{name}_bucket");
            self.labels(|each| {
                labels(each);
                each("le", &bound);
            });
            self.line(format_args!(" {total}"));
        }
        let _ = write!(self.out, "{name}_sum");
        self.labels(&labels);
        let micros = histogram.sum_micros.load(Ordering::Relaxed);
        self.line(format_args!(" {}.{:06}", micros / 1_000_000, micros % 1_000_000));
        let _ = write!(self.out, "{name}_count");
        self.labels(&labels);
        self.line(format_args!(" {total}"));
    }

    fn labelled(&mut self, name: &str, labels: &impl Labels, value: u64) {
        self.out.push_str(name);
        self.labels(|each| labels.write(each));
        self.line(format_args!(" {value}"));
    }

    fn labels(&mut self, labels: impl Fn(&mut dyn FnMut(&str, &str))) {
        let before = self.out.len();
        labels(&mut |name, value| {
            let start = if self.out.len() == before { '{' } else { ',' };
            let _ = write!(self.out, "{start}{name}=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    character => self.out.push(character),
                }
            }
            self.out.push('"');
        });
        if self.out.len() > before {
            self.out.push('}');
        }
    }

    fn line(&mut self, rest: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{rest}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.counter("a_total", "As.", 3);
        text.family("b", Type::Gauge, "Bs.");
        text.sample("b", &[("x", "one"), ("y", "a\"b\\c\nd")], 1.5);
        let histogram = Histogram::new(&[0.1, 1.0]);
        for millis in [50, 100, 200, 5_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        text.histogram("c_seconds", "Cs.", &histogram);
        let family = Family::new(|| Histogram::new(&[1.0]));
        family.member(&7).unwrap().observe(Duration::from_micros(1));
        text.histograms("d", "Ds.", &family);
        let expected = r#"# HELP a_total As.
# TYPE a_total counter
a_total 3
# HELP b Bs.
# TYPE b gauge
b{x="one",y="a\"b\\c\nd"} 1.5
# HELP c_seconds Cs.
# TYPE c_seconds histogram
c_seconds_bucket{le="0.1"} 2
c_seconds_bucket{le="1"} 3
c_seconds_bucket{le="+Inf"} 4
c_seconds_sum 5.350000
c_seconds_count 4
# HELP d Ds.
# TYPE d histogram
d_bucket{number="7",le="1"} 1
d_bucket{number="7",le="+Inf"} 1
d_sum{number="7"} 0.000001
d_count{number="7"} 1
"#;
        assert_eq!(text.into_string(), expected);
    }
}
