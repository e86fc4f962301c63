//! How fast small packages are judged and signed, beside `rpmsign`: 200 packages of one build, with
//! two rebuild statements and two SBOMs each, over the signer's socket; and the parts of the work,
//! one at a time.
//!
//! `cargo bench -p hallmark-signer --bench sign`; prints one line a measurement.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Rpm, World, now, rebuilds, sboms, tools};
use repo_model::dsse::Envelope;
use repo_model::policy::{self, Evidence, Policy};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PACKAGES: usize = 200;

/// One package with all that is sent about it.
struct Prepared {
    rpm: Rpm,
    head: Vec<u8>,
    envelopes: Vec<Envelope>,
    sboms: Vec<Vec<u8>>,
}

fn main() {
    let world = World::start();
    let Some(files) = built(world.dir.path()) else {
        return;
    };
    let prepared: Vec<Prepared> = files
        .iter()
        .map(|path| Rpm::read(path))
        .map(|rpm| Prepared {
            head: rpm.head.to_bytes(),
            envelopes: rebuilds(&rpm),
            sboms: sboms(&rpm),
            rpm,
        })
        .collect();
    parts(&world, &prepared);
    let fastest = [1, 2, 4, 8]
        .map(|connections| {
            let took = through_the_socket(&world, &prepared, connections);
            report(&format!("hallmark-signer, {connections} connections"), took);
            took
        })
        .into_iter()
        .min()
        .unwrap_or_default();
    if let Some(took) = rpmsign(world.dir.path(), &files) {
        report("rpmsign, gpg with Ed25519", took);
        let factor = took.as_secs_f64() / fastest.as_secs_f64();
        line(&format!("hallmark-signer is {factor:.0} times as fast"));
    }
}

/// The whole answer for each package, asked on so many connections side by side.
fn through_the_socket(world: &World, prepared: &[Prepared], connections: usize) -> Duration {
    let share = prepared.len().div_ceil(connections);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for some in prepared.chunks(share) {
            let mut client = world.client();
            scope.spawn(move || {
                for one in some {
                    client
                        .sign_package(&one.head, &one.envelopes, &one.sboms)
                        .unwrap();
                }
            });
        }
    });
    started.elapsed()
}

/// What the time goes into.
fn parts(world: &World, prepared: &[Prepared]) {
    let text = std::fs::read_to_string(&world.config.policy_file).unwrap();
    let policy = Policy::from_toml(&text).unwrap();
    let now = now();
    measured("  judging", prepared, |one| {
        let evidence = Evidence {
            head: &one.rpm.head,
            envelopes: &one.envelopes,
            sboms: &one.sboms,
        };
        std::hint::black_box(policy::judge(&policy, &evidence, now));
    });
    let keys = hallmark_signer::keys::load(&world.config).unwrap();
    measured("  OpenPGP signature, checked", prepared, |one| {
        keys.package.sign(one.rpm.head.main_bytes(), now).unwrap();
    });
    measured("  two statement signatures", prepared, |one| {
        keys.statement.sign("bench", &one.head);
        keys.statement.sign("bench", &one.head);
    });
    let file = std::fs::File::create(world.dir.path().join("flush")).unwrap();
    measured("  a journal line on the disk", prepared, |_| {
        (&file).write_all(&[b'x'; 1500]).unwrap();
        file.sync_data().unwrap();
    });
}

fn measured(what: &str, prepared: &[Prepared], each: impl Fn(&Prepared)) {
    let started = Instant::now();
    prepared.iter().for_each(each);
    report(what, started.elapsed());
}

/// `None` without rpmsign or gpg.
fn rpmsign(dir: &Path, files: &[PathBuf]) -> Option<Duration> {
    if !(tools::have("rpmsign") && tools::have("gpg")) {
        return None;
    }
    let home = dir.join("gnupg");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let home = home.to_str().unwrap();
    let make = ["--homedir", home, "--batch", "--passphrase", ""];
    let key = ["--quick-gen-key", "bench@b.example", "ed25519", "sign"];
    tools::ok("gpg", &[&make[..], &key].concat());
    let found = tools::ok("sh", &["-c", "command -v gpg"]);
    let macros = [
        "_gpg_name bench@b.example".to_owned(),
        format!("_gpg_path {home}"),
        format!("__gpg {}", found.trim()),
    ];
    let mut arguments = vec!["--addsign"];
    arguments.extend(macros.iter().flat_map(|one| ["--define", one]));
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let started = Instant::now();
    tools::ok("rpmsign", &arguments);
    let took = started.elapsed();
    tools::run("gpgconf", &["--homedir", home, "--kill", "all"]);
    Some(took)
}

/// 200 packages of one spec file; `None` without rpmbuild.
fn built(dir: &Path) -> Option<Vec<PathBuf>> {
    if !tools::have("rpmbuild") {
        return None;
    }
    let mut spec = "Name: many\nVersion: 1.0\nRelease: 1\nSummary: A test\nLicense: MIT\n\
                    BuildArch: noarch\n%description\nA test.\n%install\n\
                    mkdir -p %{buildroot}/usr/share/many\n\
                    for n in $(seq 200); do seq 1 500 > %{buildroot}/usr/share/many/$n; done\n"
        .to_owned();
    for n in 1..=PACKAGES {
        spec.push_str(&format!(
            "%package {n}\nSummary: A test\n%description {n}\nA test.\n%files {n}\n/usr/share/many/{n}\n"
        ));
    }
    let path = dir.join("many.spec");
    std::fs::write(&path, spec).unwrap();
    let top = format!("_topdir {}", dir.join("rpmbuild").display());
    tools::ok(
        "rpmbuild",
        &["-bb", "--define", &top, path.to_str().unwrap()],
    );
    let name = |n| dir.join(format!("rpmbuild/RPMS/noarch/many-{n}-1.0-1.noarch.rpm"));
    Some((1..=PACKAGES).map(name).collect())
}

fn report(what: &str, took: Duration) {
    let each = took / u32::try_from(PACKAGES).unwrap_or(1);
    line(&format!(
        "{what:<40} {:>8.0} ms for {PACKAGES} packages, {:>6.0} µs each",
        took.as_secs_f64() * 1e3,
        each.as_secs_f64() * 1e6
    ));
}

fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
