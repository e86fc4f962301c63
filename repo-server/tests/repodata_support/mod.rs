//! Packages made by hand, and small tools, for the tests of repository metadata.
#![allow(dead_code, unused_imports)] // each test binary uses a part of it

#[allow(clippy::duplicate_mod)] // some test binaries use both supports
#[path = "../real_packages/mod.rs"]
mod real;
pub mod reference;

pub use real::real_packages;

use repo_model::rpm::{
    ChangelogEntry, Dependency, DependencyFlags, FileEntry, FileKind, Package, RpmFormat,
};
use repo_model::{Evr, FileDigest, HeaderDigest, Nevra, Timestamp};
use repo_server::repodata::{
    Codec, Entry, FrameCache, Inputs, NoFrameCache, Options, Repodata, Sha512Digest, sort,
};
use std::collections::HashMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const PUBLISHED: i64 = 1_763_632_800;

/// A package with nothing but a name, version 1.0, release 1, no dependencies and no files.
pub fn package(name: &str) -> Package {
    Package {
        nevra: Nevra {
            name: name.to_owned(),
            evr: Evr {
                epoch: 0,
                version: "1.0".to_owned(),
                release: "1".to_owned(),
            },
            arch: "noarch".to_owned(),
        },
        has_epoch_tag: false,
        format: RpmFormat::V4,
        is_source: false,
        header_digest: HeaderDigest::of(name.as_bytes()),
        header_range: 4504..9120,
        source_rpm: Some(format!("{name}-1.0-1.src.rpm")),
        summary: format!("The {name} package"),
        description: format!("What {name} does."),
        license: "MIT".to_owned(),
        vendor: None,
        group: "Unspecified".to_owned(),
        packager: None,
        url: None,
        bug_url: None,
        vcs: None,
        distribution: None,
        build_host: "localhost".to_owned(),
        build_time: Timestamp::from_unix_secs(1_763_629_200),
        rpm_version: None,
        cookie: None,
        optflags: None,
        platform: None,
        modularity_label: None,
        installed_size_bytes: 4096,
        archive_size_bytes: 4400,
        payload_compressor: "zstd".to_owned(),
        payload_flags: None,
        payload_sha256: None,
        payload_sha256_alt: None,
        file_digest_algorithm: 8,
        files: Vec::new(),
        provides: vec![equal(name, "1.0-1")],
        requires: Vec::new(),
        conflicts: Vec::new(),
        obsoletes: Vec::new(),
        suggests: Vec::new(),
        enhances: Vec::new(),
        recommends: Vec::new(),
        supplements: Vec::new(),
        changelog: Vec::new(),
        sources: Vec::new(),
        patches: Vec::new(),
    }
}

pub fn needs(name: &str) -> Dependency {
    needs_with(name, 0)
}

pub fn needs_with(name: &str, sense: u32) -> Dependency {
    Dependency {
        name: name.to_owned(),
        version: None,
        sense,
    }
}

pub fn equal(name: &str, version: &str) -> Dependency {
    Dependency {
        name: name.to_owned(),
        version: Some((DependencyFlags::Eq, version.to_owned())),
        sense: 8,
    }
}

pub fn file(path: &str, kind: FileKind, flags: u32) -> FileEntry {
    let (dir, base) = path.rsplit_once('/').unwrap();
    FileEntry {
        path: path.to_owned(),
        dir: format!("{dir}/"),
        base: base.to_owned(),
        size_bytes: 10,
        mode: if kind == FileKind::Dir {
            0o040_755
        } else {
            0o100_644
        },
        kind,
        flags,
        mtime: Timestamp::default(),
        digest: String::new(),
        link_target: String::new(),
        user: "root".to_owned(),
        group: "root".to_owned(),
        inode: 1,
    }
}

pub fn change(secs: i64, author: &str, text: &str) -> ChangelogEntry {
    ChangelogEntry {
        time: Timestamp::from_unix_secs(secs),
        author: author.to_owned(),
        text: text.to_owned(),
    }
}

/// A small, lively package: number `n` of a made-up distribution.
pub fn numbered(n: usize) -> Package {
    let name = format!("{}-{n:04}", ["alpha", "lib", "python3-x", "zeta"][n % 4]);
    let mut package = package(&name);
    package.requires = vec![
        needs("/bin/sh"),
        equal("libc", "2.38"),
        needs(&format!("cap({})", n / 3)),
    ];
    package.provides.push(equal(&format!("cap({n})"), "1:2-3"));
    package.files = (0..n % 7)
        .map(|f| file(&format!("/usr/bin/{name}-{f}"), FileKind::Regular, 0))
        .chain([file(&format!("/usr/share/doc/{name}"), FileKind::Dir, 0)])
        .collect();
    package.changelog = vec![change(
        1_763_553_600 + n as i64,
        "A <a@example.org> - 1.0-1",
        "- made & <done>",
    )];
    package
}

pub type Packages = HashMap<FileDigest, Package>;

/// Entries for these packages, sorted, and the source to load them from.
pub fn listed(packages: impl IntoIterator<Item = Package>) -> (Vec<Entry>, Packages) {
    let mut entries = Vec::new();
    let mut source = Packages::new();
    for package in packages {
        let file_digest = FileDigest::of(package.nevra.to_string().as_bytes());
        entries.push(Entry {
            nevra: package.nevra.clone().into(),
            file_digest,
            sha512: Some(Box::new(Sha512Digest::of(
                package.nevra.to_string().as_bytes(),
            ))),
            file_size_bytes: 27_104,
            href: format!("Packages/{}", package.nevra.file_name())
                .parse()
                .unwrap(),
            added_at: Timestamp::from_unix_secs(PUBLISHED),
        });
        source.insert(file_digest, package);
    }
    sort(&mut entries);
    (entries, source)
}

pub fn options(codec: Codec) -> Options {
    Options {
        codec,
        ..Options::default()
    }
}

/// Inputs without extras.
pub fn inputs<'a>(
    entries: &'a [Entry],
    packages: &'a Packages,
    cache: &'a dyn FrameCache,
    workers: usize,
) -> Inputs<'a> {
    Inputs {
        entries,
        packages,
        extras: &[],
        cache,
        workers: NonZeroUsize::new(workers).unwrap(),
    }
}

/// Builds at `PUBLISHED` without a cache.
pub fn built(entries: &[Entry], packages: &Packages, options: &Options) -> Repodata {
    repo_server::repodata::build(
        &inputs(entries, packages, &NoFrameCache, 1),
        options,
        Timestamp::from_unix_secs(PUBLISHED),
    )
    .unwrap()
}

/// The bytes of the file of this type.
pub fn file_of<'a>(repodata: &'a Repodata, record_type: &str) -> &'a [u8] {
    let file = repodata
        .files
        .iter()
        .find(|f| f.record.record_type == record_type);
    &file.unwrap_or_else(|| panic!("no {record_type}")).bytes
}

/// The uncompressed XML of these packages: primary, filelists or other.
pub fn xml_of(packages: impl IntoIterator<Item = Package>, record_type: &str) -> String {
    let (entries, source) = listed(packages);
    let repodata = built(&entries, &source, &options(Codec::None));
    String::from_utf8(file_of(&repodata, record_type).to_vec()).unwrap()
}

/// Decompresses by the name's suffix, all frames or members.
pub fn decompressed(name: &str, bytes: &[u8]) -> Vec<u8> {
    if name.ends_with(".zst") {
        return zstd::decode_all(bytes).unwrap();
    }
    let mut open = Vec::new();
    if name.ends_with(".xz") {
        // A single stream, as clients read it.
        let mut decoder = liblzma::read::XzDecoder::new(bytes);
        decoder.read_to_end(&mut open).unwrap();
        assert_eq!(decoder.total_in(), bytes.len() as u64, "one stream");
    } else if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(bytes)
            .read_to_end(&mut open)
            .unwrap();
    } else {
        open.extend_from_slice(bytes);
    }
    open
}

/// Whether a system tool answers; says so loudly when it does not, and fails where CI promises it, on Debian.
pub fn has_tool(tool: &str) -> bool {
    if Command::new(tool).arg("--version").output().is_ok() {
        return true;
    }
    skipped(&format!("`{tool}` is not installed"));
    false
}

/// Says that a test, or a part of it, lacks something; fails where CI promises that: on Debian, since not every
/// distribution has all tools, nor can make the client root.
pub fn skipped(why: &str) {
    let promised = std::env::var_os("CI").is_some() && Path::new("/etc/debian_version").exists();
    assert!(!promised, "CI is set but {why}");
    eprintln!("SKIPPED: {why}");
}

/// A small deterministic source of choices, so that a failure can be run again.
pub struct Choices(pub u64);

impl Choices {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Writes a repository's metadata below `root`.
pub fn write_repository(root: &Path, repodata: &Repodata) {
    std::fs::create_dir_all(root.join("repodata")).unwrap();
    for file in &repodata.files {
        std::fs::write(root.join(&file.record.name), &file.bytes).unwrap();
    }
    std::fs::write(root.join("repodata/repomd.xml"), &repodata.repomd).unwrap();
}

/// A command in the client root that `scripts/make-forky.sh` makes, with `directory` at `/mnt/t`;
/// `None`, said aloud as [`skipped`] does, when there is no such root, or it cannot be entered.
pub fn in_client_root(directory: &Path, arguments: &[&str]) -> Option<Command> {
    let cache = std::env::var_os("HALLMARK_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/hallmark"), PathBuf::from);
    let root = cache.join("forky");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/in-forky.sh");
    if !root.join("usr/bin").join(arguments[0]).exists() || !script.exists() {
        skipped(&format!("{} has no {}", root.display(), arguments[0]));
        return None;
    }
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "120"]).arg(&script);
    command
        .arg("--bind")
        .arg(directory)
        .arg("/mnt/t")
        .arg(&root);
    let tried = Command::new(&script).arg(&root).arg("true").output().ok()?;
    if !tried.status.success() {
        let told = String::from_utf8_lossy(&tried.stderr);
        skipped(&format!("{} cannot be entered: {told}", root.display()));
        return None;
    }
    command.args(arguments);
    Some(command)
}

/// Runs a command that must succeed; returns its output.
pub fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
