//! `hallmark verify`: the chain behind packages, checked with nobody's help but the evidence's.

use super::createrepo::now;
use crate::api::{Client, ServerArgs};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::verify::{
    Cached, Common, Pack, RememberError, RepositoryCopy, Server, Source, SourceError, Subject,
    SubjectError, TrustDir, TrustDirError, Verifier, failure, installed, remember,
};
use mirrors::evidence::beside::COMMON;
use repo_model::rpm::Head;
use repo_model::verify::Chain;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Most bytes of a list of packages on stdin.
const MAX_STDIN_BYTES: u64 = 16 << 20;

/// Arguments of `hallmark verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Looks at the package's signature, at who made the same bytes from the same source, SBOMs, the policy, the
release, the transparency log and freshness, and judges the raw evidence anew. What counts are the keys and the
policy in the trust folder (`hallmark trust fetch`); the server only hands out evidence, and nothing it says is
believed.

EXAMPLES:
  # A file that was downloaded
  hallmark verify --server https://packages.example hello-2.12-1.x86_64.rpm

  # A package of the repository, by name, version, release and architecture
  hallmark verify --server https://packages.example hello-2.12-1.x86_64

  # Everything that is installed and comes from there
  hallmark verify --server https://packages.example installed

  # On a machine without network, from an evidence pack (`hallmark evidence 4 -o pack.tar.zst`)
  hallmark verify --trust trust/ --offline pack.tar.zst hello-2.12-1.x86_64.rpm

  # Refuse a repository whose log does not go on from what this machine saw the last time
  hallmark verify --server https://packages.example --remember /var/lib/hallmark/log-head installed

  # Every package of a repository that lies here
  hallmark verify --server https://packages.example /srv/mirror/stable/base/x86_64

  # The server is down: a mirror alone has the evidence, too, or the copy that lies here
  hallmark verify --from https://mirror.example/stable/base/x86_64 hello-2.12-1.x86_64.rpm

  # Many packages at once
  ls *.rpm | hallmark verify --server https://packages.example --json -

  # The pack itself: every package of the release
  hallmark verify --trust trust/ pack.tar.zst

EXIT CODES:
  0  the policy holds for every package
  1  it does not for one: the first broken link is explained
  2  wrong usage, or the trust folder cannot be used
  3  the server cannot be reached: try again later")]
pub struct Args {
    /// Files, directories of packages, NEVRAs, URLs of packages, evidence packs, the word `installed`; `-`: lines of stdin
    #[arg(required = true, value_name = "PACKAGE")]
    targets: Vec<String>,
    /// The folder with the keys and the policy that count
    #[arg(long, value_name = "DIR", default_value = "/etc/hallmark/trust")]
    trust: PathBuf,
    /// Take the evidence from this pack; no server is asked
    #[arg(long, value_name = "PACK")]
    offline: Option<PathBuf>,
    /// Take the evidence from this copy of a repository, a URL or a directory; no server is asked
    #[arg(long, value_name = "COPY", conflicts_with = "offline")]
    from: Option<String>,
    /// Keep the evidence in this folder, and take from it what was kept when nobody can be asked
    #[arg(long, value_name = "DIR", conflicts_with_all = ["offline", "from"])]
    cache: Option<PathBuf>,
    /// The newest release must not be older than this
    #[arg(long, value_name = "DAYS")]
    max_age: Option<u32>,
    /// Keep the newest head of the log in this file, and refuse a log that does not go on from the one in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["offline", "from"])]
    remember: Option<PathBuf>,
    /// With `installed`: packages that the repository does not know are an error
    #[arg(long)]
    strict: bool,
    /// With `installed`: the system below this folder, not this one
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print the chains as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let trust = TrustDir::read(&args.trust, args.max_age, now()).map_err(|error| {
        let hint = match error {
            TrustDirError::Read { .. } => {
                "`hallmark trust fetch --server URL -o DIR` makes such a folder"
            }
            _ => "`hallmark trust fetch --server URL -o DIR` fetches what is newer; roots that are there stay",
        };
        Failure::usage(error).with_hint(hint)
    })?;
    let targets = targets(args)?;
    if args.remember.is_some() && targets.iter().any(|target| is_pack(target)) {
        return Err(Failure::usage(
            "--remember follows the log of a server, and a pack is of the past",
        )
        .with_hint("verify the pack without --remember"));
    }
    let mut found = Found::default();
    for together in of_one_source(args, &targets) {
        if let Err(failure) = look(args, &trust, together, &mut found) {
            found.fail(failure);
        }
    }
    if let Some(failure) = found.failure.take() {
        return Err(partly(args, &found, failure));
    }
    let Err(failure) = remembered(args, &trust) else {
        return report(args, &found);
    };
    // First, so that a broken chain, which ends the command, too, does not keep it from being said.
    output::note(failure.message());
    report(args, &found)?;
    Err(Failure::new(
        failure.exit,
        "the head of the log was not remembered",
    ))
}

/// What was found out.
#[derive(Default)]
struct Found {
    /// Those that are to be shown: with `--json` all, else the broken ones and the first.
    chains: Vec<Chain>,
    packages: u64,
    broken: u64,
    /// Installed, and of somebody else.
    strangers: u64,
    /// Source packages in directories.
    sources: u64,
    /// Why the first that could not be looked at was not.
    failure: Option<Failure>,
    is_partial: bool,
}

impl Found {
    fn add(&mut self, args: &Args, chain: Chain) {
        self.packages += 1;
        self.broken += u64::from(!chain.holds());
        if args.json || !chain.holds() || self.packages == 1 {
            self.chains.push(chain);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.is_partial = true;
        self.failure.get_or_insert(failure);
    }
}

/// The end of a run that could not look at everything: a broken chain that was found ends it before that does.
fn partly(args: &Args, found: &Found, failure: Failure) -> Failure {
    if found.packages == 0 {
        return failure;
    }
    match report(args, found) {
        Ok(()) => failure,
        Err(broken) => {
            output::note(failure.message());
            broken
        }
    }
}

/// Targets in a row whose evidence comes from one place are looked at together.
fn of_one_source<'t>(args: &Args, targets: &'t [String]) -> Vec<&'t [String]> {
    let place = |target: &String| match is_pack(target) {
        _ if args.offline.is_some() || args.from.is_some() => None,
        true => Some(target.clone()),
        false => repository(target),
    };
    targets
        .chunk_by(|one, next| place(one) == place(next))
        .collect()
}

/// One package to look at; a file is read when its turn comes.
#[derive(Debug)]
enum Target {
    File(PathBuf),
    /// The same, of a directory that was named: what cannot be verified there is passed over.
    Below(PathBuf),
    Subject(Subject),
}

/// Looks at targets of one source. A target that cannot be looked at is kept in `found`, and the others are looked
/// at; an error is that none can be.
fn look(
    args: &Args,
    trust: &TrustDir,
    targets: &[String],
    found: &mut Found,
) -> Result<(), Failure> {
    let Some(first) = targets.first() else {
        return Ok(());
    };
    let mut source = source(args, first)?;
    let mut common = Common::ask(&*source).map_err(unanswered)?;
    if common.newest().is_none()
        && let Some(copy) = copy_at(args, first)?
    {
        common = Common::ask(&copy).map_err(unanswered)?;
        source = Box::new(copy);
    }
    let verifier = Verifier {
        trust,
        source: &*source,
        common: &common,
        now: now(),
    };
    let mut packages = Vec::new();
    for target in targets {
        match subjects(args, target) {
            Ok(subjects) => packages.extend(subjects),
            Err(failure) => found.fail(failure),
        }
    }
    let read = |target: &Target| match target {
        Target::File(path) | Target::Below(path) => Subject::of_file(path),
        Target::Subject(subject) => Ok(subject.clone()),
    };
    verifier.chains(&packages, read, |target, chain| {
        let is_installed = matches!(target, Target::Subject(Subject::Installed { .. }));
        match chain {
            Ok(Some(chain)) => found.add(args, chain),
            Ok(None) if is_installed && !args.strict => found.strangers += 1,
            Ok(None) => found.fail(unknown(target)),
            Err(SubjectError::SourcePackage(_)) if matches!(target, Target::Below(_)) => {
                found.sources += 1;
            }
            Err(error) => found.fail(unjudged(error)),
        }
    });
    Ok(())
}

/// After the packages: a head that is older than their proofs would look as if the log had shrunk.
fn remembered(args: &Args, trust: &TrustDir) -> Result<(), Failure> {
    let (Some(path), Some(target)) = (&args.remember, args.targets.first()) else {
        return Ok(());
    };
    let source = source(args, target)?;
    let seen = remember(
        &*source,
        &trust.trust.log_keys,
        &trust.trust.log_cosigners,
        path,
    );
    seen.map_err(|error| match error {
        RememberError::Source(error) => unanswered(error),
        RememberError::File { .. } | RememberError::NoHead { .. } => Failure::usage(error),
        RememberError::Untrusted(_)
        | RememberError::Shrunk { .. }
        | RememberError::Forked { .. } => Failure::failed(error).with_hint(
            "keep the file: it is the proof of what was shown before; tell the operator and a monitor",
        ),
    })?;
    Ok(())
}

/// What is to be looked at: `-` stands for the lines of stdin.
fn targets(args: &Args) -> Result<Vec<String>, Failure> {
    let mut targets = Vec::new();
    for target in &args.targets {
        if target != "-" {
            targets.push(target.clone());
            continue;
        }
        let mut text = String::new();
        let read = std::io::stdin()
            .take(MAX_STDIN_BYTES)
            .read_to_string(&mut text);
        read.map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?;
        let lines = text.lines().map(str::trim);
        targets.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(targets)
}

fn report(args: &Args, found: &Found) -> Result<(), Failure> {
    let Found {
        chains,
        packages,
        broken,
        strangers,
        sources,
        is_partial,
        failure: _,
    } = found;
    if args.json {
        output::json(chains)?;
    } else if *packages == 1 {
        for one in chains {
            output::raw(one.to_string().as_bytes())?;
        }
    } else {
        for chain in chains.iter().filter(|chain| !chain.holds()) {
            output::raw(chain.to_string().as_bytes())?;
        }
        let good = packages - broken;
        let rest = match is_partial {
            true => "; not all could be looked at",
            false => "",
        };
        output::line(format!(
            "the policy holds for {good} of {packages} packages{rest}"
        ))?;
    }
    if *strangers > 0 {
        output::note(format!(
            "{strangers} installed packages are not of this repository and were not looked at"
        ));
    }
    if *sources > 0 {
        output::note(format!(
            "{sources} source packages were not looked at: those are not published; the provenance of what was built \
             from them names them by digest"
        ));
    }
    match broken {
        0 if *packages == 0 && *sources > 0 && *strangers == 0 => {
            Err(Failure::usage("there is nothing here that can be verified"))
        }
        0 => Ok(()),
        1 if *packages == 1 => Err(Failure::failed("the chain is broken")),
        count => Err(Failure::failed(format!(
            "the chains of {count} packages are broken"
        ))),
    }
}

/// A pack that is a target brings its own evidence.
fn source(args: &Args, target: &str) -> Result<Box<dyn Source + Sync>, Failure> {
    if let Some(from) = &args.from {
        let copy = RepositoryCopy::open(from)?.ok_or_else(|| {
            Failure::failed(format!("{from} has no {COMMON}")).with_hint(
                "name the root of one repository, where repodata/ is; `hallmark mirror sync` and \
                 `hallmark export` bring its evidence along",
            )
        })?;
        return Ok(Box::new(copy));
    }
    let pack = match &args.offline {
        Some(pack) => Some(pack.as_path()),
        None => is_pack(target).then(|| Path::new(target)),
    };
    if let Some(path) = pack {
        let read = Pack::read(path);
        return match read {
            Ok(pack) => Ok(Box::new(pack)),
            Err(error) => Err(Failure::usage(format!(
                "{} is no evidence pack: {error}",
                path.display()
            ))),
        };
    }
    let client = match origin(target) {
        Some(origin) => Client::new(&origin, None)?,
        None => args.server.client()?,
    };
    let server = Server(client);
    Ok(match &args.cache {
        Some(dir) => Box::new(Cached::new(dir.clone(), Some(server))),
        None => Box::new(server),
    })
}

/// The copy that a package's URL is of, where no Hallmark server answers.
fn copy_at(args: &Args, target: &str) -> Result<Option<RepositoryCopy>, Failure> {
    match repository(target) {
        Some(repository) if args.offline.is_none() && args.from.is_none() => {
            RepositoryCopy::open(&repository)
        }
        _ => Ok(None),
    }
}

/// The root of the repository that a URL of a package is in.
fn repository(target: &str) -> Option<String> {
    origin(target)?;
    let end = target.rfind("/Packages/").or_else(|| target.rfind('/'))?;
    Some(target[..end].to_owned())
}

fn is_pack(target: &str) -> bool {
    target.ends_with(".tar.zst") && Path::new(target).is_file()
}

fn is_url(target: &str) -> bool {
    target.starts_with("http://") || target.starts_with("https://")
}

/// `https://host:port` of a URL.
fn origin(target: &str) -> Option<String> {
    let (scheme, rest) = target.split_once("://").filter(|_| is_url(target))?;
    let host = rest.split('/').next()?;
    Some(format!("{scheme}://{host}"))
}

fn subjects(args: &Args, target: &str) -> Result<Vec<Target>, Failure> {
    let one = |subject| vec![Target::Subject(subject)];
    if target == "installed" {
        let all = installed(args.root.as_deref()).map_err(Failure::failed)?;
        let subject = |(nevra, header)| Target::Subject(Subject::Installed { nevra, header });
        return Ok(all.into_iter().map(subject).collect());
    }
    if is_pack(target) {
        return heads(target);
    }
    if let Some(origin) = origin(target) {
        let path = target.strip_prefix(&origin).unwrap_or_default();
        let mut answer = Client::new(&origin, None)?.get(path)?;
        let body = answer.body_mut().with_config().limit(u64::MAX).reader();
        return Ok(one(Subject::read(body, target).map_err(unjudged)?));
    }
    let path = Path::new(target);
    if path.is_file() {
        return Ok(vec![Target::File(path.to_owned())]);
    }
    if path.is_dir() {
        return packages_below(path);
    }
    match target.parse() {
        Ok(nevra) => Ok(one(Subject::Named(nevra))),
        Err(_) => Err(Failure::usage(format!(
            "`{target}` is neither a file nor a directory nor a NEVRA"
        ))
        .with_hint("a NEVRA looks like hello-2.12-1.x86_64")),
    }
}

/// Every package in a directory and those below it: a repository's packages, or a mirror's. Links to files are
/// followed; one to a directory might lead back, and is not passed over in silence either.
fn packages_below(directory: &Path) -> Result<Vec<Target>, Failure> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Failure::usage(format!("cannot read {}: {error}", path.display()))
    };
    let (mut open, mut files) = (vec![directory.to_owned()], Vec::new());
    while let Some(directory) = open.pop() {
        let entries =
            std::fs::read_dir(&directory).map_err(|error| unreadable(&directory, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&directory, error))?;
            let (kind, path) = (entry.file_type(), entry.path());
            let kind = kind.map_err(|error| unreadable(&path, error))?;
            let is_package = path.extension().is_some_and(|ending| ending == "rpm");
            if kind.is_symlink() {
                match std::fs::metadata(&path) {
                    Ok(of) if of.is_dir() => return Err(link_to_directory(&path)),
                    Ok(of) if of.is_file() && is_package => files.push(path),
                    // Why it cannot be read is told when its turn comes.
                    Err(_) if is_package => files.push(path),
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(unreadable(&path, error));
                    }
                    Ok(_) | Err(_) => {}
                }
            } else if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && is_package {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        let why = format!("there is no package below {}", directory.display());
        return Err(Failure::usage(why));
    }
    files.sort();
    Ok(files.into_iter().map(Target::Below).collect())
}

fn link_to_directory(path: &Path) -> Failure {
    let path = path.display();
    Failure::usage(format!(
        "{path} is a link to a directory, which is not followed"
    ))
    .with_hint(format!(
        "name it itself: `hallmark verify {path}`; or take the link away"
    ))
}

/// The packages of a pack, by their heads.
fn heads(path: &str) -> Result<Vec<Target>, Failure> {
    let unusable = |why: String| Failure::usage(format!("{path}: {why}"));
    let pack = Pack::read(Path::new(path)).map_err(|error| unusable(error.to_string()))?;
    pack.heads()
        .map(|read| {
            let (name, bytes) = read.map_err(|error| unusable(error.to_string()))?;
            let head = Head::parse(&bytes).map_err(|error| unusable(format!("{name}: {error}")))?;
            Ok(Target::Subject(Subject::Head(Box::new(head))))
        })
        .collect()
}

fn unknown(target: &Target) -> Failure {
    let name = match target {
        Target::File(path) | Target::Below(path) => path.display().to_string(),
        Target::Subject(Subject::Named(nevra) | Subject::Installed { nevra, .. }) => {
            nevra.to_string()
        }
        Target::Subject(Subject::File { head, .. } | Subject::Head(head)) => {
            head.header_digest().to_string()
        }
    };
    Failure::failed(format!("the repository has no package {name}"))
        .with_hint("is it the right --server?")
}

fn unanswered(error: SourceError) -> Failure {
    match error {
        SourceError::Asked(error) => failure(error),
        SourceError::Read { .. } | SourceError::Away { .. } => {
            Failure::new(Exit::Unreachable, error)
        }
        SourceError::Digest { .. } | SourceError::Shape { .. } | SourceError::Write { .. } => {
            Failure::failed(error)
        }
    }
}

fn unjudged(error: SubjectError) -> Failure {
    match error {
        SubjectError::Source(error) => unanswered(error),
        SubjectError::Read { .. } | SubjectError::NoPackage { .. } => Failure::usage(error),
        SubjectError::SourcePackage(_) => Failure::usage(error).with_hint(
            "verify what was built from it: its provenance names the source package by digest \
             (`hallmark evidence NAME`)",
        ),
        SubjectError::NotServed(_) | SubjectError::OtherHeader { .. } => Failure::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use repo_model::HeaderDigest;
    use repo_model::verify::{Link, Outcome};
    use std::fs;
    use std::os::unix::fs::symlink;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_broken_chain_ends_the_run_before_what_could_not_be_looked_at() {
        let args = Line::parse_from(["verify", "a.rpm", "b.rpm"]).args;
        let end = |outcomes: &[Outcome]| {
            let mut found = Found::default();
            for outcome in outcomes {
                let link = Link {
                    name: "file",
                    outcome: *outcome,
                    says: String::new(),
                    details: Vec::new(),
                    hint: None,
                };
                let chain = Chain {
                    package: "p".to_owned(),
                    header: HeaderDigest::of(b""),
                    links: vec![link],
                };
                found.add(&args, chain);
            }
            found.is_partial = true;
            let failure = Failure::new(Exit::Unreachable, "nobody answers");
            partly(&args, &found, failure).exit
        };
        assert_eq!(end(&[]), Exit::Unreachable);
        assert_eq!(end(&[Outcome::Holds]), Exit::Unreachable);
        assert_eq!(end(&[Outcome::Broken]), Exit::Failed);
        assert_eq!(end(&[Outcome::Holds, Outcome::Broken]), Exit::Failed);
    }

    #[test]
    fn a_directory_of_source_packages_only_is_no_success() {
        let args = Line::parse_from(["verify", "evidence/"]).args;
        let found = Found {
            sources: 2,
            ..Found::default()
        };
        let end = report(&args, &found).unwrap_err();
        assert_eq!(end.exit, Exit::Usage);
        let unseen = Found::default();
        assert!(report(&args, &unseen).is_ok(), "a pack may be empty");
    }

    #[test]
    fn a_package_s_url_is_in_a_repository() {
        for (url, root) in [
            (
                "http://m/stable/base/x86_64/Packages/h/h-1-1.x86_64.rpm",
                Some("http://m/stable/base/x86_64"),
            ),
            (
                "http://m:80/Packages/h/h-1-1.x86_64.rpm",
                Some("http://m:80"),
            ),
            ("https://m/a/h-1-1.x86_64.rpm", Some("https://m/a")),
            ("/srv/Packages/h.rpm", None),
        ] {
            assert_eq!(repository(url).as_deref(), root);
        }
    }

    #[test]
    fn links_to_packages_are_followed_and_one_to_a_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (dir.path().join("root"), dir.path().join("elsewhere"));
        fs::create_dir_all(root.join("below")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("pool"), "").unwrap();
        fs::write(root.join("below/a.rpm"), "").unwrap();
        fs::write(root.join("README"), "").unwrap();
        symlink(elsewhere.join("pool"), root.join("below/b.rpm")).unwrap();
        symlink(elsewhere.join("pool"), root.join("notes")).unwrap();
        symlink("gone", root.join("c.rpm")).unwrap();
        symlink("gone", root.join("latest")).unwrap();
        let files: Vec<PathBuf> = packages_below(&root)
            .unwrap()
            .into_iter()
            .filter_map(|target| match target {
                Target::File(path) | Target::Below(path) => Some(path),
                Target::Subject(_) => None,
            })
            .collect();
        let names = ["below/a.rpm", "below/b.rpm", "c.rpm"];
        assert_eq!(files, names.map(|name| root.join(name)));
        for to in [elsewhere.as_path(), &root] {
            let link = root.join("below/link");
            symlink(to, &link).unwrap();
            let failure = packages_below(&root).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            let said = failure.message();
            assert!(said.contains(&link.display().to_string()), "{said}");
            assert!(said.contains("name it itself"), "{said}");
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn what_fails_first_is_told_when_nothing_else_is_found() {
        let mut found = Found::default();
        found.fail(Failure::usage("first"));
        found.fail(Failure::failed("second"));
        assert!(found.is_partial);
        let first = found.failure.map(|failure| failure.message());
        assert_eq!(first.as_deref(), Some("error: first"));
    }
}
