//! What the operator decides about documents, and the limits that hostile packages meet.

use repo_model::Timestamp;
use repo_model::config::SbomConfig;

/// Who supplies the packages: the operator of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supplier {
    /// Name of the organisation.
    pub name: String,
    /// Its web address.
    pub url: String,
    /// Its address for mail about the packages.
    pub email: String,
}

impl Supplier {
    /// Takes the three facts as they are.
    pub fn new(name: impl Into<String>, url: impl Into<String>, email: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            email: email.into(),
        }
    }
}

/// Everything besides the package that shapes a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Namespace of package URLs: the vendor's slug, such as `fedora`.
    pub namespace: String,
    /// Who supplies the packages.
    pub supplier: Supplier,
    /// Where documents are addressed, such as `https://repo.example/sbom`; document namespaces
    /// start with it. No trailing slash is needed.
    pub document_base_url: String,
    /// The time in the document, normally SOURCE_DATE_EPOCH; `None` means the package's BUILDTIME.
    pub created: Option<Timestamp>,
    /// List every file with its hashes.
    pub files: bool,
    /// Hash the whole `.rpm` as well. Off by default: signing changes that hash, and a document
    /// without it holds for the package before and after signing.
    pub file_hashes: bool,
    /// Bounds on what one package may cost.
    pub limits: Limits,
}

impl Options {
    /// What a server of this configuration makes its documents with: whoever uses the same gets the same.
    ///
    /// * `public_url`: the server's, without a slash at the end; documents are addressed below it.
    pub fn of_operator(config: &SbomConfig, public_url: &str) -> Self {
        let supplier = Supplier::new(
            &config.supplier_name,
            &config.supplier_url,
            &config.supplier_email,
        );
        Self::new(&config.namespace, supplier, format!("{public_url}/sbom"))
    }

    /// Options with files listed, no hash of the whole file, BUILDTIME as time, default limits.
    pub fn new(
        namespace: impl Into<String>,
        supplier: Supplier,
        document_base_url: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            supplier,
            document_base_url: document_base_url.into(),
            created: None,
            files: true,
            file_hashes: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Options {
    /// The values that an unconfigured repository uses; they name nobody in particular.
    fn default() -> Self {
        let supplier = Supplier::new(
            "Hallmark repository operator",
            "https://hallmark.example",
            "packages@hallmark.example",
        );
        Self::new("hallmark", supplier, "https://hallmark.example/sbom")
    }
}

/// Bounds on what one package may cost. Reaching one is [`crate::SbomError::Limit`], except for
/// `inspected_file_bytes`: a longer file is hashed, not looked into, and named in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of decompressed payload.
    pub payload_bytes: u64,
    /// Bytes of one file that is looked into; it is held in memory meanwhile.
    pub inspected_file_bytes: u64,
    /// Bytes that a codec may use for its window.
    pub codec_memory_bytes: u64,
    /// Components found in one package.
    pub components: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes: 16 << 30,
            inspected_file_bytes: 256 << 20,
            codec_memory_bytes: 256 << 20,
            components: 50_000,
        }
    }
}
