//! A build's status as text for people; pure.

use crate::output::table;
use repo_model::WorkerName;
use repo_model::policy::Reason;
use repo_model::stage::Stage;
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::status::{BuildStatus, JobStatus, RebuildStatus};
use std::collections::BTreeSet;

/// Whether a job or a rebuild is running or about to.
pub fn work_goes_on(build: &BuildStatus) -> bool {
    let running = |state: &str| state == "waiting" || state == "running" || state == "leased";
    build.jobs.iter().any(|job| running(&job.state))
        || build.rebuilds.iter().any(|rebuild| running(&rebuild.state))
}

/// Stage and what goes on in it: `received, 1 of 2 rebuilds done`.
pub fn doing(build: &BuildStatus) -> String {
    let mut text = build.stage.name().to_owned();
    let done = build
        .rebuilds
        .iter()
        .filter(|rebuild| rebuild.state == "done")
        .count();
    if build.stage == Stage::Received && !build.rebuilds.is_empty() {
        text.push_str(&format!(
            ", {done} of {} rebuilds done",
            build.rebuilds.len()
        ));
    }
    if let Some(awaited) = build.waits_for.first() {
        text.push_str(&format!(", waits for {awaited}"));
        match build.waits_for.len() {
            1 => {}
            all => text.push_str(&format!(" (and {} more)", all - 1)),
        }
    }
    if let Some(stuck) = build.jobs.iter().find(|job| job.last_error.is_some()) {
        text.push_str(&format!(
            ", {} has failed {} times",
            stuck.name, stuck.attempt
        ));
    }
    text
}

/// Why a build is held or rejected, or what one under way waits for and what was found of it so far: one line a
/// reason, its causes and hints under it.
pub fn why(build: &BuildStatus) -> Vec<String> {
    let mut lines = Vec::new();
    for reason in build.stage.reasons() {
        match reason {
            // The reason's own text runs all causes together; here each has a line with its hint.
            Reason::RebuildDiffers {
                rebuilder,
                verdict,
                causes,
            } => differs(&mut lines, rebuilder, *verdict, causes),
            other => lines.push(other.to_string()),
        }
    }
    if build.stage == Stage::Received {
        let awaited = build.waits_for.iter();
        lines.extend(awaited.map(|awaited| format!("waits for {awaited}")));
        for rebuild in &build.rebuilds {
            if let Some(verdict) = rebuild.verdict.filter(|verdict| !verdict.confirms()) {
                differs(&mut lines, &rebuild.rebuilder, verdict, &rebuild.causes);
            }
        }
    }
    lines
}

fn differs(lines: &mut Vec<String>, rebuilder: &WorkerName, verdict: Verdict, causes: &[Cause]) {
    lines.push(format!("{rebuilder}'s rebuild does not match ({verdict})"));
    for cause in causes {
        let place = cause.file.as_deref().or(cause.tag.as_deref());
        let place = place.map_or_else(String::new, |place| format!(" in {place}"));
        lines.push(format!("  {}{place}: {}", cause.code, cause.detail));
        lines.push(format!("    hint: {}", cause.hint));
    }
}

/// The list of builds: one line each.
pub fn overview(builds: &[BuildStatus]) -> String {
    let head = ["BUILD", "SOURCE", "REPO", "STAGE", "SINCE", "WHY"]
        .map(str::to_owned)
        .to_vec();
    let row = |build: &BuildStatus| {
        let mut reasons = build.stage.reasons().iter();
        let mut first = reasons.next().map_or_else(|| doing_if_open(build), short);
        if reasons.len() > 0 {
            first.push_str(&format!(" (and {} more)", reasons.len()));
        }
        vec![
            build.build.to_string(),
            build.source.to_string(),
            build.repo.to_string(),
            build.stage.name().to_owned(),
            build.changed_at.to_string(),
            first,
        ]
    };
    let rows: Vec<_> = std::iter::once(head)
        .chain(builds.iter().map(row))
        .collect();
    table(&rows)
}

fn short(reason: &Reason) -> String {
    match reason {
        Reason::RebuildDiffers {
            rebuilder,
            verdict,
            causes,
        } => {
            let codes: BTreeSet<_> = causes.iter().map(|cause| cause.code.as_str()).collect();
            let codes: Vec<_> = codes.into_iter().collect();
            let codes = if codes.is_empty() {
                String::new()
            } else {
                format!(": {}", codes.join(", "))
            };
            format!("{rebuilder}'s rebuild does not match ({verdict}){codes}")
        }
        other => other.to_string(),
    }
}

fn doing_if_open(build: &BuildStatus) -> String {
    let doing = doing(build);
    let rest = doing.strip_prefix(build.stage.name()).unwrap_or_default();
    rest.trim_start_matches(", ").to_owned()
}

/// All about one build.
pub fn detail(build: &BuildStatus) -> String {
    let mut out = format!(
        "build {}  {}  (repository {})\n",
        build.build, build.source, build.repo
    );
    let release = match build.stage {
        Stage::Published { release } => format!(" in release {release}"),
        _ => String::new(),
    };
    out.push_str(&format!(
        "  stage     {}{release} since {}\n",
        build.stage.name(),
        build.changed_at
    ));
    section(&mut out, "why", why(build));
    section(
        &mut out,
        "rebuilds",
        lines(&build.rebuilds.iter().map(rebuild_row).collect::<Vec<_>>()),
    );
    section(
        &mut out,
        "jobs",
        lines(&build.jobs.iter().map(job_row).collect::<Vec<_>>()),
    );
    let packages = build.packages.iter().map(|package| {
        let count = package.evidence.len();
        vec![
            package.nevra.to_string(),
            format!("{count} pieces of evidence"),
        ]
    });
    section(&mut out, "packages", lines(&packages.collect::<Vec<_>>()));
    out
}

fn section(out: &mut String, title: &str, lines: Vec<String>) {
    for (index, line) in lines.iter().enumerate() {
        let title = if index == 0 { title } else { "" };
        out.push_str(&format!("  {title:8}  {line}\n"));
    }
}

fn lines(rows: &[Vec<String>]) -> Vec<String> {
    table(rows).lines().map(str::to_owned).collect()
}

fn rebuild_row(rebuild: &RebuildStatus) -> Vec<String> {
    let mut last = rebuild
        .verdict
        .map_or_else(String::new, |verdict| verdict.to_string());
    if let Some(error) = &rebuild.last_error {
        let gap = if last.is_empty() { "" } else { "; " };
        last.push_str(&format!("{gap}try {} failed: {error}", rebuild.attempt));
    }
    vec![
        rebuild.rebuilder.to_string(),
        format!("({})", rebuild.operator),
        rebuild.state.clone(),
        last,
    ]
}

fn job_row(job: &JobStatus) -> Vec<String> {
    let last = match &job.last_error {
        Some(error) => format!(
            "try {} failed: {error}; next at {}",
            job.attempt, job.run_at
        ),
        None => String::new(),
    };
    vec![job.name.clone(), job.state.clone(), last]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> BuildStatus {
        let digest = "0".repeat(64);
        let json = serde_json::json!({
            "build": 7, "repo": "base", "source": "clockwork-1-1.src", "source_file": digest, "buildinfo": digest,
            "provenance": null, "stage": "held",
            "reasons": [
                {"code": "rebuild-differs", "rebuilder": "rb-a", "verdict": "differs", "causes": [{
                    "code": "embedded-clock", "file": "/usr/bin/clockwork", "detail": "built 10:00:01, rebuilt 10:03:11",
                    "hint": "use SOURCE_DATE_EPOCH"}]},
                {"code": "rebuilds-missing", "have": 0, "want": 2},
            ],
            "received_at": "2026-11-20T10:06:00Z", "changed_at": "2026-11-20T10:07:00Z",
            "packages": [{"nevra": "clockwork-1-1.x86_64", "header": digest, "unsigned_file": digest, "signed_file": null,
                "href": "Packages/c/clockwork-1-1.x86_64.rpm", "size_bytes": 10, "summary": "", "evidence": []}],
            "rebuilds": [
                {"rebuilder": "rb-a", "operator": "op-a", "state": "done", "attempt": 1, "verdict": "differs",
                    "causes": [], "last_error": null, "log": null},
                {"rebuilder": "rb-b", "operator": "op-b", "state": "leased", "attempt": 2, "verdict": null,
                    "causes": [], "last_error": "no space", "log": null}],
            "jobs": [{"name": "sign", "state": "waiting", "attempt": 3, "run_at": "2026-11-20T10:08:00Z",
                "last_error": "the signer does not answer"}],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_held_build_tells_its_reasons_with_cause_place_and_cure() {
        let text = detail(&held());
        let golden = "\
build 7  clockwork-1-1.src  (repository base)
  stage     held since 2026-11-20T10:07:00Z
  why       rb-a's rebuild does not match (differs)
              embedded-clock in /usr/bin/clockwork: built 10:00:01, rebuilt 10:03:11
                hint: use SOURCE_DATE_EPOCH
            confirmed by 0 of the 2 rebuilders the policy demands
  rebuilds  rb-a  (op-a)  done    differs
            rb-b  (op-b)  leased  try 2 failed: no space
  jobs      sign  waiting  try 3 failed: the signer does not answer; next at 2026-11-20T10:08:00Z
  packages  clockwork-1-1.x86_64  0 pieces of evidence
";
        assert_eq!(text, golden);
    }

    #[test]
    fn a_build_under_way_tells_whom_it_waits_for_and_what_was_found_so_far() {
        let mut received = held();
        received.stage = Stage::Received;
        received.jobs.clear();
        let awaited = serde_json::json!([
            {"rebuilder": "rb-c", "last_seen": null, "until": "2026-11-21T10:07:00Z"},
            {"rebuilder": "rb-d", "mode": "paused", "last_seen": "2026-11-19T10:00:00Z", "until": "2026-11-21T10:07:00Z"},
        ]);
        received.waits_for = serde_json::from_value(awaited).unwrap();
        assert_eq!(
            why(&received),
            [
                "waits for rb-c (never seen) until 2026-11-21T10:07:00Z",
                "waits for rb-d (paused, last seen 2026-11-19T10:00:00Z) until 2026-11-21T10:07:00Z",
                "rb-a's rebuild does not match (differs)",
            ]
        );
        assert_eq!(
            doing(&received),
            "received, 1 of 2 rebuilds done, waits for rb-c (never seen) until 2026-11-21T10:07:00Z (and 1 more)"
        );
    }

    #[test]
    fn the_overview_has_one_line_a_build() {
        let mut received = held();
        received.stage = Stage::Received;
        received.jobs.clear();
        let text = overview(&[held(), received]);
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.contains("rb-a's rebuild does not match (differs): embedded-clock (and 1 more)"),
            "{text}"
        );
        assert!(text.contains("1 of 2 rebuilds done"), "{text}");
    }

    #[test]
    fn work_goes_on_while_a_rebuild_is_leased_or_a_job_waits() {
        let mut build = held();
        assert!(work_goes_on(&build));
        build.rebuilds.pop();
        assert!(work_goes_on(&build));
        build.jobs[0].state = "failed".to_owned();
        assert!(!work_goes_on(&build));
    }
}
