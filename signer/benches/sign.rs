//! How fast small packages are judged and signed, beside `rpmsign`: 200 packages of 20 builds with all that a default
//! policy demands about each (provenance, two sealed rebuilds, two SBOMs, seven proofs of the log).
//!
//! Two things are compared with what rpmsign does. (a) The same work: the signature over the header made, checked,
//! put into the file, and the file written. (b) The whole answer over the signer's socket: judged, looked up in the
//! log, signed, two statements made, all of it in the journal on the disk.
//!
//! Then the parts of the work, one at a time; RSA-4096 beside the bare arithmetic; and a package of 2 GB beside a
//! small one.
//!
//! `cargo bench -p hallmark-signer --bench sign`; prints one line a measurement. Processor time beside the
//! wall clock's: what else runs on the machine changes the one less than the other.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "parts/evidence.rs"]
mod evidence;

use common::serving::{Serving, program};
use common::{Rpm, World, base, now, sboms, tools};
use evidence::{Prepared, demanding};
use hallmark_signer::client::Client;
use repo_model::config::KeyAlgorithm;
use repo_model::policy::{self, Evidence, Policy};
use repo_model::rpm::signature::{OpenPgpSignature, with_openpgp};
use repo_model::rpm::{Head, HeadLimits, Package};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PACKAGES: usize = 200;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let Some(files) = built(dir.path()) else {
        return;
    };
    let rpms: Vec<Rpm> = files.iter().map(|path| Rpm::read(path)).collect();
    let first = Fresh::start(&rpms, KeyAlgorithm::default());
    parts(&first.world, &rpms, &first.prepared);
    let alone = [1, 2].map(|threads| same_work(&first.world, &first.prepared, threads));
    let whole = [1, 2, 4, 8].map(|connections| {
        let fresh = Fresh::start(&rpms, KeyAlgorithm::default());
        let cpu = || cpu_of("self") + cpu_of(&fresh.serving.id().to_string());
        let before = cpu();
        let took = through_the_socket(&fresh.world, &fresh.prepared, connections);
        let cpu = cpu() - before;
        let what = format!("(b) whole answers, {connections} connections");
        report(&what, took, PACKAGES);
        line(&format!(
            "    {:.0} µs of CPU each, client included",
            cpu.as_secs_f64() * 1e6 / PACKAGES as f64
        ));
        took
    });
    let fastest = |all: &[Duration]| all.iter().min().copied().unwrap_or_default();
    let (alone, whole) = (fastest(&alone), fastest(&whole));
    for (name, prefix) in [
        ("rpmsign of this machine", Some(Vec::new())),
        ("rpmsign 6", tools::in_forky(dir.path(), "rpmsign")),
    ] {
        let took = prefix.and_then(|prefix| rpmsign(&prefix, dir.path(), &files));
        let Some(took) = took else { continue };
        report(&format!("{name}, gpg with Ed25519"), took, PACKAGES);
        let factor = |ours: Duration| took.as_secs_f64() / ours.as_secs_f64();
        line(&format!(
            "(a) the same work: {:.0} times as fast as {name}",
            factor(alone)
        ));
        line(&format!(
            "(b) the whole answer: {:.0} times as fast as {name} signs",
            factor(whole)
        ));
    }
    rsa(&rpms[..20]);
    large(dir.path(), &rpms[0]);
}

/// A signer, in a process of its own, that has signed none of the packages and has checked none of their
/// evidence.
struct Fresh {
    world: World,
    serving: Serving,
    prepared: Vec<Prepared>,
}

impl Fresh {
    fn start(rpms: &[Rpm], key_algorithm: KeyAlgorithm) -> Self {
        let mut world = World::prepared();
        world.config.key_algorithm = key_algorithm;
        demanding(&world);
        let serving = Serving::start(&world, program(&world, &["serve"], "")).unwrap();
        Self {
            prepared: evidence::prepared(&world, rpms.to_vec()),
            world,
            serving,
        }
    }
}

/// What rpmsign does: a signed file for each unsigned one. The signature is checked, too.
fn same_work(world: &World, prepared: &[Prepared], threads: usize) -> Duration {
    let keys = hallmark_signer::keys::load_at(&world.config, now()).unwrap();
    let (key, time) = (&keys.package, now());
    let folder = world.dir.path().join(format!("signed{threads}"));
    std::fs::create_dir(&folder).unwrap();
    let sign = |one: &Prepared| {
        let rpm = &one.rpm;
        let signature = OpenPgpSignature {
            packet: key.sign(rpm.head.main_bytes(), time).unwrap(),
            legacy: Some(key.slot()),
        };
        let header = with_openpgp(&rpm.head, &[signature]).unwrap();
        let name = folder.join(rpm.package.nevra.file_name());
        let mut file = std::fs::File::create(name).unwrap();
        for part in [
            rpm.head.lead(),
            &header,
            rpm.head.main_bytes(),
            rpm.payload(),
        ] {
            file.write_all(part).unwrap();
        }
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        for some in prepared.chunks(prepared.len().div_ceil(threads)) {
            scope.spawn(move || some.iter().for_each(sign));
        }
    });
    let took = started.elapsed();
    let what = format!("(a) signature made, checked, spliced; file written, {threads} threads");
    report(&what, took, prepared.len());
    took
}

fn ask(client: &mut Client, one: &Prepared) {
    let log = Some(one.log.clone());
    client
        .sign_package(&base(), &one.head, &one.envelopes, &one.sboms, log)
        .unwrap();
}

/// RSA-4096: whole answers beside bare signatures. Only the first packages: it is slow.
fn rsa(rpms: &[Rpm]) {
    let fresh = Fresh::start(rpms, KeyAlgorithm::Rsa4096);
    let (world, few) = (&fresh.world, &fresh.prepared[..]);
    let keys = hallmark_signer::keys::load_at(&world.config, now()).unwrap();
    let time = now();
    measured("RSA-4096 signature, checked", few, |one| {
        keys.package.sign(one.rpm.head.main_bytes(), time).unwrap();
    });
    let post_quantum = &keys.post_quantum.as_ref().unwrap().package;
    measured("ML-DSA-65+Ed25519 signature, checked", few, |one| {
        post_quantum.sign(one.rpm.head.main_bytes(), time).unwrap();
    });
    let started = Instant::now();
    std::thread::scope(|scope| {
        for some in few.chunks(few.len().div_ceil(2)) {
            let key = &keys.package;
            scope.spawn(move || {
                for one in some {
                    key.sign(one.rpm.head.main_bytes(), time).unwrap();
                }
            });
        }
    });
    let bare = started.elapsed();
    let whole = through_the_socket(world, few, 2);
    let share = bare.as_secs_f64() / whole.as_secs_f64() * 100.0;
    line(&format!(
        "RSA-4096, 20 packages, 2 threads: bare signatures {:.0} ms, whole answers {:.0} ms: {share:.0} % of the limit",
        bare.as_secs_f64() * 1e3,
        whole.as_secs_f64() * 1e3
    ));
}

/// The header of a package of 2 GB is signed as quickly as that of a small one.
fn large(dir: &Path, small: &Rpm) {
    let spec = "Name: large\nVersion: 1.0\nRelease: 1\nSummary: A test\nLicense: MIT\n\
                BuildArch: noarch\n%define _binary_payload w.ufdio\n%description\nA test.\n%install\n\
                mkdir -p %{buildroot}/usr/share/large\n\
                truncate -s 2G %{buildroot}/usr/share/large/zeros\n%files\n/usr/share/large\n";
    std::fs::write(dir.join("large.spec"), spec).unwrap();
    let top = format!("_topdir {}", dir.join("rpmbuild").display());
    let path = dir.join("large.spec");
    tools::ok(
        "rpmbuild",
        &["-bb", "--define", &top, path.to_str().unwrap()],
    );
    let path = dir.join("rpmbuild/RPMS/noarch/large-1.0-1.noarch.rpm");
    let size = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::File::open(&path).unwrap();
    let head = Head::read(&file, &HeadLimits::default()).unwrap();
    let package = Package::from_head(&head).unwrap();
    let rpm = Rpm {
        bytes: Vec::new(),
        head,
        package,
    };
    let fresh = Fresh::start(&[small.clone(), rpm], KeyAlgorithm::default());
    let both = &fresh.prepared;
    let mut client = fresh.world.client();
    let mut each = |one: &Prepared| {
        let started = Instant::now();
        for _ in 0..50 {
            ask(&mut client, one);
        }
        started.elapsed().as_secs_f64() * 1e6 / 50.0
    };
    let (of_small, of_large) = (each(&both[0]), each(&both[1]));
    line(&format!(
        "a package of {size} bytes: {of_large:.0} µs; a small one: {of_small:.0} µs"
    ));
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
                    ask(&mut client, one);
                }
            });
        }
    });
    started.elapsed()
}

/// What the time goes into.
fn parts(world: &World, rpms: &[Rpm], prepared: &[Prepared]) {
    let text = std::fs::read_to_string(&world.config.policy_file).unwrap();
    let policy = Policy::from_toml(&text).unwrap();
    // Statements of another second than the signer's have other signatures: none was checked before.
    std::thread::sleep(Duration::from_millis(1_100));
    let judged: Vec<_> = rpms
        .iter()
        .zip(evidence::said(rpms))
        .map(|(rpm, said)| {
            let envelopes: Vec<_> = said.into_iter().map(|(envelope, _)| envelope).collect();
            (rpm, envelopes, sboms(rpm))
        })
        .collect();
    let now = now();
    for what in ["  judging", "  judging once more"] {
        measured(what, &judged, |(rpm, envelopes, sboms)| {
            let head = &rpm.head;
            let evidence = Evidence {
                head,
                envelopes,
                sboms,
            };
            let judgement = policy::judge(&policy, &evidence, now);
            assert_eq!(judgement.decision, policy::Decision::Release);
        });
    }
    let keys = hallmark_signer::keys::load_at(&world.config, now).unwrap();
    measured("  OpenPGP signature, checked", prepared, |one| {
        keys.package.sign(one.rpm.head.main_bytes(), now).unwrap();
    });
    measured("  two statement signatures", prepared, |one| {
        keys.quick_statement.envelope("bench", &one.head).unwrap();
        keys.quick_statement.envelope("bench", &one.head).unwrap();
    });
    let file = std::fs::File::create(world.dir.path().join("flush")).unwrap();
    measured("  a journal line on the disk", prepared, |_| {
        (&file).write_all(&[b'x'; 1500]).unwrap();
        file.sync_data().unwrap();
    });
}

fn measured<T>(what: &str, prepared: &[T], each: impl Fn(&T)) {
    let (started, before) = (Instant::now(), cpu_of_thread());
    prepared.iter().for_each(each);
    let (took, cpu) = (started.elapsed(), cpu_of_thread() - before);
    report(what, took, prepared.len());
    let each = cpu.as_secs_f64() * 1e6 / prepared.len() as f64;
    line(&format!("    {each:.0} µs of CPU each"));
}

/// Time that this thread ran (proc(5), `schedstat`).
fn cpu_of_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Time that all threads of a process ran, in hundredths of a second (proc(5), `stat`: utime and stime).
fn cpu_of(process: &str) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// `None` without rpmsign or gpg.
///
/// * `prefix`: what stands before each command; with one, `dir` is `/mnt`.
fn rpmsign(prefix: &[String], dir: &Path, files: &[PathBuf]) -> Option<Duration> {
    if prefix.is_empty() && !(tools::have("rpmsign") && tools::have("gpg")) {
        return None;
    }
    let seen_as = |path: &Path| match (prefix.is_empty(), path.strip_prefix(dir)) {
        (false, Ok(below)) => Path::new("/mnt").join(below).display().to_string(),
        _ => path.display().to_string(),
    };
    let run = |words: &[&str]| {
        let prefix = prefix.iter().map(String::as_str);
        let words: Vec<_> = prefix.chain(words.iter().copied()).collect();
        tools::ok(words[0], &words[1..])
    };
    let copies = dir.join(format!("copies{}", prefix.len()));
    std::fs::create_dir(&copies).unwrap();
    let copy = |file: &PathBuf| {
        let to = copies.join(file.file_name().unwrap());
        std::fs::copy(file, &to).unwrap();
        to
    };
    let files: Vec<PathBuf> = files.iter().map(copy).collect();
    let home = dir.join(format!("gnupg{}", prefix.len()));
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let home = seen_as(&home);
    let gpg = run(&["sh", "-c", "command -v gpg"]);
    let sign = [
        "rpmsign --addsign --define '_gpg_name bench@b.example'".to_owned(),
        format!(
            "--define '_gpg_path {home}' --define '__gpg {}'",
            gpg.trim()
        ),
        files
            .iter()
            .map(|file| seen_as(file))
            .collect::<Vec<_>>()
            .join(" "),
    ];
    // One process group, so that gpg's agent is the same for the key and the signatures.
    let script = format!(
        "set -e; export GNUPGHOME={home}
         gpg -q --batch --passphrase '' --quick-gen-key bench@b.example ed25519 sign
         date +%s%N > {home}/begin; {} > /dev/null; date +%s%N > {home}/end; gpgconf --kill all",
        sign.join(" ")
    );
    run(&["sh", "-c", &script]);
    let at = |name: &str| -> u64 {
        let local = dir.join(format!("gnupg{}", prefix.len())).join(name);
        std::fs::read_to_string(local)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    Some(Duration::from_nanos(at("end") - at("begin")))
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

fn report(what: &str, took: Duration, packages: usize) {
    let each = took / u32::try_from(packages).unwrap_or(1);
    line(&format!(
        "{what:<64} {:>8.0} ms for {packages} packages, {:>6.0} µs each",
        took.as_secs_f64() * 1e3,
        each.as_secs_f64() * 1e6
    ));
}

fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
