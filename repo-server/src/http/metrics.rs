//! `/metrics` in Prometheus text format: counters in memory, gauges from the database.

use crate::app::App;
use crate::db::{self, DbError};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
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
    let mut page = Page::default();
    let builds = builds
        .into_iter()
        .map(|(stage, n)| (format!("{{stage=\"{stage}\"}}"), n));
    page.family("hallmark_builds", "gauge", "Builds by stage.", builds);
    let jobs = jobs
        .into_iter()
        .map(|(name, state, n)| (format!("{{name=\"{name}\",state=\"{state}\"}}"), n));
    page.family("hallmark_jobs", "gauge", "Jobs waiting and running.", jobs);
    let newest = release.as_ref().map_or(0, |release| release.release.0);
    page.family(
        "hallmark_release",
        "gauge",
        "Number of the newest release.",
        [(String::new(), newest)],
    );
    let issued = release.map_or(0, |release| release.issued.unix_secs());
    page.family(
        "hallmark_release_timestamp_seconds",
        "gauge",
        "Publish instant of the newest release.",
        [(String::new(), issued)],
    );
    if let Ok(counters) = app.metrics.0.lock() {
        counters.render(&mut page);
    }
    Ok(page.0)
}

impl Counters {
    fn render(&self, page: &mut Page) {
        let requests = self
            .requests
            .iter()
            .map(|((route, status), n)| (format!("{{route=\"{route}\",status=\"{status}\"}}"), n));
        page.family(
            "hallmark_http_requests_total",
            "counter",
            "Requests answered.",
            requests,
        );
        let label = |name: &str, done: &bool| {
            format!(
                "{{name=\"{name}\",result=\"{}\"}}",
                if *done { "done" } else { "failed" }
            )
        };
        let runs = self
            .jobs
            .iter()
            .map(|((name, done), (n, _))| (label(name, done), n));
        page.family("hallmark_job_runs_total", "counter", "Runs of jobs.", runs);
        let seconds = self.jobs.iter().map(|((name, done), (_, took))| {
            (label(name, done), format!("{:.3}", took.as_secs_f64()))
        });
        page.family(
            "hallmark_job_seconds_total",
            "counter",
            "Time spent in jobs.",
            seconds,
        );
    }
}

/// The text, as far as it is written.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Adds a family of values.
    ///
    /// * `lines`: the labels in braces, or nothing, and the value.
    fn family<T: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        lines: impl IntoIterator<Item = (String, T)>,
    ) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}
