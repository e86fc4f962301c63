//! `hallmark publish` with packages that rpmbuild made, against a server that keeps what it gets.

#[path = "../src/testing.rs"]
mod testing;

use repo_model::rpm::Head;
use repo_model::{FileDigest, HeaderDigest};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use testing::{Answer, Request, Server};

/// Whether rpmbuild is there; says so when not. In CI a missing tool is a failure.
fn have_rpmbuild() -> bool {
    let found = Command::new("rpmbuild").arg("--version").output().is_ok();
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "rpmbuild is not installed"
        );
        eprintln!("SKIPPED: rpmbuild is not installed");
    }
    found
}

/// One package's source and binary, and a buildinfo of them, in `dir`.
fn build(dir: &Path, name: &str) {
    let spec = dir.join(format!("{name}.spec"));
    let text = format!(
        "Name: {name}\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n%files\n"
    );
    std::fs::write(&spec, text).unwrap();
    let top = dir.join("top");
    let output = Command::new("rpmbuild")
        .args(["-ba", "--define"])
        .arg(format!("_topdir {}", top.display()))
        .args([
            "--define",
            "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        ])
        .arg(&spec)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let source = dir.join(format!("{name}-1-1.src.rpm"));
    let binary = dir.join(format!("{name}-1-1.noarch.rpm"));
    std::fs::rename(top.join(format!("SRPMS/{name}-1-1.src.rpm")), &source).unwrap();
    std::fs::rename(top.join(format!("RPMS/{name}-1-1.noarch.rpm")), &binary).unwrap();
    std::fs::remove_dir_all(&top).unwrap();
    std::fs::remove_file(spec).unwrap();
    std::fs::write(
        dir.join(format!("{name}-1-1.buildinfo.json")),
        buildinfo(name, &source, &binary),
    )
    .unwrap();
}

fn measure(path: &Path) -> (FileDigest, HeaderDigest, usize) {
    let bytes = std::fs::read(path).unwrap();
    (
        FileDigest::of(&bytes),
        Head::parse(&bytes).unwrap().header_digest(),
        bytes.len(),
    )
}

fn buildinfo(name: &str, source: &Path, binary: &Path) -> String {
    let zero = "0".repeat(64);
    let (source, source_header, _) = measure(source);
    let (binary, binary_header, size) = measure(binary);
    json!({
        "schema": "rpm-buildinfo/1",
        "source": {"nevra": format!("{name}-1-1.src"), "sha256": source, "header_sha256": source_header},
        "rpmbuild": {"version": "4.18.0", "mode": "rebuild", "argv": [], "target": "noarch"},
        "macros": {"file_sha256": zero, "text": "", "evaluated": {}},
        "time": {"source_date_epoch": null, "origin": "none", "mtime_policy": "clamp"},
        "env": {},
        "identity": {"hostname": "h", "uid": 1000, "gid": 1000, "user": "u", "umask": "0022"},
        "machine": {"arch": "x86_64", "kernel": "6", "ncpu": 2, "page_size": 4096},
        "buildroot": {"kind": "host", "lock_sha256": zero, "installer": "dpkg", "packages": 1},
        "sandbox": {"kind": "bwrap", "version": "0.8", "network": "none", "build_path": "/b", "limits": "weak"},
        "outputs": [{"nevra": format!("{name}-1-1.noarch"), "file_sha256": binary, "header_sha256": binary_header,
            "size_bytes": size}],
    })
    .to_string()
}

/// Keeps blobs, numbers builds, refuses builds that name what was not uploaded.
#[derive(Default)]
struct Kept {
    blobs: HashMap<String, Vec<u8>>,
    builds: Vec<Value>,
}

fn answer(kept: &Mutex<Kept>, stage: &str, request: &Request) -> Answer {
    let mut kept = kept.lock().unwrap();
    let blob = request.path.strip_prefix("/api/v1/blobs/");
    match (request.method.as_str(), blob) {
        ("HEAD", Some(digest)) => Answer::status(if kept.blobs.contains_key(digest) {
            200
        } else {
            404
        }),
        ("PUT", Some(digest)) if FileDigest::of(&request.body).to_hex() == digest => {
            kept.blobs.insert(digest.to_owned(), request.body.clone());
            Answer::status(201)
        }
        ("POST", None) if request.path == "/api/v1/builds" => {
            let manifest: Value = serde_json::from_slice(&request.body).unwrap();
            let all = manifest["packages"]
                .as_array()
                .unwrap()
                .iter()
                .chain([&manifest["source"], &manifest["buildinfo"]]);
            assert!(
                all.map(|digest| digest.as_str().unwrap())
                    .all(|digest| kept.blobs.contains_key(digest))
            );
            if manifest["repo"] != "base" {
                return Answer::json(
                    404,
                    r#"{"error":"there is no repository extras here","code":"unknown-repo"}"#,
                );
            }
            let number = kept
                .builds
                .iter()
                .position(|known| *known == manifest)
                .unwrap_or(kept.builds.len());
            if number == kept.builds.len() {
                kept.builds.push(manifest);
            }
            let receipt = json!({"build": number + 1, "source": "a-1-1.src", "stage": "received", "packages": [],
                "warnings": ["no URL"]});
            Answer::json(201, &receipt.to_string())
        }
        ("GET", None) if request.path.starts_with("/api/v1/builds/") => {
            let zero = "0".repeat(64);
            let status = json!({"build": 1, "repo": "base", "source": "a-1-1.src", "source_file": zero, "buildinfo": zero,
                "provenance": null, "stage": stage, "release": 1, "reasons": [{"code": "provenance-missing"}],
                "received_at": "2026-11-20T10:06:00Z", "changed_at": "2026-11-20T10:06:00Z", "packages": [],
                "rebuilds": [], "jobs": []});
            Answer::json(200, &status.to_string())
        }
        _ => Answer::json(400, r#"{"error":"unexpected","code":"unexpected"}"#),
    }
}

struct World {
    dir: tempfile::TempDir,
    server: Server,
    kept: Arc<Mutex<Kept>>,
}

impl World {
    fn start(stage: &'static str) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let server = Server::start({
            let kept = kept.clone();
            move |request| answer(&kept, stage, request)
        });
        Self {
            dir: tempfile::tempdir().unwrap(),
            server,
            kept,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn publish(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hallmark"))
            .args(["publish", "--server", &self.server.url()])
            .arg(self.dir.path())
            .args(args)
            .output()
            .unwrap()
    }

    fn puts(&self) -> usize {
        self.server
            .requests()
            .iter()
            .filter(|request| request.method == "PUT")
            .count()
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_folder_with_two_builds_is_published_and_publishing_again_sends_nothing() {
    if !have_rpmbuild() {
        return;
    }
    let world = World::start("published");
    build(world.dir.path(), "a");
    build(world.dir.path(), "b");
    let output = world.publish(&[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    assert!(
        text(&output).contains("warning: a-1-1.src: no URL"),
        "{}",
        text(&output)
    );
    let srpm = std::fs::read(world.path("b-1-1.src.rpm")).unwrap();
    let kept = world.kept.lock().unwrap();
    assert_eq!((kept.blobs.len(), kept.builds.len()), (6, 2));
    assert!(kept.blobs[&FileDigest::of(&srpm).to_hex()] == srpm);
    drop(kept);
    let before = world.puts();
    std::fs::write(
        world.path("a-1-1.build.log"),
        "as `hallmark buildinfo` leaves it",
    )
    .unwrap();
    let log = world.path("a-1-1.build.log");
    assert!(
        world
            .publish(&["--wait", log.to_str().unwrap()])
            .status
            .success()
    );
    assert_eq!(world.puts(), before);
    assert_eq!(world.kept.lock().unwrap().builds.len(), 2);
}

#[test]
fn a_build_that_is_incomplete_or_damaged_does_not_stop_the_other_and_gives_exit_code_1() {
    if !have_rpmbuild() {
        return;
    }
    let world = World::start("published");
    build(world.dir.path(), "a");
    build(world.dir.path(), "b");
    std::fs::write(world.path("a-1-1.src.rpm"), b"\xed\xab\xee\xdb cut off").unwrap();
    let output = world.publish(&["--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let receipts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(receipts.as_array().unwrap().len(), 1);
    let text = text(&output);
    assert!(
        text.contains("a-1-1.src.rpm is not a usable RPM: "),
        "{text}"
    );
    assert!(
        text.contains("the source package a-1-1.src.rpm of a-1-1.noarch.rpm is missing\nhint: "),
        "{text}"
    );
}

#[test]
fn a_held_build_makes_wait_fail_and_tell_the_reason() {
    if !have_rpmbuild() {
        return;
    }
    let world = World::start("held");
    build(world.dir.path(), "a");
    let output = world.publish(&["--wait"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let data = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        data,
        "1\ta-1-1.src\theld\n  no provenance signed by a known builder\n"
    );
}

#[test]
fn a_refused_build_tells_the_servers_sentence() {
    if !have_rpmbuild() {
        return;
    }
    let world = World::start("published");
    build(world.dir.path(), "a");
    let output = world.publish(&["--repo", "extras"]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    assert!(text.contains("error: a-1-1.src: the server did not take the build: there is no repository extras here"), "{text}");
}
