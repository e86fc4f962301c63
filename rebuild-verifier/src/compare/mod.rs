//! Comparing a rebuilt package with the one that was built: a verdict on the ladder, and causes.
//!
//! The header digest names header and payload, so equal digests are checked first and no payload is
//! unpacked for them. `rpmsign --delsign` is never used: it does not restore the unsigned file.

mod archive;
mod causes;
mod clock;
mod confined;
mod content;
mod diff;
mod diffoscope;
mod files;
mod header;
mod payload;
mod signature;

pub use causes::{CAUSES, CauseRow, Detector, cause};
pub use confined::Comparer;
pub use payload::PayloadError;

use causes::{cause_in_file, cause_in_tag};
use payload::Contents;
use repo_model::Nevra;
use repo_model::rpm::{Head, HeadLimits, HeaderError, Package, tag};
use repo_model::verdict::{Cause, Verdict};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Longest detail of a cause, characters.
pub(crate) const MAX_DETAIL: usize = 400;
/// Most causes of one package.
const MAX_CAUSES: usize = 100;

/// What is known of one build beyond its packages; all of it only helps to name causes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// When it ran, seconds since 1970, inclusive.
    pub window: Option<(i64, i64)>,
    /// Name of the machine as the build saw it.
    pub host: Option<String>,
    /// `uname -r`.
    pub kernel: Option<String>,
    /// Processors.
    pub ncpu: Option<u32>,
    /// Build directory.
    pub build_path: Option<String>,
}

/// What is known of the two builds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Context {
    /// Of the build that is checked.
    pub expected: Facts,
    /// Of the rebuild.
    pub rebuilt: Facts,
}

/// The result for one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Where on the ladder.
    pub verdict: Verdict,
    /// Why it is not higher; empty for the two that confirm.
    pub causes: Vec<Cause>,
}

/// One of the packages cannot be read. Not a verdict: if it is the rebuilt one, the rebuild is at
/// fault; the other one should not have been taken in.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not an RPM.
    #[error("{path} is not a usable RPM")]
    Header {
        /// The file.
        path: PathBuf,
        /// Tag and offset.
        #[source]
        source: HeaderError,
    },
    /// Its payload cannot be unpacked.
    #[error("{path} cannot be unpacked")]
    Payload {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: PayloadError,
    },
    /// The process that compares failed: one of the packages cannot be unpacked, or not within limits.
    #[error("the comparison ended with status {exit_code}: {said}")]
    Confined {
        /// Its status.
        exit_code: i32,
        /// What it said.
        said: String,
    },
    /// It was stopped at a limit or on request, or the machine cannot confine it; see there.
    #[error("cannot compare")]
    Sandbox(#[source] Box<crate::sandbox::SandboxError>),
}

/// One of the two packages.
pub(crate) struct Side {
    path: PathBuf,
    head: Head,
    package: Package,
}

impl Side {
    fn open(path: &Path) -> Result<Self, CompareError> {
        let bad = |source| CompareError::Header {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(|source| CompareError::Io {
            path: path.to_owned(),
            source,
        })?;
        let head = Head::read(BufReader::new(file), &HeadLimits::default()).map_err(bad)?;
        let package = Package::from_head(&head).map_err(bad)?;
        Ok(Self {
            path: path.to_owned(),
            head,
            package,
        })
    }

    /// The compressed payload.
    fn payload(&self) -> io::Result<impl Read + use<>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.head.payload_offset()))?;
        Ok(file)
    }

    fn contents(&self) -> Result<Contents, CompareError> {
        let payload = self.payload().map_err(|source| self.io(source))?;
        Contents::read(payload, &self.package.files).map_err(|source| CompareError::Payload {
            path: self.path.clone(),
            source,
        })
    }

    fn io(&self, source: io::Error) -> CompareError {
        CompareError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// Length and digest of the compressed payload.
    fn payload_digest(&self) -> Result<(repo_model::FileDigest, u64), CompareError> {
        let payload = self.payload().map_err(|source| self.io(source))?;
        crate::scratch::copy_hashed(payload, io::sink(), u64::MAX).map_err(|source| self.io(source))
    }
}

/// Compares two files of the same package.
///
/// * `expected`: as it was built (or published: signatures do not matter).
/// * `rebuilt`: as it was made again.
/// * `context`: what is known of the two builds; the default is nothing.
pub fn compare(
    expected: &Path,
    rebuilt: &Path,
    context: &Context,
) -> Result<Comparison, CompareError> {
    let (expected, rebuilt) = (Side::open(expected)?, Side::open(rebuilt)?);
    if let Some(done) = of_heads(&expected, &rebuilt)? {
        return Ok(done);
    }
    let mut causes = header::causes(expected.head.main(), rebuilt.head.main());
    let (contents_a, contents_b) = (expected.contents()?, rebuilt.contents()?);
    let verdict = if contents_a.unpacked == contents_b.unpacked {
        if !causes.iter().any(|cause| cause.code == "compression") {
            let detail =
                "equal unpacked payloads, packed differently by the same settings".to_owned();
            causes.push(cause_in_tag("compression", tag::PAYLOADSHA256, detail));
        }
        Verdict::SameContent
    } else if files::same_files(&contents_a, &contents_b) {
        note_times(&mut causes, &contents_a, &contents_b);
        Verdict::SameFiles
    } else {
        let more = files::causes((&expected, &contents_a), (&rebuilt, &contents_b), context)
            .map_err(|source| CompareError::Payload {
                path: expected.path.clone(),
                source,
            })?;
        causes.extend(more);
        Verdict::Differs
    };
    Ok(finished(verdict, causes))
}

/// What can be said without unpacking a payload; `None` when one has to look inside.
pub(crate) fn compare_heads(
    expected: &Path,
    rebuilt: &Path,
) -> Result<Option<Comparison>, CompareError> {
    of_heads(&Side::open(expected)?, &Side::open(rebuilt)?)
}

fn of_heads(expected: &Side, rebuilt: &Side) -> Result<Option<Comparison>, CompareError> {
    let (payload_a, payload_b) = (expected.payload_digest()?, rebuilt.payload_digest()?);
    let same_payload = payload_a == payload_b;
    if expected.head.header_digest() == rebuilt.head.header_digest() {
        let done = same_header(expected, rebuilt, same_payload, payload_a.1);
        return Ok(Some(done));
    }
    let causes = || header::causes(expected.head.main(), rebuilt.head.main());
    Ok(same_payload.then(|| finished(Verdict::SameContent, causes())))
}

/// Compares two files and gives the result as JSON: what the command `compare` does.
///
/// * `context`: file with a [`Context`] in JSON, if any.
pub fn compare_to_json(
    expected: &Path,
    rebuilt: &Path,
    context: Option<&Path>,
) -> Result<Vec<u8>, CompareError> {
    let context = match context {
        Some(path) => {
            let io = |source| CompareError::Io {
                path: path.to_owned(),
                source,
            };
            let json = std::fs::read(path).map_err(io)?;
            serde_json::from_slice(&json).map_err(|error| io(io::Error::other(error)))?
        }
        None => Context::default(),
    };
    let mut json =
        serde_json::to_vec_pretty(&compare(expected, rebuilt, &context)?).unwrap_or_default();
    json.push(b'\n');
    Ok(json)
}

/// Equal headers: what is left are payloads that are not what the header says, lead and signatures.
///
/// When all is well, `expected`'s lead and signature header before `rebuilt`'s header and payload
/// give `expected`'s file again, byte for byte: its signatures fit our bytes.
fn same_header(
    expected: &Side,
    rebuilt: &Side,
    same_payload: bool,
    payload_bytes: u64,
) -> Comparison {
    if !same_payload {
        let detail = "equal headers before different payloads".to_owned();
        return finished(
            Verdict::Differs,
            vec![cause_in_tag("payload-digest", tag::PAYLOADSHA256, detail)],
        );
    }
    if expected.head.lead() != rebuilt.head.lead() {
        return finished(
            Verdict::SameContent,
            vec![cause("lead", "the leads differ".to_owned())],
        );
    }
    if expected.head.signature_bytes() == rebuilt.head.signature_bytes() {
        return finished(Verdict::Identical, Vec::new());
    }
    for side in [expected, rebuilt] {
        if let Err(why) = signature::check(&side.head, payload_bytes) {
            return finished(Verdict::SameContent, vec![cause("signature-header", why)]);
        }
    }
    finished(Verdict::IdenticalUnsigned, Vec::new())
}

/// When the lists of files differ in order only, header tags could not show the times.
fn note_times(causes: &mut Vec<Cause>, a: &Contents, b: &Contents) {
    if causes.iter().any(|cause| cause.code == "file-mtime") {
        return;
    }
    let after = b.by_path();
    let differing = a.entries.iter().find_map(|(entry, _)| {
        let (other, _) = after.get(entry.path.as_str())?;
        (other.mtime != entry.mtime).then_some((entry, other.mtime))
    });
    if let Some((entry, mtime)) = differing {
        let detail = format!("built {}, rebuilt {mtime}", entry.mtime);
        causes.push(cause_in_file("file-mtime", &entry.path, detail));
    }
}

fn finished(verdict: Verdict, mut causes: Vec<Cause>) -> Comparison {
    causes.truncate(MAX_CAUSES);
    Comparison { verdict, causes }
}

/// The cause when a rebuild made other packages than the build, `None` when it made the same.
pub fn set_cause(expected: &[Nevra], rebuilt: &[Nevra]) -> Option<Cause> {
    let only = |these: &[Nevra], those: &[Nevra]| -> Vec<String> {
        these
            .iter()
            .filter(|nevra| !those.contains(nevra))
            .map(Nevra::to_string)
            .collect()
    };
    let (missing, extra) = (only(expected, rebuilt), only(rebuilt, expected));
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let name = |list: Vec<String>| {
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(" ")
        }
    };
    Some(cause(
        "set-differs",
        format!(
            "only built: {}; only rebuilt: {}",
            name(missing),
            name(extra)
        ),
    ))
}
