//! `/metrics` in Prometheus text format: counters in memory, gauges from the database.

use crate::app::App;
use crate::db::{self, DbError};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

/// Counters since the server started.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counters>);

#[derive(Debug, Default)]
struct Counters {
    requests: BTreeMap<(&'static str, u16), u64>,
    jobs: BTreeMap<(&'static str, bool), (u64, Duration)>,
}

impl Metrics {
    /// A request was answered. `route`: its kind, not its path.
    pub fn request_ended(&self, route: &'static str, status: u16) {
        if let Ok(mut counters) = self.0.lock() {
            *counters.requests.entry((route, status)).or_default() += 1;
        }
    }

    /// A job ended.
    pub fn job_ended(&self, name: &'static str, done: bool, took: Duration) {
        if let Ok(mut counters) = self.0.lock() {
            let (count, total) = counters.jobs.entry((name, done)).or_default();
            *count += 1;
            *total += took;
        }
    }
}

/// Renders everything.
pub async fn render(app: &App) -> Result<String, DbError> {
    let (builds, jobs, release) = app
        .db
        .read(|connection| {
            Ok::<_, DbError>((
                db::builds::counts(connection)?,
                db::jobs::counts(connection)?,
                db::releases::newest(connection)?,
            ))
        })
        .await?;
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, lines: Vec<(String, String)>| {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let builds = builds
        .into_iter()
        .map(|(stage, n)| (format!("{{stage=\"{stage}\"}}"), n.to_string()));
    family(
        "hallmark_builds",
        "gauge",
        "Builds by stage.",
        builds.collect(),
    );
    let jobs = jobs.into_iter().map(|(name, state, n)| {
        (
            format!("{{name=\"{name}\",state=\"{state}\"}}"),
            n.to_string(),
        )
    });
    family(
        "hallmark_jobs",
        "gauge",
        "Jobs waiting and running.",
        jobs.collect(),
    );
    let newest = release.as_ref().map_or(0, |release| release.release.0);
    family(
        "hallmark_release",
        "gauge",
        "Number of the newest release.",
        vec![(String::new(), newest.to_string())],
    );
    let issued = release.map_or(0, |release| release.issued.unix_secs());
    family(
        "hallmark_release_timestamp_seconds",
        "gauge",
        "Publish instant of the newest release.",
        vec![(String::new(), issued.to_string())],
    );
    if let Ok(counters) = app.metrics.0.lock() {
        let requests = counters.requests.iter().map(|((route, status), n)| {
            (
                format!("{{route=\"{route}\",status=\"{status}\"}}"),
                n.to_string(),
            )
        });
        family(
            "hallmark_http_requests_total",
            "counter",
            "Requests answered.",
            requests.collect(),
        );
        let label = |name: &str, done: &bool| {
            format!(
                "{{name=\"{name}\",result=\"{}\"}}",
                if *done { "done" } else { "failed" }
            )
        };
        let runs = counters
            .jobs
            .iter()
            .map(|((name, done), (n, _))| (label(name, done), n.to_string()));
        family(
            "hallmark_job_runs_total",
            "counter",
            "Runs of jobs.",
            runs.collect(),
        );
        let seconds = counters.jobs.iter().map(|((name, done), (_, took))| {
            (label(name, done), format!("{:.3}", took.as_secs_f64()))
        });
        family(
            "hallmark_job_seconds_total",
            "counter",
            "Time spent in jobs.",
            seconds.collect(),
        );
    }
    Ok(out)
}
