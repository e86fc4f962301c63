//! `hallmark sbom` as people and scripts see it, over packages of real projects.

use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const FORMATS: &str = "cyclonedx-1.5,cyclonedx-1.6,cyclonedx-1.7,spdx-2.3,spdx-3.0.1";

fn hallmark(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("HALLMARK_") || name_text == "SOURCE_DATE_EPOCH" {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder that the Makefile fills: packages of small projects, or their source packages.
fn folder(test: &str, variable: &str, name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os(variable) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target")
            .join(name),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI has no {}",
        folder.display()
    );
    eprintln!("SKIP {test}: no {} (make test-packages)", folder.display());
    None
}

fn packages(test: &str) -> Option<Vec<PathBuf>> {
    let folder = folder(test, "HALLMARK_TEST_RPMS", "test-rpms")?;
    let entries = fs::read_dir(folder).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    found.sort();
    Some(found)
}

fn one(packages: &[PathBuf], start: &str) -> PathBuf {
    let is_it = |path: &&PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(start)
    };
    packages.iter().find(is_it).unwrap().clone()
}

#[test]
fn one_bad_file_among_many_costs_only_its_own_document() {
    let Some(packages) = packages("one_bad_file_among_many_costs_only_its_own_document") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let bad = root.path().join("bad.rpm");
    fs::write(&bad, "<html>not found</html>").unwrap();
    let out = root.path().join("out");
    let (before, after) = packages.split_at(packages.len() / 2);
    let output = hallmark(&["sbom", "--format", FORMATS, "-o"])
        .arg(&out)
        .args(before)
        .arg(&bad)
        .args(after)
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(output.stdout.is_empty());
    let said = stderr(&output);
    // Whichever was ready first: in the order of the arguments, and each with its documents.
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let line = |path: &PathBuf| said.lines().position(|line| line.contains(&name(path)));
    let order: Vec<_> = before.iter().chain([&bad]).chain(after).map(line).collect();
    assert!(order.iter().all(Option::is_some), "{said}");
    assert!(order.is_sorted(), "{said}");
    let documents = |path: &PathBuf| said.lines().filter(|l| l.contains(&name(path))).count();
    assert!(packages.iter().all(|path| documents(path) == 5), "{said}");
    let total = packages.len() + 1;
    assert!(
        said.contains("bad.rpm: the header cannot be read: "),
        "{said}"
    );
    assert!(
        said.contains(&format!("1 of {total} packages have no SBOM")),
        "{said}"
    );
    assert_eq!(fs::read_dir(&out).unwrap().count(), packages.len() * 5);
}

#[test]
fn a_declared_version_that_is_not_the_one_inside_is_told_wherever_the_package_is_read() {
    let name = "carrier";
    let carrier = Rpm::binary(name)
        .set(
            tag::PROVIDENAME,
            Field::strings([name, "bundled(python3dist(requests))"]),
        )
        .set(tag::PROVIDEFLAGS, Field::Int32(vec![8, 8]))
        .set(tag::PROVIDEVERSION, Field::strings(["1.0-1", "2.30.0"]))
        .file(
            "/usr/lib/carrier/requests-2.31.0.dist-info/METADATA",
            b"Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\n",
        );
    let root = tempfile::tempdir().unwrap();
    let (package, source) = (root.path().join("a.rpm"), root.path().join("a.src.rpm"));
    fs::write(&package, carrier.bytes()).unwrap();
    fs::write(&source, Rpm::source(name).bytes()).unwrap();
    let warning = format!(
        "warning: {}: bundled() declares pkg:pypi/requests@2.30.0, the payload holds pkg:pypi/requests@2.31.0",
        package.display()
    );
    let run = |arguments: &[&str], files: &[&PathBuf]| {
        let mut command = hallmark(&["sbom"]);
        let output = command.args(arguments).args(files).output().unwrap();
        assert_eq!(code(&output), 0, "{arguments:?}: {output:?}");
        let said = stderr(&output);
        assert_eq!(said.matches(&warning).count(), 1, "{arguments:?}: {said}");
        output
    };
    let document: Value = serde_json::from_slice(&run(&[], &[&package]).stdout).unwrap();
    let marked = |component: &&Value| component.to_string().contains("sbom:conflict");
    let components = document["components"].as_array().unwrap();
    assert_eq!(components.iter().filter(marked).count(), 2, "{document}");
    run(&["--format", "spdx-2.3,spdx-3.0.1"], &[&package]);
    run(&["--build"], &[&source, &package]);
}

/// Runs a command in a terminal of its own, and says all that it showed there.
const IN_A_TERMINAL: &str = "\
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    os.environ['TERM'] = 'xterm'
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    try:
        shown = os.read(terminal, 65536)
    except OSError:
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn a_terminal_shows_a_bar_and_what_is_wrong_above_it() {
    let test = "a_terminal_shows_a_bar_and_what_is_wrong_above_it";
    let Some(packages) = packages(test) else {
        return;
    };
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI has no python3");
        eprintln!("SKIP {test}: no python3");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let bad = root.path().join("bad.rpm");
    fs::write(&bad, "<html>not found</html>").unwrap();
    let out = root.path().join("out");
    let output = Command::new("python3")
        .args([
            "-c",
            IN_A_TERMINAL,
            env!("CARGO_BIN_EXE_hallmark"),
            "sbom",
            "-o",
        ])
        .arg(&out)
        .arg(&bad)
        .args(&packages)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(code(&output), 1, "{shown} {}", stderr(&output));
    // How many there are and how many are done, drawn again in place; what is done is not listed.
    let total = packages.len() + 1;
    assert!(shown.contains(&format!("/ {total}")), "{shown}");
    assert!(shown.contains('\r'), "{shown}");
    assert!(
        shown.contains("error: ") && shown.contains("bad.rpm: "),
        "{shown}"
    );
    assert!(!shown.contains(".cdx.json"), "{shown}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), packages.len());
}

#[test]
fn a_package_from_stdin_has_the_document_of_the_file() {
    let Some(packages) = packages("a_package_from_stdin_has_the_document_of_the_file") else {
        return;
    };
    let package = &packages[0];
    let named = hallmark(&["sbom"]).arg(package).output().unwrap();
    let piped = hallmark(&["sbom", "-"])
        .stdin(Stdio::from(fs::File::open(package).unwrap()))
        .output()
        .unwrap();
    assert_eq!(code(&named), 0, "{named:?}");
    assert!(named.stdout == piped.stdout && named.stdout.starts_with(b"{"));
}

/// A folder with some of the packages, and metadata when asked for.
fn repository(packages: &[PathBuf], metadata: bool) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for package in packages {
        fs::copy(package, root.path().join(package.file_name().unwrap())).unwrap();
    }
    if metadata {
        let output = hallmark(&["createrepo", "--quiet"])
            .arg(root.path())
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
    }
    root
}

fn depends_on(document: &Value, name: &str) -> Vec<String> {
    let edges = document["dependencies"].as_array().unwrap().iter();
    let start = format!("pkg:rpm/hallmark/{name}@");
    let mut edges = edges.filter(|edge| {
        let key = edge["ref"].as_str().unwrap();
        key.starts_with(&start) && !key.contains("arch=src")
    });
    let keys = edges.next().unwrap()["dependsOn"]
        .as_array()
        .unwrap()
        .iter();
    keys.map(|key| key.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_release_document_comes_from_metadata_headers_or_contents_with_the_same_edges() {
    let name = "a_release_document_comes_from_metadata_headers_or_contents_with_the_same_edges";
    let Some(packages) = packages(name) else {
        return;
    };
    let release = |root: &Path, more: &[&str]| -> Value {
        let output = hallmark(&["sbom", "--release-name", "Example", "--release"])
            .arg(root)
            .args(more)
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(stderr(&output).contains(&format!("{} packages, ", packages.len())));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (listed, plain) = (repository(&packages, true), repository(&packages, false));
    let of_metadata = release(listed.path(), &["--release-version", "42"]);
    let of_headers = release(plain.path(), &[]);
    let of_contents = release(plain.path(), &["--contents"]);
    for document in [&of_metadata, &of_headers, &of_contents] {
        let needed = depends_on(document, "zlib-devel");
        assert!(
            needed
                .iter()
                .any(|key| key.starts_with("pkg:rpm/hallmark/zlib@")),
            "{needed:?}"
        );
    }
    let about = &of_metadata["metadata"]["component"];
    assert_eq!(
        (&about["name"], &about["version"]),
        (&"Example".into(), &"42".into())
    );
    assert!(!of_contents.to_string().contains("sbom:contents"));
    assert!(of_headers.to_string().contains("sbom:contents"));
}

#[test]
fn what_nothing_in_the_release_meets_is_named_and_counted() {
    let Some(packages) = packages("what_nothing_in_the_release_meets_is_named_and_counted") else {
        return;
    };
    let alone = repository(&[one(&packages, "zlib-devel-")], true);
    let output = hallmark(&["sbom", "--release"])
        .arg(alone.path())
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let said = stderr(&output);
    assert!(
        said.contains("1 packages, 0 needs met within the release, "),
        "{said}"
    );
    assert!(!said.contains(", 0 requirements"), "{said}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let properties = document["components"][0]["properties"]
        .as_array()
        .unwrap()
        .iter();
    let mut named = properties.filter(|one| one["name"] == "rpm:requires-unresolved");
    assert!(
        named.any(|one| one["value"].as_str().unwrap().starts_with("zlib")),
        "{document}"
    );
}

#[test]
fn metadata_that_is_not_what_repomd_names_is_refused() {
    let Some(packages) = packages("metadata_that_is_not_what_repomd_names_is_refused") else {
        return;
    };
    let root = repository(&packages[..1], true);
    let repodata = root.path().join("repodata");
    let repomd = fs::read_to_string(repodata.join("repomd.xml")).unwrap();
    let (before, after) = repomd.split_once("<checksum type=\"sha256\">").unwrap();
    let wrong = format!(
        "{before}<checksum type=\"sha256\">{}{}",
        "0".repeat(64),
        &after[64..]
    );
    fs::write(repodata.join("repomd.xml"), wrong).unwrap();
    let output = hallmark(&["sbom", "--release"])
        .arg(root.path())
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(output.stdout.is_empty());
    assert!(
        stderr(&output).contains("its checksum differs"),
        "{}",
        stderr(&output)
    );
}

/// Digest of everything in a folder of documents: (name, bytes), sorted.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut found: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// Other circumstances, each as the command that makes them; the last argument is where to go on.
fn circumstances() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        (
            "env",
            vec![
                "TZ=Pacific/Kiritimati",
                "LC_ALL=tr_TR.UTF-8",
                "LANG=ja_JP.UTF-8",
                "HOME=/nowhere",
                "USER=somebody",
            ],
        ),
        ("faketime", vec!["2031-02-03 04:05:06"]),
        (
            "unshare",
            vec![
                "--uts",
                "sh",
                "-c",
                "hostname elsewhere && exec \"$@\"",
                "sh",
            ],
        ),
    ]
}

/// How a build of this source package might have been made.
fn build_info(source: &Path, folder: &Path) -> String {
    let head = repo_model::rpm::Head::parse(&fs::read(source).unwrap()).unwrap();
    let digest = "ab".repeat(32);
    let info = serde_json::json!({
        "schema": "rpm-buildinfo/1",
        "source": {"nevra": "zlib-1-1.src", "sha256": digest, "header_sha256": head.header_digest().to_hex()},
        "rpmbuild": {"version": "4.18.0", "mode": "rebuild", "argv": ["--nodeps"], "target": "x86_64"},
        "macros": {"file_sha256": digest, "text": "", "evaluated": {}},
        "time": {"source_date_epoch": 1, "origin": "changelog", "mtime_policy": "clamp"},
        "env": {"HOME": "/build"}, "machine": {"arch": "x86_64", "kernel": "6", "ncpu": 2, "page_size": 4096},
        "identity": {"hostname": "builder", "uid": 1, "gid": 1, "user": "u", "umask": "0022"},
        "buildroot": {
            "kind": "dnf", "lock_sha256": digest, "installer": "dnf", "packages": 2,
            "toolchain": ["gcc 14-1 x86_64", "binutils 2-1 x86_64"],
            "locked": [{"nevra": "gcc-14-1.x86_64", "sha256": digest, "header_sha256": digest, "size_bytes": 1}],
        },
        "sandbox": {"kind": "bwrap", "version": "0.8", "network": "none", "build_path": "/b", "limits": "weak"},
        "outputs": [],
    });
    let path = folder.join("zlib.buildinfo");
    fs::write(&path, info.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn documents_are_the_same_under_another_clock_zone_locale_host_and_order() {
    let name = "documents_are_the_same_under_another_clock_zone_locale_host_and_order";
    let Some(mut packages) = packages(name) else {
        return;
    };
    let Some(sources) = folder(name, "HALLMARK_TEST_SOURCES", "test-sources") else {
        return;
    };
    let entries = fs::read_dir(sources)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let entries: Vec<_> = entries.collect();
    let source = one(&entries, "zlib-");
    let root = tempfile::tempdir().unwrap();
    let info = build_info(&source, root.path());
    let work = |folder: &str, packages: &[PathBuf], around: Option<&(&str, Vec<&str>)>| {
        let out = root.path().join(folder);
        let repository = repository(packages, false);
        let zlib: Vec<_> = packages
            .iter()
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("zlib")
            })
            .cloned()
            .chain([source.clone()])
            .collect();
        let scopes: [(&[&str], &[PathBuf]); 3] = [
            (&[], packages),
            (&["--build", "--buildinfo", &info], &zlib),
            (
                &["--contents", "--release"],
                &[repository.path().to_owned()],
            ),
        ];
        for (options, paths) in scopes {
            let binary = env!("CARGO_BIN_EXE_hallmark");
            let mut command = match around {
                None => Command::new(binary),
                Some((tool, arguments)) => {
                    let mut command = Command::new(tool);
                    command.args(arguments).arg(binary);
                    command
                }
            };
            let command = command.args(["sbom", "--format", FORMATS, "-o"]).arg(&out);
            let output = command.args(options).args(paths).output().unwrap();
            assert_eq!(code(&output), 0, "{folder}: {output:?}");
        }
        contents(&out)
    };
    let wanted = work("plain", &packages, None);
    // Five formats of each package, of the build and of the release.
    assert_eq!(wanted.len(), 5 * (packages.len() + 2));
    packages.reverse();
    assert!(work("reversed", &packages, None) == wanted, "another order");
    for around in circumstances() {
        let mut probe = Command::new(around.0);
        let works = probe.args(&around.1).arg("true").output();
        if !works.is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI has no {}", around.0);
            eprintln!("SKIP {name}, under {}: it does not run here", around.0);
            continue;
        }
        assert!(
            work(around.0, &packages, Some(&around)) == wanted,
            "under {}",
            around.0
        );
    }
}
