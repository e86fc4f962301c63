//! `--wait`: until each build is published, held or rejected.

use crate::api::{ApiError, Client};
use crate::commands::status_view;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::Progress;
use repo_model::stage::Stage;
use repo_model::wire::intake::BuildReceipt;
use repo_model::wire::status::BuildStatus;
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
    let mut silent = 0;
    loop {
        match poll(client, &open) {
            Ok(states) => {
                silent = 0;
                let (settled, rest): (Vec<_>, Vec<_>) = states.into_iter().partition(is_settled);
                progress.message(summary(&rest, ended.len() + settled.len(), receipts.len()));
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
        let numbers = open
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let secs = limit.as_secs();
        return Err(Failure::new(
            Exit::Failed,
            format!("builds {numbers} were not settled after {secs} s"),
        )
        .with_hint("`hallmark status` tells what they wait for"));
    }
    Ok(ended
        .iter()
        .filter(|build| !matches!(build.stage, Stage::Published { .. }))
        .count())
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
