//! Repositories made by hand, copies of them, and what a careful client would see in a copy.

use mirrors::reading::{Algorithm, PackageClaim, Packed, Repomd, read_primary};
use mirrors::sync::{
    FileReport, FilteredMetadata, Filters, Patience, Request, Summary, SyncError, Upstream, Verify,
    Watch, sync,
};
use repo_model::{FileDigest, Timestamp};
use sha2::{Digest as _, Sha512};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// A package: any bytes will do.
#[derive(Debug, Clone)]
pub struct Package {
    pub href: String,
    pub bytes: Vec<u8>,
    pub arch: &'static str,
    pub version: u32,
}

impl Package {
    pub fn new(name: &str, size: usize) -> Self {
        let bytes = name.bytes().cycle().take(size).collect();
        Self {
            href: format!("Packages/{name}-1-1.noarch.rpm"),
            bytes,
            arch: "noarch",
            version: 1,
        }
    }

    /// The same of another version.
    pub fn of_version(name: &str, version: u32) -> Self {
        let mut package = Self::new(&format!("{name}{version}"), 1_000);
        package.href = format!("Packages/{name}-{version}-1.noarch.rpm");
        package.version = version;
        package
    }

    fn name(&self) -> &str {
        let file = self.href.rsplit('/').next().unwrap();
        file.split('-').next().unwrap()
    }
}

/// `count` packages of some kilobytes.
pub fn packages(count: usize) -> Vec<Package> {
    (0..count)
        .map(|n| Package::new(&format!("p{n}"), 4_000 + n))
        .collect()
}

/// Writes a repository as `publish` after `publish` leaves it: files of earlier ones stay.
pub fn write_repository(root: &Path, packages: &[Package], at: i64) {
    write_with(root, packages, at, "sha256");
}

/// The same with another kind of checksum for the packages.
pub fn write_with(root: &Path, packages: &[Package], at: i64, kind: &str) {
    for package in packages {
        write(root, &package.href, &package.bytes);
    }
    write_metadata(root, &primary(packages, kind), at);
}

/// The text of primary.
pub fn primary(packages: &[Package], kind: &str) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\"?>\n<metadata packages=\"{}\">\n",
        packages.len()
    );
    for package in packages {
        let sum = match kind {
            "sha512" => hex::encode(Sha512::digest(&package.bytes)),
            _ => FileDigest::of(&package.bytes).to_hex(),
        };
        text.push_str(&format!(
            "<package type=\"rpm\"><name>{}</name><arch>{}</arch><version epoch=\"0\" ver=\"{}\" rel=\"1\"/>\
             <checksum type=\"{kind}\" pkgid=\"YES\">{sum}</checksum><size package=\"{}\"/>\
             <location href=\"{}\"/></package>\n",
            package.name(),
            package.arch,
            package.version,
            package.bytes.len(),
            package.href
        ));
    }
    text + "</metadata>\n"
}

/// Writes primary and the `repomd.xml` that names it.
pub fn write_metadata(root: &Path, primary: &str, at: i64) {
    let digest = FileDigest::of(primary.as_bytes());
    let href = format!("repodata/{digest}-primary.xml");
    write(root, &href, primary.as_bytes());
    let size = primary.len();
    let repomd = format!(
        "<?xml version=\"1.0\"?>\n<repomd><revision>{at}</revision><data type=\"primary\">\
         <checksum type=\"sha256\">{digest}</checksum><location href=\"{href}\"/>\
         <timestamp>{at}</timestamp><size>{size}</size></data></repomd>\n"
    );
    write(root, "repodata/repomd.xml", repomd.as_bytes());
}

/// Adds a further file to a repository, and its record to `repomd.xml`.
pub fn add_record(root: &Path, record_type: &str, name: &str, bytes: &[u8]) {
    let (digest, size) = (FileDigest::of(bytes), bytes.len());
    let href = format!("repodata/{digest}-{name}");
    write(root, &href, bytes);
    let repomd = fs::read_to_string(root.join("repodata/repomd.xml")).unwrap();
    let record = format!(
        "<data type=\"{record_type}\"><checksum type=\"sha256\">{digest}</checksum><location href=\"{href}\"/>\
         <size>{size}</size></data></repomd>"
    );
    let repomd = repomd.replace("</repomd>", &record);
    write(root, "repodata/repomd.xml", repomd.as_bytes());
}

pub fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, bytes).unwrap();
    fs::rename(fresh, path).unwrap();
}

/// A request with all that tests do not care about; impatient.
pub fn request(urls: &[String], directory: &Path) -> Request {
    let stall = Duration::from_secs(1);
    Request {
        upstreams: urls
            .iter()
            .map(|url| Upstream::new(url, stall).unwrap())
            .collect(),
        directory: directory.to_owned(),
        store: None,
        filters: Filters::default(),
        filtered_metadata: FilteredMetadata::Keep,
        workers: NonZeroUsize::new(4).unwrap(),
        bytes_per_sec: None,
        patience: Patience {
            slowest_bytes_per_sec: 1_000,
            slow_window: Duration::from_secs(1),
            attempts: 3,
            pause: Duration::from_millis(10),
        },
        delete_after: None,
        allow_older: false,
        skip_missing: false,
        unclaimed_max_bytes: 1 << 20,
        now: Timestamp::from_unix_secs(1_800_000_000),
    }
}

/// Where the first bytes of a file lie that a sync was cut off from.
pub fn partial(copy: &Path, file: &[u8]) -> PathBuf {
    let hex = FileDigest::of(file).to_hex();
    let place = format!(".hallmark/store/partial/{}/sha256-{hex}", &hex[..2]);
    copy.join(place)
}

/// Remembers what it is told.
#[derive(Default)]
pub struct Told {
    pub files: Mutex<Vec<(String, String, Option<u64>)>>,
    pub problems: Mutex<Vec<String>>,
}

impl Watch for Told {
    fn file(&self, file: &FileReport<'_>) {
        let action = format!("{:?}", file.action);
        self.files
            .lock()
            .unwrap()
            .push((file.path.to_owned(), action, file.fetched_bytes));
        self.problems
            .lock()
            .unwrap()
            .extend(file.problems.iter().cloned());
    }
}

impl Told {
    /// What was done about a file.
    pub fn of(&self, path: &str) -> (String, Option<u64>) {
        let files = self.files.lock().unwrap();
        let found = files.iter().find(|(file, _, _)| file == path);
        let (_, action, bytes) = found.unwrap_or_else(|| panic!("{path} is not in {files:?}"));
        (action.clone(), *bytes)
    }
}

/// Syncs without signatures.
pub fn run(request: &Request) -> Result<Summary, SyncError> {
    sync(request, Verify::Nothing, None, &Told::default())
}

/// Reads a copy as a client does, from `repomd.xml` on: names and bytes of its packages.
///
/// # Panics
/// When anything that is named is not there or is not what it should be.
pub fn read_copy(root: &Path) -> Vec<(String, Vec<u8>)> {
    let text = fs::read(root.join("repodata/repomd.xml")).unwrap();
    read_named(root, &text)
}

/// The same from a `repomd.xml` that was read before.
pub fn read_named(root: &Path, repomd: &[u8]) -> Vec<(String, Vec<u8>)> {
    let repomd = Repomd::parse(repomd).unwrap();
    let mut packages = Vec::new();
    for record in &repomd.records {
        let file = fs::File::open(root.join(&record.href)).unwrap();
        let mut packed = Packed::new(Box::new(file), record).unwrap();
        if record.record_type == "primary" {
            read_primary(&mut packed, |claim| packages.push(claim)).unwrap();
        }
        let sums = packed.finish().unwrap();
        assert_eq!(
            sums.hex,
            record.checksum.as_ref().map(|sum| sum.hex.clone())
        );
    }
    packages
        .iter()
        .map(|claim| (claim.href.clone(), read_package(root, claim)))
        .collect()
}

fn read_package(root: &Path, claim: &PackageClaim) -> Vec<u8> {
    let bytes =
        fs::read(root.join(&claim.href)).unwrap_or_else(|error| panic!("{}: {error}", claim.href));
    let sum = claim.checksum.as_ref().unwrap();
    let found = match sum.algorithm {
        Algorithm::Sha512 => hex::encode(Sha512::digest(&bytes)),
        _ => FileDigest::of(&bytes).to_hex(),
    };
    assert_eq!(found, sum.hex, "{}", claim.href);
    bytes
}

/// Every file and directory below a place, but not what is the sync's own.
pub fn tree(root: &Path) -> Vec<PathBuf> {
    let mut open = vec![root.to_owned()];
    let mut all = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".hallmark") {
                continue;
            }
            if path.is_dir() {
                open.push(path.clone());
            }
            all.push(path);
        }
    }
    all.sort();
    all
}
