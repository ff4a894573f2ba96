//! OpenMetrics text (version 1.0.0) as OTLP metrics. Names stay as they are: whoever turns them back finds the suffixes in place.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
        metric, number_data_point, summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource,
};

use crate::wire::{attribute, nanos, scope};

/// One message with everything that stands in `text`.
///
/// # Errors
/// The number of the first line that cannot be read, and why.
pub(crate) fn export(
    text: &str,
    began: SystemTime,
    resource: &Resource,
) -> Result<ExportMetricsServiceRequest, String> {
    Ok(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics: read(text, nanos(began), nanos(SystemTime::now()))?,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    Counter,
    Histogram,
    Summary,
    /// Gauges, infos, and what says nothing of itself.
    #[default]
    Gauge,
}

impl Kind {
    /// What may stand behind the family's name (OpenMetrics 1.0.0, "Suffixes").
    const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["_total", "_created", ""],
            Self::Histogram => &["_bucket", "_sum", "_count", "_created"],
            Self::Summary => &["", "_sum", "_count", "_created"],
            Self::Gauge => &["", "_info"],
        }
    }
}

/// The lines of one family.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: Kind,
    help: String,
    unit: String,
    points: Vec<NumberDataPoint>,
    histograms: Vec<HistogramDataPoint>,
    summaries: Vec<SummaryDataPoint>,
}

fn read(text: &str, began: u64, now: u64) -> Result<Vec<Metric>, String> {
    let mut metrics = Vec::new();
    let mut family = Family::default();
    for (index, line) in text.lines().enumerate() {
        let failed = |why: &str| format!("line {}: {why}: {:?}", index + 1, cut(line));
        if line.is_empty() || line == "# EOF" {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (word, name) = (words.next(), words.next().unwrap_or_default());
            let rest = words.next().unwrap_or_default();
            if !matches!(word, Some("HELP" | "TYPE" | "UNIT")) {
                continue;
            }
            if family.name != name {
                metrics.extend(std::mem::take(&mut family).metric()?);
                name.clone_into(&mut family.name);
            }
            match word {
                Some("HELP") => family.help = unescaped(rest),
                Some("UNIT") => rest.clone_into(&mut family.unit),
                _ => {
                    family.kind = match rest {
                        "counter" => Kind::Counter,
                        "histogram" => Kind::Histogram,
                        "summary" => Kind::Summary,
                        "gaugehistogram" => return Err(failed("OTLP has no such type")),
                        _ => Kind::Gauge,
                    }
                }
            }
            continue;
        }
        let sample = Sample::read(line).ok_or_else(|| failed("no sample"))?;
        let known = sample.name.strip_prefix(family.name.as_str());
        let known = known.filter(|suffix| family.kind.suffixes().contains(suffix));
        let suffix = match known.filter(|_| !family.name.is_empty()) {
            Some(suffix) => suffix.to_owned(),
            // One that says nothing of itself.
            None => {
                metrics.extend(std::mem::take(&mut family).metric()?);
                sample.name.clone_into(&mut family.name);
                String::new()
            }
        };
        family
            .add(sample, &suffix, began, now)
            .ok_or_else(|| failed("not what its type has"))?;
    }
    metrics.extend(family.metric()?);
    Ok(metrics)
}

/// Enough of a line to find it.
fn cut(line: &str) -> &str {
    let end = line
        .char_indices()
        .nth(120)
        .map_or(line.len(), |(at, _)| at);
    &line[..end]
}

impl Family {
    fn add(&mut self, sample: Sample<'_>, suffix: &str, began: u64, now: u64) -> Option<()> {
        match self.kind {
            Kind::Histogram => return self.add_to_histogram(sample, suffix, began, now),
            Kind::Summary => return self.add_to_summary(sample, suffix, began, now),
            Kind::Counter | Kind::Gauge => {}
        }
        // `_created` says when a series began; an info ends with `_info`.
        if suffix == "_created" {
            return Some(());
        }
        let counts = self.kind == Kind::Counter;
        self.points.push(NumberDataPoint {
            attributes: sample.attributes(),
            start_time_unix_nano: if counts { began } else { 0 },
            time_unix_nano: now,
            value: Some(match sample.value.parse::<i64>() {
                Ok(number) => number_data_point::Value::AsInt(number),
                Err(_) => number_data_point::Value::AsDouble(sample.value.parse().ok()?),
            }),
            exemplars: sample.exemplar().into_iter().collect(),
            ..NumberDataPoint::default()
        });
        if suffix == "_info" {
            self.name.push_str(suffix);
        }
        Some(())
    }

    fn add_to_histogram(
        &mut self,
        mut sample: Sample<'_>,
        suffix: &str,
        began: u64,
        now: u64,
    ) -> Option<()> {
        let bound = sample.take_label("le");
        let attributes = sample.attributes();
        let point = found_or_made(
            &mut self.histograms,
            |one| one.attributes == attributes,
            || HistogramDataPoint {
                attributes: attributes.clone(),
                start_time_unix_nano: began,
                time_unix_nano: now,
                ..HistogramDataPoint::default()
            },
        );
        match suffix {
            "_bucket" => {
                // They come cumulated, in order of their bounds.
                let all = whole(sample.value)?;
                let below: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push(all.checked_sub(below)?);
                match bound?.as_str() {
                    "+Inf" => point.count = all,
                    bound => point.explicit_bounds.push(bound.parse().ok()?),
                }
                point.exemplars.extend(sample.exemplar());
            }
            "_sum" => point.sum = Some(sample.value.parse().ok()?),
            "_count" => point.count = whole(sample.value)?,
            "_created" => {}
            _ => return None,
        }
        Some(())
    }

    fn add_to_summary(
        &mut self,
        mut sample: Sample<'_>,
        suffix: &str,
        began: u64,
        now: u64,
    ) -> Option<()> {
        let quantile = sample.take_label("quantile");
        let attributes = sample.attributes();
        let point = found_or_made(
            &mut self.summaries,
            |one| one.attributes == attributes,
            || SummaryDataPoint {
                attributes: attributes.clone(),
                start_time_unix_nano: began,
                time_unix_nano: now,
                ..SummaryDataPoint::default()
            },
        );
        match suffix {
            "" => point.quantile_values.push(ValueAtQuantile {
                quantile: quantile?.parse().ok()?,
                value: sample.value.parse().ok()?,
            }),
            "_sum" => point.sum = sample.value.parse().ok()?,
            "_count" => point.count = whole(sample.value)?,
            _ => {}
        }
        Some(())
    }

    /// `None` if it has no sample.
    ///
    /// # Errors
    /// A histogram without its last bucket.
    fn metric(self) -> Result<Option<Metric>, String> {
        let cumulative = AggregationTemporality::Cumulative as i32;
        let is_open =
            |one: &HistogramDataPoint| one.bucket_counts.len() != one.explicit_bounds.len() + 1;
        if self.histograms.iter().any(is_open) {
            return Err(format!("the histogram {} has no bucket +Inf", self.name));
        }
        let data = match self.kind {
            Kind::Histogram if !self.histograms.is_empty() => metric::Data::Histogram(Histogram {
                data_points: self.histograms,
                aggregation_temporality: cumulative,
            }),
            Kind::Summary if !self.summaries.is_empty() => metric::Data::Summary(Summary {
                data_points: self.summaries,
            }),
            _ if self.points.is_empty() => return Ok(None),
            Kind::Counter => metric::Data::Sum(Sum {
                data_points: self.points,
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            _ => metric::Data::Gauge(Gauge {
                data_points: self.points,
            }),
        };
        Ok(Some(Metric {
            name: self.name,
            description: self.help,
            // UCUM has the unit; OpenMetrics has its plural.
            unit: match self.unit.as_str() {
                "seconds" => "s".to_owned(),
                "bytes" => "By".to_owned(),
                other => other.to_owned(),
            },
            data: Some(data),
            ..Metric::default()
        }))
    }
}

/// The one that it is, made if it is not there.
fn found_or_made<T>(all: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
    let at = all.iter().position(is).unwrap_or_else(|| {
        all.push(make());
        all.len() - 1
    });
    &mut all[at]
}

/// A count, also where it is written as `9.0`.
fn whole(text: &str) -> Option<u64> {
    if let Ok(count) = text.parse() {
        return Some(count);
    }
    let count: f64 = text.parse().ok()?;
    let is_one = count >= 0.0 && count.fract() == 0.0 && count < 1e18;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number in range"
    )]
    is_one.then_some(count as u64)
}

/// One line: name, labels, value, and what stands behind them.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
    exemplar: Option<Traced<'a>>,
}

/// An exemplar: its labels, its value, and when it was, in seconds of Unix time.
struct Traced<'a> {
    labels: Vec<(&'a str, String)>,
    value: f64,
    at: Option<f64>,
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let end = line.find([' ', '{'])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = labels(rest)?;
        // A time may follow the value, and an exemplar.
        let (sample, behind) = match rest.split_once(" # ") {
            Some((sample, behind)) => (sample, Some(behind)),
            None => (rest, None),
        };
        let value = sample.split_ascii_whitespace().next()?;
        let exemplar = match behind {
            None => None,
            Some(behind) => {
                let (labels, rest) = self::labels(behind)?;
                let mut words = rest.split_ascii_whitespace();
                let value = words.next()?.parse().ok()?;
                let at = match words.next() {
                    Some(at) => Some(at.parse().ok()?),
                    None => None,
                };
                Some(Traced { labels, value, at })
            }
        };
        let sound = !name.is_empty() && value.parse::<f64>().is_ok();
        sound.then_some(Self {
            name,
            labels,
            value,
            exemplar,
        })
    }

    fn take_label(&mut self, name: &str) -> Option<String> {
        let at = self.labels.iter().position(|(key, _)| *key == name)?;
        Some(self.labels.remove(at).1)
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let pairs = self.labels.iter();
        pairs
            .map(|(key, text)| attribute(*key, text.as_str()))
            .collect()
    }

    /// `None` also where it does not say when it was: it would be a new one each time.
    fn exemplar(&self) -> Option<Exemplar> {
        let traced = self.exemplar.as_ref()?;
        let at = Duration::try_from_secs_f64(traced.at?).ok()?;
        let (ids, others): (Vec<_>, Vec<_>) = traced
            .labels
            .iter()
            .partition(|(key, _)| *key == "drain_id");
        let id = ids
            .first()
            .and_then(|(_, id)| u128::from_str_radix(id, 16).ok());
        Some(Exemplar {
            filtered_attributes: others
                .iter()
                .map(|(key, text)| attribute(*key, text.as_str()))
                .collect(),
            time_unix_nano: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
            // The trace of the drain bears its id.
            trace_id: id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            value: Some(exemplar::Value::AsDouble(traced.value)),
            ..Exemplar::default()
        })
    }
}

/// `{a="b",c="d"}` if it is there, and what follows.
fn labels(text: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut found = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return Some((found, text));
    };
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((found, behind));
        }
        let (key, behind) = rest.split_once("=\"")?;
        let end = end_of_value(behind)?;
        found.push((key, unescaped(&behind[..end])));
        rest = &behind[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// Where the quote is that ends a value.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// `\n`, `\"` and `\\` as what they stand for.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => plain.push('\n'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Metric {
        let mut metrics = read(text, 1, 2).expect("a page that can be read");
        assert_eq!(metrics.len(), 1, "{metrics:?}");
        metrics.remove(0)
    }

    #[test]
    fn counters_are_sums_with_their_exemplars() {
        let metric = only(
            "# HELP stops Stops\\nof it.\n# TYPE stops counter\nstops_total{cause=\"a \\\"b\\\", c\"} 3 # {drain_id=\"0000000000000000000000000000000a\"} 1 1.5\nstops_total 1.5 # {a=\"b\"} 1\n# EOF\n",
        );
        assert_eq!(
            (metric.name.as_str(), metric.description.as_str()),
            ("stops", "Stops\nof it.")
        );
        let Some(metric::Data::Sum(sum)) = metric.data else {
            panic!("{metric:?}");
        };
        assert!(sum.is_monotonic);
        let [first, second] = &sum.data_points[..] else {
            panic!("{sum:?}");
        };
        assert_eq!(first.attributes, [attribute("cause", "a \"b\", c")]);
        assert_eq!(first.value, Some(number_data_point::Value::AsInt(3)));
        assert_eq!(first.exemplars[0].trace_id[15], 10);
        assert_eq!(first.exemplars[0].time_unix_nano, 1_500_000_000);
        assert!(first.exemplars[0].filtered_attributes.is_empty());
        assert!(second.exemplars.is_empty(), "it does not say when it was");
        assert_eq!((first.start_time_unix_nano, first.time_unix_nano), (1, 2));
        assert_eq!(second.value, Some(number_data_point::Value::AsDouble(1.5)));
    }

    #[test]
    fn histograms_lose_their_cumulation() {
        let metric = only(
            "# TYPE took histogram\n# UNIT took seconds\ntook_bucket{of=\"x\",le=\"0.1\"} 1\ntook_bucket{of=\"x\",le=\"1.0\"} 4\ntook_bucket{of=\"x\",le=\"+Inf\"} 9\ntook_sum{of=\"x\"} 12.5\ntook_count{of=\"x\"} 9\n",
        );
        assert_eq!(metric.unit, "s");
        let Some(metric::Data::Histogram(histogram)) = metric.data else {
            panic!("{metric:?}");
        };
        let [point] = &histogram.data_points[..] else {
            panic!("{histogram:?}");
        };
        assert_eq!(point.bucket_counts, [1, 3, 5]);
        assert_eq!(point.explicit_bounds, [0.1, 1.0]);
        assert_eq!((point.count, point.sum), (9, Some(12.5)));
        assert_eq!(point.attributes, [attribute("of", "x")]);
    }

    #[test]
    fn summaries_keep_their_quantiles() {
        let metric = only(
            "# TYPE took summary\ntook{of=\"x\",quantile=\"0.5\"} 2\ntook_sum{of=\"x\"} 12.5\ntook_count{of=\"x\"} 9.0\n",
        );
        let Some(metric::Data::Summary(summary)) = metric.data else {
            panic!("{metric:?}");
        };
        let [point] = &summary.data_points[..] else {
            panic!("{summary:?}");
        };
        assert_eq!((point.count, point.sum), (9, 12.5));
        assert_eq!(point.quantile_values[0].quantile, 0.5);
    }

    #[test]
    fn a_name_that_begins_with_another_is_another() {
        let text = "up 1\nuptime 5\n# TYPE a counter\na_total 3\na_b 5\n";
        let metrics = read(text, 1, 2).expect("a page that can be read");
        let names: Vec<_> = metrics.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["up", "uptime", "a", "a_b"]);
        assert!(matches!(metrics[3].data, Some(metric::Data::Gauge(_))));
    }

    #[test]
    fn infos_and_unknowns_are_gauges() {
        let text = "# TYPE build info\nbuild_info{version=\"1\"} 1\nplain 7 1700000000\n";
        let metrics = read(text, 1, 2).expect("a page that can be read");
        let names: Vec<_> = metrics.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["build_info", "plain"]);
        assert!(
            metrics
                .iter()
                .all(|one| matches!(one.data, Some(metric::Data::Gauge(_))))
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        for (text, line) in [
            ("up 1\nup\n", 2),
            ("up nothing\n", 1),
            ("up{a=\"b} 1\n", 1),
            ("up{a=\"b\" 1\n", 1),
            (
                "# TYPE a histogram\na_bucket{le=\"1\"} 5\na_bucket{le=\"2\"} 4\n",
                3,
            ),
            ("# TYPE a histogram\na_bucket 5\n", 2),
            ("# TYPE a gaugehistogram\n", 1),
            ("up 1 # {a=\"b\"}\n", 1),
        ] {
            let refused = read(text, 1, 2).expect_err(text);
            assert!(refused.starts_with(&format!("line {line}: ")), "{refused}");
        }
        let open = "# TYPE a histogram\na_bucket{le=\"1\"} 5\n";
        let refused = read(open, 1, 2).expect_err("no last bucket");
        assert!(refused.contains("a has no bucket +Inf"), "{refused}");
    }
}
