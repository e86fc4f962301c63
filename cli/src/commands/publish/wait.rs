//! `--wait`: until each build is published, held or rejected.

use crate::api::{ApiError, Client};
use crate::commands::status_view;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::Progress;
use repo_model::stage::Stage;
use repo_model::wire::intake::BuildReceipt;
use repo_model::wire::status::BuildStatus;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often the server is asked.
const POLL: Duration = Duration::from_millis(500);
/// So many questions in a row may go unanswered (each is itself tried a few times): about a minute.
const MAX_SILENT_POLLS: u32 = 40;

/// Waits, prints how each build fared, and returns how many were not published.
pub fn until_settled(
    client: &Client,
    receipts: &[BuildReceipt],
    limit: Duration,
    json: bool,
) -> Result<usize, Failure> {
    let progress = Progress::spinner();
    let started = Instant::now();
    let mut open: Vec<u64> = receipts.iter().map(|receipt| receipt.build).collect();
    let mut ended: Vec<BuildStatus> = Vec::new();
    let mut rest: Vec<BuildStatus> = Vec::new();
    let mut said = Said::default();
    let mut silent = 0;
    loop {
        match poll(client, &open) {
            Ok(states) => {
                silent = 0;
                let settled;
                (settled, rest) = states.into_iter().partition(is_settled);
                progress.message(summary(&rest, ended.len() + settled.len(), receipts.len()));
                for line in said.news(&rest) {
                    progress.plain(line);
                }
                for build in &settled {
                    progress.plain(format!("{}: {}", build.source, build.stage));
                }
                open = rest.iter().map(|build| build.build).collect();
                ended.extend(settled);
            }
            Err(error) if error.is_transient() && silent < MAX_SILENT_POLLS => silent += 1,
            Err(error) => return Err(error.into()),
        }
        if open.is_empty() || started.elapsed() >= limit {
            break;
        }
        std::thread::sleep(POLL);
    }
    drop(progress);
    report(&ended, json)?;
    if !open.is_empty() {
        for build in &rest {
            output::note(format!("{}: {}", build.source, status_view::doing(build)));
            for line in status_view::why(build) {
                output::note(format!("  {line}"));
            }
        }
        return Err(Failure::new(Exit::Failed, too_late(&open, limit))
            .with_hint("`hallmark status BUILD` tells what it waits for"));
    }
    Ok(ended
        .iter()
        .filter(|build| !matches!(build.stage, Stage::Published { .. }))
        .count())
}

fn too_late(open: &[u64], limit: Duration) -> String {
    let numbers: Vec<_> = open.iter().map(u64::to_string).collect();
    let (noun, verb) = match open.len() {
        1 => ("build", "was"),
        _ => ("builds", "were"),
    };
    let secs = limit.as_secs();
    format!(
        "{noun} {} {verb} not settled after {secs} s",
        numbers.join(", ")
    )
}

/// What was last said of each build that is waited for.
#[derive(Default)]
struct Said(BTreeMap<u64, String>);

impl Said {
    /// A line for each build of which there is something else to say than before.
    fn news(&mut self, open: &[BuildStatus]) -> Vec<String> {
        let mut lines = Vec::new();
        for build in open {
            let line = format!("{}: {}", build.source, status_view::doing(build));
            if self.0.get(&build.build) != Some(&line) {
                lines.push(line.clone());
                self.0.insert(build.build, line);
            }
        }
        lines
    }
}

fn poll(client: &Client, builds: &[u64]) -> Result<Vec<BuildStatus>, ApiError> {
    builds
        .iter()
        .map(|build| client.get_json(&format!("/api/v1/builds/{build}")))
        .collect()
}

/// Whether nothing more will happen by itself: a held build may still be judged again while a
/// rebuild of it runs.
fn is_settled(build: &BuildStatus) -> bool {
    match build.stage {
        Stage::Published { .. } | Stage::Rejected { .. } => true,
        Stage::Held { .. } => !status_view::work_goes_on(build),
        Stage::Received | Stage::Approved | Stage::Signed => false,
    }
}

fn summary(open: &[BuildStatus], settled: usize, total: usize) -> String {
    let mut text = format!("{settled} of {total} settled");
    if let Some(build) = open.first() {
        text.push_str(&format!(
            "; {} is {}",
            build.source,
            status_view::doing(build)
        ));
    }
    text
}

fn report(ended: &[BuildStatus], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&ended);
    }
    for build in ended {
        output::line(format!(
            "{}\t{}\t{}",
            build.build, build.source, build.stage
        ))?;
        for line in status_view::why(build) {
            output::line(format!("  {line}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(build: u64) -> BuildStatus {
        let digest = "0".repeat(64);
        let json = serde_json::json!({
            "build": build, "repo": "base", "source": "hello-1-1.src", "source_file": digest, "buildinfo": digest,
            "provenance": null, "stage": "received",
            "received_at": "2026-11-20T10:06:00Z", "changed_at": "2026-11-20T10:07:00Z",
            "packages": [], "rebuilds": [], "jobs": [],
            "waits_for": [{"rebuilder": "rb-c", "last_seen": null, "until": "2026-11-21T10:07:00Z"}],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_a_build_waits_for_is_said_once_and_again_when_it_changes() {
        let mut said = Said::default();
        let mut build = waiting(1);
        let first =
            "hello-1-1.src: received, waits for rb-c (never seen) until 2026-11-21T10:07:00Z";
        assert_eq!(said.news(std::slice::from_ref(&build)), [first]);
        assert!(said.news(std::slice::from_ref(&build)).is_empty());
        build.stage = Stage::Approved;
        build.waits_for.clear();
        assert_eq!(
            said.news(&[build, waiting(2)]),
            ["hello-1-1.src: approved", first]
        );
    }

    #[test]
    fn one_build_was_and_two_were_not_settled() {
        let limit = Duration::from_secs(5);
        assert_eq!(too_late(&[1], limit), "build 1 was not settled after 5 s");
        assert_eq!(
            too_late(&[1, 2], limit),
            "builds 1, 2 were not settled after 5 s"
        );
    }
}
