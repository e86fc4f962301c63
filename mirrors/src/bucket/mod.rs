//! A place in an S3 bucket, as files by name: what is there, reading, and putting with conditions.
//!
//! Settings and credentials come from the environment, under the names that AWS tools use: `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` (or `AWS_ENDPOINT_URL_S3`), web
//! identity, containers' and instances' roles. Objects are as big as a file; nothing here knows repositories.

mod connector;
mod reader;

use crate::reading::REPOMD;
use crate::sync::OWN_DIRECTORY;
use crate::sync::claim::Claim;
use bytes::Bytes;
use connector::Connector;
use futures_util::StreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, BackoffConfig, Error as StoreError, GetOptions, GetResult,
    MultipartUpload as _, ObjectStore as _, ObjectStoreExt as _, PutMode, PutMultipartOptions,
    PutOptions, RetryConfig, UpdateVersion,
};
use repo_model::FileDigest;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// What is put at once; larger files come in parts of it. S3 wants 5 MiB at least.
const PART_BYTES: u64 = 8 << 20;
/// Parts that a file may have; S3 takes 10,000.
const PARTS_MAX: u64 = 9_000;
/// Tries again after failures that may pass, and for how long.
const RETRIES: usize = 4;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// Names of what an object says of itself.
const CLAIM_MARK: &str = "hallmark-claim";
const SHA256_MARK: &str = "hallmark-sha256";

/// Something went wrong with a bucket.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The caller's fault.
    #[error("`{url}` is not a place in a bucket: want s3://BUCKET or s3://BUCKET/PREFIX")]
    Place {
        /// What was given.
        url: String,
    },
    /// The caller's fault: variables of the environment (`AWS_…`) cannot be used.
    #[error("the settings for S3 in the environment cannot be used")]
    Settings {
        /// Which, and why.
        #[source]
        source: StoreError,
    },
    /// The caller's fault, or that of who runs the bucket: the credentials in the environment are wrong, or
    /// may not do this.
    #[error("the bucket's server refuses {what} {url}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Where.
        url: String,
        /// What it said.
        #[source]
        source: StoreError,
    },
    /// Somebody else has written there meanwhile. Retry.
    #[error("somebody else has changed {url} meanwhile")]
    Changed {
        /// What.
        url: String,
    },
    /// It is not there: the bucket, or a file of it that was there before.
    #[error("there is no {url}")]
    Missing {
        /// What.
        url: String,
        /// What the server said.
        #[source]
        source: StoreError,
    },
    /// The server's or the network's fault; retry later.
    #[error("cannot {what} {url}")]
    Unreachable {
        /// What was asked for.
        what: &'static str,
        /// Where.
        url: String,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The fault of who keeps files there: an object has a name that no file can have.
    #[error("an object below {url} has a name that cannot be used: remove or rename it")]
    Name {
        /// Below where.
        url: String,
        /// Which object, and what is wrong with its name.
        #[source]
        source: StoreError,
    },
    /// This machine's fault.
    #[error("cannot use this machine's threads or files for the bucket")]
    Local(#[source] io::Error),
}

/// What reading a file of the bucket ended with is the bucket's again; all else is this machine's.
impl From<io::Error> for BucketError {
    fn from(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Local)
    }
}

/// A file as the bucket lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub size_bytes: u64,
    /// Names this content; none where the server has no such thing.
    pub etag: Option<Box<str>>,
}

/// What an object of ours says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marks {
    pub claim: Claim,
    pub sha256: FileDigest,
}

/// When a file may be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    /// Nothing is there.
    Absent,
    /// What is there is what was listed.
    Still(Listed),
    /// In any case.
    Always,
}

/// A place in a bucket. Used from several threads, which wait for its answers.
#[derive(Debug)]
pub struct Bucket {
    store: AmazonS3,
    /// Of what the store works with: its clock.
    runtime: Runtime,
    prefix: String,
    url: String,
}

impl Bucket {
    /// Whether a text names a place in a bucket at all.
    pub fn is_named_by(text: &str) -> bool {
        text.starts_with("s3://")
    }

    /// * `url`: `s3://BUCKET/PREFIX`.
    ///
    /// Reads the environment and asks nobody.
    pub fn new(url: &str) -> Result<Self, BucketError> {
        let wrong = || BucketError::Place {
            url: url.to_owned(),
        };
        let place = url.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if bucket.is_empty() || !(prefix.is_empty() || prefix.split('/').all(is_plain)) {
            return Err(wrong());
        }
        Key::parse(prefix).map_err(|_| wrong())?;
        let settings = |source| BucketError::Settings { source };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_http_connector(Connector)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRY_TIMEOUT,
            });
        // Who names a server without TLS means it: one on this machine, or on a line of its own.
        let endpoints = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
        let endpoint = endpoints.iter().find_map(|name| std::env::var(name).ok());
        if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
            builder = builder.with_allow_http(true);
        }
        let shown = match prefix {
            "" => format!("s3://{bucket}"),
            prefix => format!("s3://{bucket}/{prefix}"),
        };
        Ok(Self {
            store: builder.build().map_err(settings)?,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()?,
            prefix: prefix.to_owned(),
            url: shown,
        })
    }

    /// `s3://BUCKET/PREFIX`.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn key(&self, path: &str) -> Result<Key, BucketError> {
        let text = match &*self.prefix {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        Key::parse(text).map_err(|_| BucketError::Place {
            url: self.url_of(path),
        })
    }

    fn url_of(&self, path: &str) -> String {
        match path {
            "" => self.url.clone(),
            path => format!("{}/{path}", self.url),
        }
    }

    fn failed(&self, what: &'static str, path: &str) -> impl FnOnce(StoreError) -> BucketError {
        let url = self.url_of(path);
        move |source| match source {
            StoreError::Precondition { .. } | StoreError::AlreadyExists { .. } => {
                BucketError::Changed { url }
            }
            StoreError::NotFound { .. } => BucketError::Missing { url, source },
            StoreError::InvalidPath { .. } => BucketError::Name { url, source },
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                BucketError::Refused { what, url, source }
            }
            source => match status(&source) {
                Some(401 | 403) => BucketError::Refused { what, url, source },
                Some(404) => BucketError::Missing { url, source },
                _ => BucketError::Unreachable { what, url, source },
            },
        }
    }

    /// Somebody else has changed a file.
    pub(crate) fn changed(&self, path: &str) -> BucketError {
        BucketError::Changed {
            url: self.url_of(path),
        }
    }

    /// All files below the place, by their path there.
    pub(crate) fn list(&self) -> Result<HashMap<Box<str>, Listed>, BucketError> {
        let mut there = HashMap::new();
        self.each_listed(&mut |path, listed| {
            there.insert(Box::from(path), listed);
        })?;
        Ok(there)
    }

    /// Shows all files below the place as they are listed, a page at a time.
    fn each_listed(&self, see: &mut dyn FnMut(&str, Listed)) -> Result<(), BucketError> {
        let prefix = match &*self.prefix {
            "" => None,
            _ => Some(self.key("")?),
        };
        let skip = match self.prefix.len() {
            0 => 0,
            length => length + 1,
        };
        self.runtime.block_on(async {
            let mut all = self.store.list(prefix.as_ref());
            while let Some(object) = all.next().await {
                let object = object.map_err(self.failed("list", ""))?;
                if let Some(path) = object.location.as_ref().get(skip..) {
                    let listed = Listed {
                        size_bytes: object.size,
                        etag: object.e_tag.map(String::into_boxed_str),
                    };
                    see(path, listed);
                }
            }
            Ok(())
        })
    }

    /// URLs of the repositories at the place and below it, sorted: of all that have a `repomd.xml`.
    pub fn repositories(&self) -> Result<Vec<String>, BucketError> {
        let mut found = Vec::new();
        self.each_file(&mut |path| {
            let root = path.strip_suffix(REPOMD);
            if let Some(root) = root.filter(|root| root.is_empty() || root.ends_with('/')) {
                found.push(self.url_of(root.trim_end_matches('/')));
            }
        })?;
        found.sort();
        Ok(found)
    }

    /// Shows the paths of all files at the place.
    pub fn each_file(&self, see: &mut dyn FnMut(&str)) -> Result<(), BucketError> {
        self.each_listed(&mut |path, _| see(path))
    }

    fn head(&self, path: &str) -> Result<GetResult, BucketError> {
        let key = self.key(path)?;
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.runtime.block_on(self.store.get_opts(&key, options));
        found.map_err(self.failed("look at", path))
    }

    /// When an object was put, by the server's clock.
    pub(crate) fn modified(&self, path: &str) -> Result<SystemTime, BucketError> {
        let secs = self.head(path)?.meta.last_modified.timestamp();
        let secs = u64::try_from(secs).unwrap_or_default();
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(secs))
    }

    /// What an object says of itself, and how it is listed; no marks: somebody else put it there.
    pub(crate) fn marks(&self, path: &str) -> Result<(Listed, Option<Marks>), BucketError> {
        let found = self.head(path)?;
        let mark = |name: &'static str| found.attributes.get(&Attribute::Metadata(name.into()));
        let marks = mark(CLAIM_MARK).zip(mark(SHA256_MARK));
        let marks = marks.and_then(|(claim, sha256)| {
            Some(Marks {
                claim: claim.parse().ok()?,
                sha256: sha256.parse().ok()?,
            })
        });
        let listed = Listed {
            size_bytes: found.meta.size,
            etag: found.meta.e_tag.map(String::into_boxed_str),
        };
        Ok((listed, marks))
    }

    /// Puts bytes; how they are listed then.
    pub(crate) fn put(
        &self,
        path: &str,
        bytes: Vec<u8>,
        marks: Option<&Marks>,
        when: &When,
    ) -> Result<Listed, BucketError> {
        let key = self.key(path)?;
        let size_bytes = bytes.len() as u64;
        let bytes = Bytes::from(bytes);
        let put = |mode| {
            let options = PutOptions {
                mode,
                attributes: attributes(path, marks),
                ..PutOptions::default()
            };
            let putting = self.store.put_opts(&key, bytes.clone().into(), options);
            self.runtime.block_on(putting)
        };
        let put = match put(mode(when)) {
            // A server that has no conditions: two syncs at once there are the user's risk.
            Err(StoreError::NotImplemented { .. }) => put(PutMode::Overwrite),
            outcome => outcome,
        };
        let put = put.map_err(self.failed("put", path))?;
        Ok(Listed {
            size_bytes,
            etag: put.e_tag.map(String::into_boxed_str),
        })
    }

    /// Puts a file; how it is listed then. Files of more than one part know no conditions: what was there is
    /// replaced when the last part has come.
    pub(crate) fn put_file(
        &self,
        path: &str,
        source: &Path,
        marks: Option<&Marks>,
        when: &When,
    ) -> Result<Listed, BucketError> {
        let mut file = File::open(source)?;
        let size_bytes = file.metadata()?.len();
        if size_bytes <= PART_BYTES {
            let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or_default());
            file.read_to_end(&mut bytes)?;
            return self.put(path, bytes, marks, when);
        }
        let part_bytes = PART_BYTES.max(size_bytes.div_ceil(PARTS_MAX));
        let key = self.key(path)?;
        let options = PutMultipartOptions {
            attributes: attributes(path, marks),
            ..PutMultipartOptions::default()
        };
        let failed = || self.failed("put", path);
        let mut upload = self
            .runtime
            .block_on(self.store.put_multipart_opts(&key, options))
            .map_err(failed())?;
        let parts = (0..size_bytes.div_ceil(part_bytes)).try_for_each(|_| {
            let mut part = Vec::new();
            (&mut file).take(part_bytes).read_to_end(&mut part)?;
            let part = upload.put_part(Bytes::from(part).into());
            self.runtime.block_on(part).map_err(failed())
        });
        if let Err(error) = parts {
            // Its parts would be kept, and paid for, without a name.
            if let Err(error) = self.runtime.block_on(upload.abort()) {
                tracing::debug!("{}: parts are left behind: {error}", self.url_of(path));
            }
            return Err(error);
        }
        let put = self.runtime.block_on(upload.complete());
        Ok(Listed {
            size_bytes,
            etag: put.map_err(failed())?.e_tag.map(String::into_boxed_str),
        })
    }

    /// Gives an object a second name, inside the bucket.
    pub(crate) fn copy(&self, from: &str, to: &str) -> Result<(), BucketError> {
        let (from, key) = (self.key(from)?, self.key(to)?);
        let copied = self.runtime.block_on(self.store.copy(&from, &key));
        copied.map_err(self.failed("put", to))
    }

    /// Removes a file, which may be gone already.
    pub(crate) fn delete(&self, path: &str) -> Result<(), BucketError> {
        let key = self.key(path)?;
        match self.runtime.block_on(self.store.delete(&key)) {
            Err(StoreError::NotFound { .. }) => Ok(()),
            outcome => outcome.map_err(self.failed("remove", path)),
        }
    }
}

impl BucketError {
    /// Whether trying again later may help without anybody doing anything.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Changed { .. })
    }
}

/// The HTTP status behind an error that has no kind of its own, as those of lists: the library keeps it to itself, but
/// for what it tells people.
fn status(error: &StoreError) -> Option<u16> {
    let text = error.to_string();
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn mode(when: &When) -> PutMode {
    match when {
        When::Absent => PutMode::Create,
        When::Still(Listed {
            etag: Some(etag), ..
        }) => PutMode::Update(UpdateVersion {
            e_tag: Some(etag.to_string()),
            version: None,
        }),
        When::Still(Listed { etag: None, .. }) | When::Always => PutMode::Overwrite,
    }
}

/// What web clients and caches are told, and what the next sync goes by.
fn attributes(path: &str, marks: Option<&Marks>) -> Attributes {
    let name = path.rsplit('/').next().unwrap_or(path);
    let kind = match name.rsplit('.').next().unwrap_or_default() {
        "rpm" => "application/x-rpm",
        "xml" => "application/xml",
        "json" => "application/json",
        "asc" | "key" => "text/plain",
        "gz" => "application/gzip",
        "zst" => "application/zstd",
        _ => "application/octet-stream",
    };
    let mut all = Attributes::new();
    all.insert(Attribute::ContentType, kind.into());
    let by_digest = marks.is_some_and(|marks| name.starts_with(&marks.claim.hex()));
    if by_digest {
        let for_ever = "public, max-age=31536000, immutable";
        all.insert(Attribute::CacheControl, for_ever.into());
    } else if marks.is_none() || path.starts_with(OWN_DIRECTORY) {
        all.insert(Attribute::CacheControl, "no-cache".into());
    }
    if let Some(marks) = marks {
        for (name, value) in [
            (CLAIM_MARK, marks.claim.to_string()),
            (SHA256_MARK, marks.sha256.to_hex()),
        ] {
            all.insert(Attribute::Metadata(name.into()), value.into());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_bucket_is_read_and_what_is_none_is_refused_by_name() {
        for (url, shown, key) in [
            ("s3://b", "s3://b", "repodata/repomd.xml"),
            ("s3://b/", "s3://b", "repodata/repomd.xml"),
            ("s3://b/x/y/", "s3://b/x/y", "x/y/repodata/repomd.xml"),
        ] {
            let bucket = Bucket::new(url).unwrap();
            assert_eq!(bucket.url(), shown);
            assert_eq!(bucket.key("repodata/repomd.xml").unwrap().as_ref(), key);
        }
        for bad in [
            "s3://",
            "s3:///x",
            "http://b/x",
            "s3://b/../x",
            "s3://b//x/./y",
            "b",
        ] {
            let error = Bucket::new(bad).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
        let kept = Bucket::new("s3://b").unwrap();
        let odd = "Packages/c/libstdc++~1^2-%.rpm";
        assert_eq!(kept.key(odd).unwrap().as_ref(), odd);
    }

    #[test]
    fn what_went_wrong_is_put_down_to_whose_fault_it_is() {
        let bucket = Bucket::new("s3://b/x").unwrap();
        let source = Key::parse("x/Packages//a.rpm").unwrap_err();
        let error = bucket.failed("list", "")(StoreError::InvalidPath { source });
        assert!(!error.is_unreachable());
        let BucketError::Name { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(source.to_string().contains("Packages//a.rpm"), "{source}");
        let read = io::Error::other(bucket.changed("a"));
        assert!(BucketError::from(read).is_unreachable());
        let local = BucketError::from(io::Error::other("disk"));
        assert!(matches!(local, BucketError::Local(_)));
    }

    #[test]
    fn caches_keep_what_its_name_says_and_ask_again_for_what_moves() {
        let digest = FileDigest::of(b"x");
        let marks = Marks {
            claim: Claim::of(digest),
            sha256: digest,
        };
        let cached = |path: &str, marks: Option<&Marks>| {
            let all = attributes(path, marks);
            all.get(&Attribute::CacheControl)
                .map(|value| value.to_string())
        };
        let named = format!("repodata/{digest}-primary.xml.zst");
        assert!(cached(&named, Some(&marks)).unwrap().contains("immutable"));
        assert_eq!(cached("Packages/a.rpm", Some(&marks)), None);
        let pointer = cached("repodata/repomd.xml", None);
        assert_eq!(pointer.as_deref(), Some("no-cache"));
    }
}
