//! What is to be looked at: files, directories, names, URLs, packs, what is installed.

use super::{Args, unjudged};
use crate::api::Client;
use crate::failure::Failure;
use crate::verify::{Pack, Subject, installed};
use repo_model::rpm::Head;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Most bytes of a list of packages on stdin.
const MAX_STDIN_BYTES: u64 = 16 << 20;

/// One package to look at; a file is read when its turn comes.
#[derive(Debug)]
pub(super) enum Target {
    File(PathBuf),
    /// The same, of a directory that was named: what cannot be verified there is passed over.
    Below(PathBuf),
    Subject(Subject),
}

/// What is to be looked at: `-` stands for the lines of stdin.
pub(super) fn targets(args: &Args) -> Result<Vec<String>, Failure> {
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

/// Targets in a row whose evidence comes from one place are looked at together.
pub(super) fn of_one_source<'t>(args: &Args, targets: &'t [String]) -> Vec<&'t [String]> {
    let place = |target: &String| match is_pack(target) {
        _ if args.offline.is_some() || args.from.is_some() => None,
        true => Some(target.clone()),
        false => repository(target),
    };
    targets
        .chunk_by(|one, next| place(one) == place(next))
        .collect()
}

/// The root of the repository that a URL of a package is in.
pub(super) fn repository(target: &str) -> Option<String> {
    origin(target)?;
    let end = target.rfind("/Packages/").or_else(|| target.rfind('/'))?;
    Some(target[..end].to_owned())
}

pub(super) fn is_pack(target: &str) -> bool {
    target.ends_with(".tar.zst") && Path::new(target).is_file()
}

fn is_url(target: &str) -> bool {
    target.starts_with("http://") || target.starts_with("https://")
}

/// `https://host:port` of a URL.
pub(super) fn origin(target: &str) -> Option<String> {
    let (scheme, rest) = target.split_once("://").filter(|_| is_url(target))?;
    let host = rest.split('/').next()?;
    Some(format!("{scheme}://{host}"))
}

pub(super) fn subjects(args: &Args, target: &str) -> Result<Vec<Target>, Failure> {
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

pub(super) fn unknown(target: &Target) -> Failure {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use std::fs;
    use std::os::unix::fs::symlink;

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
}
