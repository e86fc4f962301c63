//! What can go wrong between a package and its documents.

use repo_model::rpm::HeaderError;
use std::io;

/// Why a package has no SBOM.
///
/// All but [`Self::Read`], [`Self::Write`], [`Self::Build`] and [`Self::Options`] are the package's fault: the same bytes fail again.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// The package's fault: not an RPM, or a header that breaks its own rules.
    #[error("the header cannot be read")]
    Header(#[from] HeaderError),
    /// The source of the bytes failed; reading it again may succeed.
    #[error("the package cannot be read")]
    Read(#[source] io::Error),
    /// The sink failed; writing again may succeed.
    #[error("the document cannot be written")]
    Write(#[source] io::Error),
    /// The package uses a payload format or codec that this crate does not know.
    #[error("payload {what} `{name}` is not supported")]
    Unsupported {
        /// `compressor` or `format`.
        what: &'static str,
        /// As the header names it.
        name: String,
    },
    /// The codec refused the compressed payload: damaged or cut short.
    #[error("the payload is damaged: {codec} fails after {plain_bytes} bytes of content")]
    Codec {
        /// The codec's name.
        codec: &'static str,
        /// Bytes decompressed before the failure.
        plain_bytes: u64,
        /// What the codec said.
        #[source]
        source: io::Error,
    },
    /// The package asks for more than [`crate::Limits`] allows.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What was limited.
        what: &'static str,
        /// The limit, in the unit that `what` names.
        limit: u64,
    },
    /// The archive inside the payload is malformed.
    #[error("the payload's archive is malformed at byte {offset}: {why}")]
    Archive {
        /// Offset in the decompressed payload.
        offset: u64,
        /// What was expected.
        why: &'static str,
    },
    /// The payload holds a file that the header does not name, or names it twice.
    #[error("the payload holds `{path}`, {why}")]
    StrayFile {
        /// Path as in the payload.
        path: String,
        /// What is wrong with its being there.
        why: &'static str,
    },
    /// The header names a file that the payload does not hold.
    #[error("the payload lacks `{path}`, which the header lists")]
    MissingFile {
        /// Absolute path.
        path: String,
    },
    /// A file's content is not the one that the header promises.
    #[error("`{path}` has {what} {found}, the header says {expected}")]
    FileMismatch {
        /// Absolute path.
        path: String,
        /// Size, link target, or the digest's name.
        what: &'static str,
        /// As the header says.
        expected: String,
        /// As found in the payload.
        found: String,
    },
    /// The payload as a whole is not the one that the header promises.
    #[error("the payload's {what} is {found}, the header says {expected}")]
    PayloadMismatch {
        /// Which digest.
        what: &'static str,
        /// As the header says.
        expected: String,
        /// As computed.
        found: String,
    },
    /// The caller's fault: these packages are not one build.
    #[error("{package} {why}")]
    Build {
        /// Which one.
        package: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value of the options cannot stand in a document; the operator's configuration is wrong.
    #[error("`{value}` cannot be used as {what}")]
    Options {
        /// Which option.
        what: &'static str,
        /// Its value.
        value: String,
    },
}
