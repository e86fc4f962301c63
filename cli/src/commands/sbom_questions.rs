//! `hallmark sbom who-ships`, `why`, `needs`, `built-with`, `licences`, `licensed`, `file`, `diff`: questions to a
//! server about what it has published; `reindex` and `advisories` on the server's machine.

use super::sbom_admin;
use crate::api::{Client, ServerArgs, query_value};
use crate::failure::Failure;
use crate::output;
use repo_model::wire::sbom::{
    BuiltWith, Difference, FileHit, LicenceUse, Needing, Page, Shipped, Step, Why,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// A question.
#[derive(Debug, clap::Subcommand)]
pub enum Question {
    /// Which packages hold a component
    #[command(after_help = "\
EXAMPLES:
  # In any version, by package URL or by name alone
  hallmark sbom who-ships pkg:cargo/serde
  hallmark sbom who-ships golang.org/x/net

  # In some versions; each ecosystem has its own order
  hallmark sbom who-ships pkg:golang/golang.org/x/net '< 0.38'
  hallmark sbom who-ships pkg:npm/semver 'vers:npm/>=7.0.0|<7.5.2' --release stable --json")]
    WhoShips {
        /// Package URL, or a name
        component: String,
        /// Range of versions: `>= 1.2, < 2`, `1.2.3`, `vers:TYPE/…`
        range: Option<String>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// How a component came into a package, or into what that requires
    #[command(after_help = "\
EXAMPLES:
  # Everywhere it is, and how it came there
  hallmark sbom why zlib

  # Why a machine has it that has curl-rs: in the package, or in what that requires, the nearest first
  hallmark sbom why pkg:cargo/openssl --package curl-rs --limit 1

  # Only what is in the package itself
  hallmark sbom why pkg:cargo/openssl --package curl-rs --depth 0")]
    Why {
        /// Package URL, or a name
        component: String,
        /// Range of versions
        range: Option<String>,
        /// Most steps from a package to one that it requires [default: 8]
        #[arg(long, value_name = "STEPS", requires = "package", value_parser = clap::value_parser!(u32).range(0..=32))]
        depth: Option<u32>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Which packages need a package, directly or by way of others: what may break when it leaves
    #[command(after_help = "\
EXAMPLES:
  # All of them, the nearest first
  hallmark sbom needs zlib

  # Only those that name it themselves, for a script
  hallmark sbom needs zlib --depth 1 --release stable --json")]
    Needs {
        /// Name, NEVRA or header digest of a package
        needed: String,
        /// Most steps from a package to the one that needs it [default: 8]
        #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=32))]
        depth: Option<u32>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Which packages were built where a tool was installed
    #[command(after_help = "\
EXAMPLES:
  # Everything that a broken compiler may have spoilt
  hallmark sbom built-with gcc '>= 14.0, < 14.2'")]
    BuiltWith {
        /// Name of a package of the build root
        tool: String,
        /// Range of its versions
        range: Option<String>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// How many packages have which licence
    #[command(after_help = "\
EXAMPLES:
  # Tags that are not all on the SPDX list
  hallmark sbom licences --unmapped

  # What has to be passed on under the same licence
  hallmark sbom licences --copyleft

  # Licences of the packages themselves in a release, for a script
  hallmark sbom licences --of package --release 12 --json")]
    Licences {
        /// Only those that are not all on the SPDX list
        #[arg(long)]
        unmapped: bool,
        /// Only those that ask the same licence of what is made of it (`true`), that do not, or of which that is
        /// not known
        #[arg(long, value_name = "IS", num_args = 0..=1, default_missing_value = "true", value_parser = ["true", "false", "unknown"])]
        copyleft: Option<String>,
        /// Only licences of packages, or only those of parts
        #[arg(long, value_parser = ["package", "part"])]
        of: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Which packages have a licence, or hold something that has
    #[command(after_help = "\
EXAMPLES:
  hallmark sbom licensed GPL-3.0-or-later")]
    Licensed {
        /// The tag as written, or the whole SPDX expression
        licence: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Which packages hold a file with a digest
    #[command(after_help = "\
EXAMPLES:
  hallmark sbom file $(sha256sum < suspicious | cut -c-64)")]
    File {
        /// SHA-1, SHA-256 or SHA-512
        digest: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// What differs between two releases or channels
    #[command(after_help = "\
EXAMPLES:
  # Packages that testers have and everybody else not yet
  hallmark sbom diff stable preview

  # The same for what is inside them
  hallmark sbom diff 11 12 --components")]
    Diff {
        /// Release or channel before
        from: String,
        /// Release or channel after
        to: String,
        /// Compare what is inside the packages
        #[arg(long)]
        components: bool,
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Make the server's index again from its stored SBOMs (on the server's machine)
    #[command(after_help = "\
EXAMPLES:
  hallmark sbom reindex --config /etc/hallmark/hallmark.toml")]
    Reindex(sbom_admin::ReindexArgs),
    /// Import OSV advisories into the server's index (on the server's machine)
    #[command(after_help = "\
EXAMPLES:
  # A folder of records, or a ZIP as osv.dev publishes it; they replace the ones imported before
  hallmark sbom advisories osv/
  hallmark sbom advisories all.zip --distribution AlmaLinux:9")]
    Advisories(sbom_admin::AdvisoriesArgs),
}

/// How the answer is shown.
#[derive(Debug, clap::Args)]
pub struct AnswerArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Most answers
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which release is asked about.
#[derive(Debug, clap::Args)]
pub struct PageArgs {
    /// Number of a release or name of a channel; without it, the newest release
    #[arg(long, value_name = "N|CHANNEL")]
    release: Option<String>,
    #[command(flatten)]
    answer: AnswerArgs,
}

/// Which part of a release is asked about.
#[derive(Debug, clap::Args)]
pub struct ScopeArgs {
    /// Only this repository
    #[arg(long)]
    repo: Option<String>,
    /// Only what this architecture gets
    #[arg(long)]
    arch: Option<String>,
    /// Only packages of this name, NEVRA or header digest
    #[arg(long, value_name = "NAME|NEVRA|SHA256")]
    package: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

impl ScopeArgs {
    /// How the answer is shown.
    pub fn answer(&self) -> &AnswerArgs {
        &self.page.answer
    }
}

/// A path with its query, built up one parameter after the other.
pub struct Ask {
    path: String,
    answer: AnswerView,
}

/// What of [`AnswerArgs`] is needed after the client was made.
struct AnswerView {
    json: bool,
    limit: u32,
    client: Client,
}

/// Most items that the server sends at once.
const PAGE: u32 = 1_000;

impl Ask {
    /// * `path`: of the question, without a query.
    pub fn new(path: &str, answer: &AnswerArgs) -> Result<Self, Failure> {
        Ok(Self {
            path: format!("{path}?limit={}", answer.limit.min(PAGE)),
            answer: AnswerView {
                json: answer.json,
                limit: answer.limit,
                client: answer.server.client()?,
            },
        })
    }

    /// Adds a parameter, if it is given.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.path
                .push_str(&format!("&{name}={}", query_value(value)));
        }
        self
    }

    /// Adds the release and the part of it that is asked about.
    pub fn within(self, scope: &ScopeArgs) -> Self {
        self.with("release", scope.page.release.as_deref())
            .with("repo", scope.repo.as_deref())
            .with("arch", scope.arch.as_deref())
            .with("package", scope.package.as_deref())
    }

    /// Asks for page after page and prints a table, or JSON.
    ///
    /// * `heads`, `row`: the table's columns and an item's cells.
    /// * `nothing`: what an empty answer means, in a sentence that names the release.
    pub fn answer<T: DeserializeOwned + Serialize>(
        self,
        heads: &[&str],
        row: impl Fn(&T) -> Vec<String>,
        nothing: &str,
    ) -> Result<(), Failure> {
        let in_words = |all: &Page<T>| format!("{nothing} in release {}", all.release);
        self.answer_or(heads, row, in_words)
    }

    /// The same.
    ///
    /// * `nothing`: says what an empty answer means.
    pub fn answer_or<T: DeserializeOwned + Serialize>(
        self,
        heads: &[&str],
        row: impl Fn(&T) -> Vec<String>,
        nothing: impl Fn(&Page<T>) -> String,
    ) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        let mut all: Option<Page<T>> = None;
        let limit = self.answer.limit as usize;
        loop {
            let after_part = after.as_deref().map(query_value);
            let path = match after_part {
                Some(after) => format!("{}&after={after}", self.path),
                None => self.path.clone(),
            };
            let page: Page<T> = self.answer.client.get_json(&path)?;
            after.clone_from(&page.next);
            match &mut all {
                None => all = Some(page),
                Some(all) => {
                    all.items.extend(page.items);
                    all.next = page.next;
                }
            }
            let so_far = all.as_ref().map_or(0, |all| all.items.len());
            if after.is_none() || so_far >= limit {
                break;
            }
        }
        let Some(mut all) = all else {
            return Ok(());
        };
        let more = all.next.is_some() || all.items.len() > limit;
        all.items.truncate(limit);
        if more {
            output::note(format!(
                "there is more than {limit}; ask with a larger --limit"
            ));
        }
        if self.answer.json {
            return output::json(&all);
        }
        if all.items.is_empty() {
            output::note(nothing(&all));
            return Ok(());
        }
        let mut rows = vec![heads.iter().map(|head| (*head).to_owned()).collect()];
        rows.extend(all.items.iter().map(row));
        output::raw(output::table(&rows).as_bytes())
    }
}

/// Runs it.
pub fn run(question: &Question) -> Result<(), Failure> {
    match question {
        Question::WhoShips {
            component,
            range,
            scope,
        } => Ask::new("/api/v1/sbom/components", &scope.page.answer)?
            .with("component", Some(component))
            .with("version", range.as_deref())
            .within(scope)
            .answer(SHIPPED, shipped, "no package holds it"),
        Question::Why {
            component,
            range,
            depth,
            scope,
        } => Ask::new("/api/v1/sbom/why", &scope.page.answer)?
            .with("component", Some(component))
            .with("version", range.as_deref())
            .with("depth", depth.map(|steps| steps.to_string()).as_deref())
            .within(scope)
            .answer(&["HOW", "PATH"], why, "no package holds it"),
        Question::BuiltWith { tool, range, scope } => {
            Ask::new("/api/v1/sbom/built-with", &scope.page.answer)?
                .with("tool", Some(tool))
                .with("version", range.as_deref())
                .within(scope)
                .answer(
                    &["PACKAGE", "TOOL", "VERSION", "BUILDINFO"],
                    built_with,
                    "nothing was built with it",
                )
        }
        Question::Needs {
            needed,
            depth,
            page,
        } => Ask::new("/api/v1/sbom/needs", &page.answer)?
            .with("package", Some(needed))
            .with("depth", depth.map(|steps| steps.to_string()).as_deref())
            .with("release", page.release.as_deref())
            .answer(&["PACKAGE", "STEPS", "PATH"], needing, "nothing needs it"),
        Question::Licences {
            unmapped,
            copyleft,
            of,
            page,
        } => Ask::new("/api/v1/sbom/licences", &page.answer)?
            .with("release", page.release.as_deref())
            .with("mapped", unmapped.then_some("false"))
            .with("copyleft", copyleft.as_deref())
            .with("of", of.as_deref())
            .answer(
                &["PACKAGES", "OF", "EXPRESSION", "TAG"],
                licence,
                "there is no such licence",
            ),
        Question::Licensed { licence, scope } => {
            Ask::new("/api/v1/sbom/licensed", &scope.page.answer)?
                .with("licence", Some(licence))
                .within(scope)
                .answer(SHIPPED, shipped, "nothing has this licence")
        }
        Question::File { digest, scope } => Ask::new("/api/v1/sbom/files", &scope.page.answer)?
            .with("digest", Some(digest))
            .within(scope)
            .answer(
                &["PACKAGE", "REPO", "PATH"],
                file,
                "no package holds such a file",
            ),
        Question::Diff {
            from,
            to,
            components,
            answer,
        } => Ask::new("/api/v1/sbom/diff", answer)?
            .with("from", Some(from))
            .with("to", Some(to))
            .with("of", components.then_some("component"))
            .answer(
                &["CHANGE", "NAME", "PLACE", "FROM", "TO", "ALSO OTHER"],
                difference,
                "nothing is different",
            ),
        Question::Reindex(args) => sbom_admin::reindex(args),
        Question::Advisories(args) => sbom_admin::advisories(args),
    }
}

const SHIPPED: &[&str] = &["PACKAGE", "REPO", "HOW", "COMPONENT", "EVIDENCE"];

fn shipped(item: &Shipped) -> Vec<String> {
    vec![
        item.package.nevra.to_string(),
        item.package.repo.to_string(),
        item.relation.clone(),
        item.component.clone(),
        evidence(item),
    ]
}

/// `go-buildinfo 100 %: /usr/bin/a, +2 more`
fn evidence(item: &Shipped) -> String {
    let methods = item.evidence.iter();
    let methods: Vec<_> = methods
        .map(|method| format!("{} {} %", method.source, method.confidence_percent))
        .collect();
    let mut text = methods.join(", ");
    if let Some(first) = item.places.first() {
        text.push_str(&format!(": {first}"));
        if item.places_total > 1 {
            text.push_str(&format!(", +{} more", item.places_total - 1));
        }
    }
    if item.build_only {
        text.push_str(" (in the build only)");
    }
    text
}

fn why(item: &Why) -> Vec<String> {
    vec![item.how.clone(), along(&item.path)]
}

fn needing(item: &Needing) -> Vec<String> {
    vec![
        item.package.nevra.to_string(),
        item.steps.to_string(),
        along(&item.path),
    ]
}

fn along(path: &[Step]) -> String {
    let steps = path.iter();
    let steps: Vec<_> = steps
        .map(|step| format!("{} {}", step.kind, step.name))
        .collect();
    steps.join(" -> ")
}

fn built_with(item: &BuiltWith) -> Vec<String> {
    vec![
        item.package.nevra.to_string(),
        format!("{}.{}", item.tool, item.arch),
        item.version.clone(),
        item.buildinfo.to_string(),
    ]
}

fn licence(item: &LicenceUse) -> Vec<String> {
    vec![
        item.packages.to_string(),
        item.of.clone(),
        item.expression.clone(),
        item.raw.clone(),
    ]
}

fn file(item: &FileHit) -> Vec<String> {
    vec![
        item.package.nevra.to_string(),
        item.package.repo.to_string(),
        item.path.clone(),
    ]
}

fn difference(item: &Difference) -> Vec<String> {
    vec![
        item.change.clone(),
        item.name.clone(),
        item.place.clone().unwrap_or_default(),
        item.from.join(" "),
        item.to.join(" "),
        item.differs.join(", "),
    ]
}

/// A file as the body of an upload; a name that is none of a readable file is a wrong usage.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}
