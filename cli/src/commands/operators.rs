//! `hallmark audit` and `hallmark jobs`: what operators see.

use crate::api::{ServerArgs, query_value};
use crate::failure::Failure;
use crate::output;
use repo_model::wire::operator::{AuditLine, JobLine};

/// Arguments of `hallmark audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Wants a token with scope `operate`.

EXAMPLES:
  # The newest lines, and only those of people
  hallmark audit
  hallmark audit --people

  # All that happened to a build
  hallmark audit --about 'build 17'")]
pub struct AuditArgs {
    /// Only lines about this, such as `build 17` or `token 3`
    #[arg(long, value_name = "SUBJECT")]
    about: Option<String>,
    /// Only what people did, not what the server did by itself
    #[arg(long)]
    people: bool,
    /// Only lines older than this one
    #[arg(long, value_name = "LINE")]
    before: Option<u64>,
    /// At most so many lines
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `hallmark jobs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Wants a token with scope `operate`. What failed is tried again by itself, later each time.

EXAMPLES:
  # What fails stands first
  hallmark jobs")]
pub struct JobsArgs {
    /// At most so many jobs
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs `hallmark audit`.
pub fn audit(args: &AuditArgs) -> Result<(), Failure> {
    let lines: Vec<AuditLine> = args.server.client()?.get_json(&audit_path(args))?;
    if args.json {
        return output::json(&lines);
    }
    let head = ["LINE", "WHEN", "WHO", "WHAT", "TO WHAT", "IN WORDS"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(lines.iter().map(|line| {
        vec![
            line.line.to_string(),
            line.at.to_string(),
            harmless(&line.actor),
            harmless(&line.action),
            harmless(&line.subject),
            harmless(&line.detail),
        ]
    }));
    output::raw(output::table(&rows).as_bytes())
}

fn audit_path(args: &AuditArgs) -> String {
    let mut path = format!("/api/v1/audit?limit={}", args.limit);
    if args.people {
        path.push_str("&people=true");
    }
    if let Some(about) = &args.about {
        path.push_str(&format!("&about={}", query_value(about)));
    }
    if let Some(before) = args.before {
        path.push_str(&format!("&before={before}"));
    }
    path
}

/// Runs `hallmark jobs`.
pub fn jobs(args: &JobsArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/jobs?limit={}", args.limit);
    let jobs: Vec<JobLine> = args.server.client()?.get_json(&path)?;
    if args.json {
        return output::json(&jobs);
    }
    if jobs.is_empty() {
        output::note("no job waits or runs");
        return Ok(());
    }
    let head = [
        "JOB",
        "BUILD",
        "SOURCE",
        "STATE",
        "FAILED",
        "RUNS AT",
        "LAST ERROR",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(jobs.iter().map(|job| {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            job.name.clone(),
            or_none(job.build.map(|build| build.to_string())),
            or_none(job.source.as_ref().map(ToString::to_string)),
            job.state.clone(),
            job.attempt.to_string(),
            job.run_at.to_string(),
            harmless(job.last_error.as_deref().unwrap_or_default()),
        ]
    }));
    output::raw(output::table(&rows).as_bytes())
}

/// Words of others on one line, without what a terminal would obey.
fn harmless(text: &str) -> String {
    let one = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: AuditArgs,
    }

    #[test]
    fn filters_of_the_audit_trail_are_sent_along() {
        let path = |words: &[&str]| {
            let all = std::iter::once(&"audit").chain(words);
            audit_path(&Line::try_parse_from(all).expect("it reads").args)
        };
        assert_eq!(path(&[]), "/api/v1/audit?limit=100");
        assert_eq!(
            path(&["--people", "--about", "build 17", "--before", "9"]),
            "/api/v1/audit?limit=100&people=true&about=build%2017&before=9"
        );
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
