//! Each option that `hallmark createrepo` shares with createrepo_c is run by both over the same directory: the same file
//! names, records, locations, tags, packages read, and exit code. What differs on purpose is named in the row.

use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

/// What a row's directory holds beside `a.rpm` and `sub/b.rpm`, and what was run over it before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Plain,
    /// `t1.rpm` and `t2.rpm`: other packages of one NEVRA, built in the same second.
    Twins,
    /// Metadata with groups, made by a run of the same program; then `c.rpm` came.
    Again,
}
use Setting::{Again, Plain, Twins};

/// In what the outcomes may differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Nothing,
    /// Databases are bzip2 there and gzip here, since no client needs bzip2; and `--compatibility` offers groups as `group_gz`
    /// too.
    Databases,
}
use Named::{Databases, Nothing};

/// Arguments (`@` is the directory), the setting, and what may differ.
const ROWS: &[(&[&str], Setting, Named)] = &[
    (&[], Plain, Nothing),
    (&["--quiet"], Plain, Nothing),
    (&["--verbose"], Plain, Nothing),
    (&["--pretty"], Plain, Nothing),
    (&["--workers", "0"], Plain, Nothing),
    (&["--workers", "3"], Plain, Nothing),
    (&["--ignore-lock"], Plain, Nothing),
    (&["--error-exit-val"], Plain, Nothing),
    (&["--local-sqlite"], Plain, Nothing),
    (&["--no-database"], Plain, Nothing),
    (&["--database"], Plain, Databases),
    (&["--compatibility", "-g", "comps.xml"], Plain, Databases),
    (&["--xz"], Plain, Nothing),
    (&["--xz", "-g", "comps.xml"], Plain, Nothing),
    (&["-g", "comps.xml"], Plain, Nothing),
    (&["--groupfile", "@/comps.xml"], Plain, Nothing),
    (
        &["--compress-type", "gz", "-g", "comps.xml"],
        Plain,
        Nothing,
    ),
    (
        &["--compress-type", "xz", "-g", "comps.xml"],
        Plain,
        Nothing,
    ),
    (
        &["--general-compress-type", "gz", "-g", "comps.xml"],
        Plain,
        Nothing,
    ),
    (
        &["--general-compress-type", "xz", "-g", "comps.xml"],
        Plain,
        Nothing,
    ),
    (
        &["--general-compress-type", "zstd", "-g", "comps.xml"],
        Plain,
        Nothing,
    ),
    (&["--checksum", "sha512"], Plain, Nothing),
    (
        &["-s", "sha256", "--repomd-checksum", "sha256"],
        Plain,
        Nothing,
    ),
    (&["--filelists-ext"], Plain, Nothing),
    (&["--changelog-limit", "0"], Plain, Nothing),
    (&["--changelog-limit", "1"], Plain, Nothing),
    (&["--changelog-limit", "-1"], Plain, Nothing),
    (&["--unique-md-filenames"], Plain, Nothing),
    (
        &["--simple-md-filenames", "-g", "comps.xml"],
        Plain,
        Nothing,
    ),
    (&["--revision", "7"], Plain, Nothing),
    (
        &["--revision", "7", "--set-timestamp-to-revision"],
        Plain,
        Nothing,
    ),
    (&["--distro", "cpe:/o:x:1,X & Y"], Plain, Nothing),
    (
        &[
            "--distro",
            "Plain",
            "--content",
            "a",
            "--content",
            "b",
            "--repo",
            "r",
        ],
        Plain,
        Nothing,
    ),
    (&["-x", "sub*"], Plain, Nothing),
    (&["--excludes", "*a.rpm"], Plain, Nothing),
    (&["-i", "@/list.txt"], Plain, Nothing),
    (&["--includepkg", "sub/b.rpm"], Plain, Nothing),
    (&["--skip-symlinks"], Plain, Nothing),
    (&["--location-prefix", "P"], Plain, Nothing),
    (&["--location-prefix", "P/"], Plain, Nothing),
    (&["--cut-dirs", "1"], Plain, Nothing),
    (&["--outputdir", "@/out"], Plain, Nothing),
    (&["--cachedir", "@/cache"], Plain, Nothing),
    (&["--read-pkgs-list", "@/read.txt"], Plain, Nothing),
    (&["--duplicated-nevra", "keep-last"], Twins, Nothing),
    (&["--duplicated-nevra", "keep"], Twins, Nothing),
    (&["--update"], Again, Nothing),
    (&["--update", "--skip-stat"], Again, Nothing),
    (&["--update", "--keep-all-metadata"], Again, Nothing),
    (
        &["--update", "--discard-additional-metadata"],
        Again,
        Nothing,
    ),
    (&["--update", "--recycle-pkglist"], Again, Nothing),
    (
        &["--update", "--read-pkgs-list", "@/read.txt"],
        Again,
        Nothing,
    ),
    (&["--retain-old-md", "0"], Again, Nothing),
    (
        &[
            "--update",
            "--retain-old-md",
            "1",
            "--discard-additional-metadata",
        ],
        Again,
        Nothing,
    ),
    (&["--zck"], Plain, Nothing),
    (&["--zck", "-g", "comps.xml"], Plain, Nothing),
];

/// A createrepo_c.
enum Tool {
    /// PyPI's.
    Program(PathBuf),
    /// The client root's.
    Root(PathBuf),
}

impl Tool {
    fn all() -> Vec<Self> {
        let cache = std::env::var_os("HALLMARK_CACHE")
            .map_or_else(|| PathBuf::from("/var/cache/hallmark"), PathBuf::from);
        let (root, program) = (
            cache.join("forky"),
            cache.join("venv-createrepo/bin/createrepo_c"),
        );
        let mut all = Vec::new();
        for (path, tool) in [
            (program.clone(), Self::Program(program)),
            (root.join("usr/bin/createrepo_c"), Self::Root(root)),
        ] {
            let missing = match path.exists() {
                true => tool.why_not(),
                false => Some(format!("there is no {}", path.display())),
            };
            let Some(missing) = missing else {
                all.push(tool);
                continue;
            };
            // Not every distribution can make the client root.
            let promised =
                std::env::var_os("CI").is_some() && Path::new("/etc/debian_version").exists();
            assert!(!promised, "CI is set but {missing}");
            eprintln!("SKIPPED: {missing}");
        }
        all
    }

    /// Why it cannot run here, though it is there.
    fn why_not(&self) -> Option<String> {
        let Self::Root(root) = self else { return None };
        let entered = in_root().arg(root).arg("true").output();
        let said = match entered {
            Ok(output) if output.status.success() => return None,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        Some(format!("{} cannot be entered: {said}", root.display()))
    }

    fn run(&self, directory: &Path, args: &[&str]) -> Output {
        let (mut command, place) = match self {
            Self::Program(program) => (Command::new(program), directory.to_str().unwrap()),
            Self::Root(root) => {
                let mut command = in_root();
                command
                    .arg("--bind")
                    .arg(directory)
                    .args(["/mnt/t"])
                    .arg(root);
                command.arg("createrepo_c");
                (command, "/mnt/t")
            }
        };
        command.args(placed(args, place)).output().unwrap()
    }
}

/// A run in a system root.
fn in_root() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/in-forky.sh"))
}

#[test]
fn a_client_root_that_cannot_be_entered_is_not_compared_with() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    fs::write(root.path().join("usr/bin/createrepo_c"), "").unwrap();
    let why = Tool::Root(root.path().to_owned()).why_not().unwrap();
    assert!(why.contains("cannot be entered"), "{why}");
}

fn placed(args: &[&str], place: &str) -> Vec<String> {
    let all = args.iter().chain(&["@"]);
    all.map(|arg| arg.replacen('@', place, 1)).collect()
}

fn ours(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark"));
    command
        .env_remove("SOURCE_DATE_EPOCH")
        .env("HALLMARK_CACHE", directory.with_extension("cache"))
        .arg("createrepo");
    command
        .args(placed(args, directory.to_str().unwrap()))
        .output()
        .unwrap()
}

fn package(path: &Path, name: &str, summary: &str) {
    let bytes = Rpm::binary(name)
        .set(tag::SUMMARY, Field::I18n(vec![summary.as_bytes().to_vec()]))
        .file(&format!("/usr/bin/{name}"), b"x")
        .bytes();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_763_632_800);
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// A directory in this setting; `run` is the program under test.
fn directory(setting: Setting, below: &Path, run: &dyn Fn(&Path, &[&str]) -> Output) -> PathBuf {
    let directory = below.join("repository");
    package(&directory.join("a.rpm"), "a", "A probe");
    package(&directory.join("sub/b.rpm"), "b", "A probe");
    std::os::unix::fs::symlink("sub/b.rpm", directory.join("z.txt")).unwrap();
    fs::write(directory.join("comps.xml"), "<comps></comps>\n").unwrap();
    fs::write(directory.join("list.txt"), "sub/b.rpm\n").unwrap();
    // createrepo_c does not make it.
    fs::create_dir(directory.join("out")).unwrap();
    match setting {
        Plain => {}
        Twins => {
            package(&directory.join("t1.rpm"), "t", "first");
            package(&directory.join("t2.rpm"), "t", "second");
        }
        Again => {
            let output = run(&directory, &["--quiet", "-g", "comps.xml"]);
            assert!(output.status.success(), "{output:?}");
            package(&directory.join("c.rpm"), "c", "A probe");
        }
    }
    directory
}

/// What both programs must agree in.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    succeeded: bool,
    /// Files of repodata, digests cut off.
    files: Vec<String>,
    /// Type and location of each record; those of databases and zchunk stand in another order here (decision 0005).
    records: BTreeSet<String>,
    /// Lines of tags, and the revision where one was asked for.
    tags: Vec<String>,
    /// Location and name of each package.
    packages: BTreeSet<String>,
    /// Names of the files that were read, where asked for.
    read: Vec<String>,
    /// How many changes, files and digests the lists hold.
    counts: [usize; 3],
}

impl Seen {
    fn of(output: &Output, directory: &Path, args: &[&str]) -> Self {
        let is_elsewhere = args.contains(&"--outputdir");
        let root = directory.join(if is_elsewhere { "out" } else { "" });
        let repodata = root.join("repodata");
        let mut files: Vec<String> = fs::read_dir(&repodata)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
            .map(|entry| cut(entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        files.sort();
        let repomd = fs::read_to_string(repodata.join("repomd.xml")).unwrap();
        let text = |name: &str| open(&repodata, &repomd, name);
        let primary = text("primary");
        let read = fs::read_to_string(directory.join("read.txt")).unwrap_or_default();
        let mut read: Vec<String> = read.lines().map(cut).collect();
        read.sort();
        Self {
            succeeded: output.status.success(),
            files,
            records: between(&repomd, "<data type=\"", "</data>")
                .map(|record| {
                    let href = between(record, "href=\"", "\"").next().unwrap();
                    format!("{} {}", record.split('"').next().unwrap(), cut(href))
                })
                .collect(),
            tags: repomd
                .lines()
                .map(str::trim)
                .filter(|line| is_tag(line, args))
                .map(str::to_owned)
                .collect(),
            packages: between(&primary, "<package ", "</package>")
                .map(|package| {
                    let href = between(package, "<location ", "/>").next().unwrap();
                    let summary = between(package, "<summary>", "<").next().unwrap();
                    format!("{href} {summary}")
                })
                .collect(),
            read,
            counts: [
                text("other").matches("<changelog ").count(),
                text("filelists").matches("<file").count(),
                match args.contains(&"--filelists-ext") {
                    true => text("filelists-ext").matches(" hash=").count(),
                    false => 0,
                },
            ],
        }
    }

    /// Without what is named as different.
    fn without(mut self, named: Named) -> Self {
        if named == Databases {
            let same = |name: String| name.replace(".sqlite.bz2", ".sqlite.gz");
            self.files = self.files.into_iter().map(same).collect();
            self.records = self.records.into_iter().map(same).collect();
            self.files.retain(|name| name != "comps.xml.gz");
            self.records.retain(|name| !name.starts_with("group_gz"));
        }
        self
    }
}

fn is_tag(line: &str, args: &[&str]) -> bool {
    let has = |start: &str| line.starts_with(start);
    has("<content>")
        || has("<repo>")
        || has("<distro")
        || args.contains(&"--revision") && (has("<revision>") || has("<timestamp>7<"))
}

/// A name or path without directories and the digest in front.
fn cut(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    match name.split_once('-') {
        Some((digest, rest)) if digest.len() >= 64 => rest.to_owned(),
        _ => name.to_owned(),
    }
}

fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    let pieces = text.split(start).skip(1);
    pieces.map(move |piece| piece.split(end).next().unwrap())
}

/// The XML of a record.
fn open(repodata: &Path, repomd: &str, name: &str) -> String {
    let record = repomd
        .split(&format!("<data type=\"{name}\">"))
        .nth(1)
        .unwrap();
    let href = between(record, "href=\"", "\"").next().unwrap();
    let path = repodata.join(href.rsplit('/').next().unwrap());
    let (program, file) = match path.extension().and_then(|end| end.to_str()) {
        Some("zst") => {
            let bytes = fs::read(&path).unwrap();
            return String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
        }
        Some("gz") => ("gzip", path),
        Some("xz") => ("xz", path),
        _ => return fs::read_to_string(path).unwrap(),
    };
    let mut text = String::new();
    let output = Command::new(program).arg("-dc").arg(file).output().unwrap();
    output.stdout.as_slice().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn each_shared_option_does_what_createrepo_c_does() {
    for tool in Tool::all() {
        let mut faults = Vec::new();
        for (args, setting, named) in ROWS {
            // PyPI's is built without zchunk.
            if args.contains(&"--zck") && matches!(tool, Tool::Program(_)) {
                continue;
            }
            let outcome = |name: &str, run: &dyn Fn(&Path, &[&str]) -> Output| {
                let root = tempfile::tempdir().unwrap();
                let below = root.path().join(name);
                fs::create_dir(&below).unwrap();
                let directory = directory(*setting, &below, run);
                if *setting == Again && args.contains(&"--read-pkgs-list") {
                    // A file that is as young as the look at it may have changed since: it is read again.
                    std::thread::sleep(Duration::from_millis(2_500));
                    run(&directory, &["--quiet", "--update"]);
                    package(&directory.join("d.rpm"), "d", "A probe");
                }
                let output = run(&directory, args);
                Seen::of(&output, &directory, args).without(*named)
            };
            let theirs = outcome("theirs", &|directory, args| tool.run(directory, args));
            let ours = outcome("ours", &ours);
            if theirs != ours {
                faults.push(format!(
                    "{args:?}:\n createrepo_c {theirs:#?}\n we {ours:#?}"
                ));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn bad_packages_and_wrong_usage_end_as_they_do_there() {
    for tool in Tool::all() {
        for (args, theirs_ends, ours_ends) in [
            // createrepo_c leaves the package out and says so with 2; we change nothing.
            (&["--quiet"][..], 2, 1),
            (&["--error-exit-val"], 2, 2),
            (&["-g", "absent.xml"], 1, 2),
        ] {
            let run = |run: &dyn Fn(&Path, &[&str]) -> Output| {
                let root = tempfile::tempdir().unwrap();
                let directory = directory(Plain, root.path(), run);
                fs::write(directory.join("bad.rpm"), "<html>").unwrap();
                run(&directory, args).status.code()
            };
            let theirs = run(&|directory, args| tool.run(directory, args));
            assert_eq!(theirs, Some(theirs_ends), "createrepo_c {args:?}");
            assert_eq!(run(&ours), Some(ours_ends), "{args:?}");
        }
    }
}

#[test]
fn a_quiet_run_still_names_a_copy_that_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let directory = directory(Twins, root.path(), &ours);
    fs::copy(directory.join("a.rpm"), directory.join("copy.rpm")).unwrap();
    let output = ours(&directory, &["--quiet", "--duplicated-nevra", "keep-last"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("note: copy.rpm is the same file as a.rpm"),
        "{told}"
    );
    assert!(
        told.contains("note: t1.rpm is left out: t2.rpm is called t-"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");
}
