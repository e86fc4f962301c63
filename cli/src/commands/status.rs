//! `hallmark status`, `hallmark retry` and `hallmark reject`.

use super::status_view;
use crate::api::{Client, ServerArgs, query_value};
use crate::failure::Failure;
use crate::output;
use repo_model::policy::Reason;
use repo_model::stage::Stage;
use repo_model::wire::status::{BuildStatus, RejectBuild};

/// Arguments of `hallmark status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # The newest builds, one line each
  hallmark status

  # All about every build of a package, by its name, by one NEVRA, or by a build's number
  hallmark status hello
  hallmark status hello-2.12-1.x86_64
  hallmark status 17

  # What is held, for a script
  hallmark status --stage held --json")]
pub struct Args {
    /// Name or NEVRA of a source or binary package, or the number of a build
    package: Option<String>,
    /// Only builds in this stage
    #[arg(long, value_parser = ["received", "approved", "held", "rejected", "signed", "published"])]
    stage: Option<String>,
    /// At most so many builds
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    let builds = match &args.package {
        Some(package) => find(&client, package, args.stage.as_deref(), args.limit)?,
        None => client.get_json(&list_path(None, args.stage.as_deref(), args.limit))?,
    };
    if args.json {
        return output::json(&builds);
    }
    if builds.is_empty() {
        output::note("no builds");
        return Ok(());
    }
    if args.package.is_none() {
        return output::raw(status_view::overview(&builds).as_bytes());
    }
    let details: Vec<_> = builds.iter().map(status_view::detail).collect();
    output::raw(details.join("\n").as_bytes())?;
    if let Some(held) = builds.iter().find(|build| build.stage.name() == "held") {
        output::note(hint(held));
    }
    Ok(())
}

/// What to do about a build that is held.
fn hint(held: &BuildStatus) -> String {
    let is_older = |reason: &Reason| matches!(reason, Reason::OlderVersion { .. });
    let build = held.build;
    match &held.stage {
        Stage::Held { reasons } if !reasons.is_empty() && reasons.iter().all(is_older) => format!(
            "hint: another try changes nothing: publish it with a higher version or release, or have it waived \
             (`hallmark waiver create --build {build} --finding older-version ...`)"
        ),
        _ => format!("hint: when the cause is gone, `hallmark retry {build}` has it judged again"),
    }
}

/// The builds that `package` names: a number, a name, or a NEVRA. None at all is a failure.
pub fn find(
    client: &Client,
    package: &str,
    stage: Option<&str>,
    limit: u32,
) -> Result<Vec<BuildStatus>, Failure> {
    if let Ok(number) = package.parse::<u64>() {
        let build = client.get_json(&format!("/api/v1/builds/{number}"))?;
        return Ok(vec![build]);
    }
    let builds: Vec<BuildStatus> = client.get_json(&list_path(Some(package), stage, limit))?;
    if builds.is_empty() {
        let stage = stage.map_or_else(String::new, |stage| format!(" that is {stage}"));
        return Err(
            Failure::failed(format!("there is no build of {package}{stage}"))
                .with_hint("`hallmark status` lists the newest builds"),
        );
    }
    Ok(builds)
}

fn list_path(package: Option<&str>, stage: Option<&str>, limit: u32) -> String {
    let mut path = format!("/api/v1/builds?limit={limit}");
    for (name, value) in [("package", package), ("stage", stage)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", query_value(value)));
        }
    }
    path
}

/// Arguments of `hallmark retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # A held build is rebuilt where no rebuild counts yet, and judged again
  hallmark retry 17")]
pub struct RetryArgs {
    /// Numbers of builds, as `hallmark status` shows them
    #[arg(required = true, value_name = "BUILD")]
    builds: Vec<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn retry(args: &RetryArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    for build in &args.builds {
        client.post(
            &format!("/api/v1/builds/{build}/retry"),
            &serde_json::json!({}),
        )?;
        output::note(format!("build {build} is tried again"));
    }
    Ok(())
}

/// Arguments of `hallmark reject`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The build never goes out with these bytes, and its packages' names are free again: publish another build with a
higher release. This cannot be taken back. Once signing has begun it is refused: end the build by a revocation in the
policy, and publish the mended one with a higher release.

EXAMPLES:
  hallmark reject 17 --reason 'built from the wrong branch'")]
pub struct RejectArgs {
    /// Numbers of builds, as `hallmark status` shows them
    #[arg(required = true, value_name = "BUILD")]
    builds: Vec<u64>,
    /// Why; shown to everybody
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn reject(args: &RejectArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    let request = RejectBuild {
        reason: args.reason.clone(),
    };
    for build in &args.builds {
        client.post(&format!("/api/v1/builds/{build}/reject"), &request)?;
        output::note(format!("build {build} is rejected"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Server};

    #[test]
    fn another_try_is_not_proposed_where_it_changes_nothing() {
        let digest = "0".repeat(64);
        let held = |reasons: serde_json::Value| -> BuildStatus {
            serde_json::from_value(serde_json::json!({
                "build": 7, "repo": "base", "source": "a-1-1.src", "source_file": digest, "buildinfo": digest,
                "provenance": null, "stage": "held", "reasons": reasons, "received_at": "2026-11-20T10:06:00Z",
                "changed_at": "2026-11-20T10:07:00Z", "packages": [], "rebuilds": [], "jobs": []
            }))
            .unwrap()
        };
        let older = serde_json::json!({"code": "older-version", "signed": "2-1", "found": "1-1"});
        let missing = serde_json::json!({"code": "rebuilds-missing", "have": 0, "want": 2});
        assert!(!hint(&held(serde_json::json!([older]))).contains("hallmark retry"));
        assert!(hint(&held(serde_json::json!([older, missing]))).contains("hallmark retry 7"));
    }

    #[test]
    fn a_number_asks_for_one_build_and_a_name_for_a_list() {
        let server = Server::start(|_| Answer::json(200, "[]"));
        let client = Client::new(&server.url(), None).unwrap();
        let failure = find(&client, "libstdc++", Some("held"), 5).unwrap_err();
        assert!(
            failure
                .message()
                .starts_with("error: there is no build of libstdc++ that is held\nhint: ")
        );
        let _ = find(&client, "17", None, 5);
        let paths: Vec<_> = server
            .requests()
            .into_iter()
            .map(|request| request.path)
            .collect();
        assert_eq!(
            paths[0],
            "/api/v1/builds?limit=5&package=libstdc%2B%2B&stage=held"
        );
        assert_eq!(paths[1], "/api/v1/builds/17");
    }
}
