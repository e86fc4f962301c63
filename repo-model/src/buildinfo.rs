//! `rpm-buildinfo/1`: everything needed to make a build again, recorded when it ran.
//!
//! The digest of the JSON as it was uploaded names it; statements are bound to that digest.
//! JSON Schema: `docs/schema/rpm-buildinfo-1.json`.

use crate::{FileDigest, HeaderDigest, Nevra};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The only schema this version reads.
pub const SCHEMA: &str = "rpm-buildinfo/1";
/// Largest buildinfo that is read, bytes: a build root of 5,000 packages takes 2 MB.
pub const MAX_BYTES: usize = 16 << 20;

/// The buildinfo cannot be used. The builder's fault; sending it again fails again.
#[derive(Debug, thiserror::Error)]
pub enum BuildInfoError {
    /// Too large to read.
    #[error("buildinfo is {bytes} bytes; the limit is {MAX_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON of this schema.
    #[error("not an {SCHEMA} document")]
    Json(#[source] serde_json::Error),
    /// Another schema.
    #[error("buildinfo has schema `{found}`; this version reads `{SCHEMA}`")]
    Schema {
        /// What it says.
        found: String,
    },
}

/// How one build was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildInfo {
    /// [`SCHEMA`].
    pub schema: String,
    /// The source package.
    pub source: Source,
    /// rpmbuild's call.
    pub rpmbuild: RpmBuild,
    /// Macros that were loaded, and the values that reached the packages.
    pub macros: Macros,
    /// Time rules.
    pub time: TimeRules,
    /// The whole environment of the build.
    pub env: BTreeMap<String, String>,
    /// Names and numbers the build could see.
    pub identity: Identity,
    /// The machine; recorded for diagnosis, not replayed.
    pub machine: Machine,
    /// What the build ran in.
    pub buildroot: Buildroot,
    /// How it was confined.
    pub sandbox: Sandbox,
    /// What came out, sorted by NEVRA.
    pub outputs: Vec<Output>,
}

/// The source package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `foo-1.0-1.src`.
    pub nevra: Nevra,
    /// SHA-256 of the .src.rpm.
    pub sha256: FileDigest,
    /// SHA-256 of its main header.
    pub header_sha256: HeaderDigest,
    /// COOKIE of the SRPM; copied into the binaries by `--rebuild`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

/// rpmbuild's call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpmBuild {
    /// `4.18.0`.
    pub version: String,
    /// `rebuild`; or `bb` or `ba`, which give other bytes: what mock calls.
    pub mode: String,
    /// Options between `rpmbuild` and the path of the SRPM, or of the spec file.
    pub argv: Vec<String>,
    /// Target architecture.
    pub target: String,
}

/// Macros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Macros {
    /// SHA-256 of `text`.
    pub file_sha256: FileDigest,
    /// The macro file that was loaded, whole.
    pub text: String,
    /// Fully expanded values of the macros that reach headers or flags.
    pub evaluated: BTreeMap<String, String>,
}

/// Time rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeRules {
    /// SOURCE_DATE_EPOCH in seconds since 1970, when it is known from outside the spec.
    pub source_date_epoch: Option<i64>,
    /// `changelog`, `env` or `none`.
    pub origin: String,
    /// `clamp` or `none`.
    pub mtime_policy: String,
}

/// Names and numbers the build could see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Host name in the sandbox.
    pub hostname: String,
    /// User number in the sandbox.
    pub uid: u32,
    /// Group number in the sandbox.
    pub gid: u32,
    /// User name.
    pub user: String,
    /// Octal: `0022`.
    pub umask: String,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// `x86_64`.
    pub arch: String,
    /// `uname -r`.
    pub kernel: String,
    /// CPUs the build could use.
    pub ncpu: u32,
    /// Bytes.
    pub page_size: u32,
    /// SHA-256 of the sorted CPU flags, each with a newline: a build may use what the CPU can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_flags_sha256: Option<FileDigest>,
    /// Memory of the machine, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

/// What the build ran in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buildroot {
    /// `host`: the machine's own root, read-only. `dnf`: a layer made of locked packages.
    pub kind: String,
    /// Replay refuses to start in a root with another one. SHA-256 over sorted lines: of `host`,
    /// `name version arch` of all installed packages; of `dnf`, `nevra header_sha256` of `locked`.
    pub lock_sha256: FileDigest,
    /// `dpkg`, `rpm` or `dnf`.
    pub installer: String,
    /// Number of installed packages.
    pub packages: u32,
    /// The packages that matter for the result (toolchain), `name version arch`.
    #[serde(default)]
    pub toolchain: Vec<String>,
    /// SHA-256 of all files of a layer, but the package manager's own database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_sha256: Option<FileDigest>,
    /// The packages that a layer is made of, sorted by NEVRA; empty for `host`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locked: Vec<LockedPackage>,
}

/// One package of a layer, and what was known of it when it was locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// `gcc-12-1.x86_64`.
    pub nevra: Nevra,
    /// SHA-256 of the file. Signing it anew changes this and nothing else.
    pub sha256: FileDigest,
    /// SHA-256 of its main header: what it holds, signed or not.
    pub header_sha256: HeaderDigest,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Where it was; hints, as it is asked for by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Issuer of its signature as the package says (fingerprint, or key id of an old one), in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

/// How the build was confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// `bwrap`, `mock` or `exec`; `bwrap+overlay` when the build could write into its root.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// `none`.
    pub network: String,
    /// Build directory inside the sandbox; it reaches build-ids.
    pub build_path: String,
    /// `cgroup` or `weak`.
    pub limits: String,
}

/// One package that came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `foo-1.0-1.x86_64`.
    pub nevra: Nevra,
    /// SHA-256 of the unsigned file.
    pub file_sha256: FileDigest,
    /// SHA-256 of the main header.
    pub header_sha256: HeaderDigest,
    /// Bytes.
    pub size_bytes: u64,
    /// SHA-256 of the payload as it is packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_sha256: Option<FileDigest>,
    /// SHA-256 of the payload unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_alt_sha256: Option<FileDigest>,
}

impl BuildInfo {
    /// Reads a buildinfo of schema [`SCHEMA`].
    pub fn from_json(json: &[u8]) -> Result<Self, BuildInfoError> {
        if json.len() > MAX_BYTES {
            return Err(BuildInfoError::TooLarge { bytes: json.len() });
        }
        let info: Self = serde_json::from_slice(json).map_err(BuildInfoError::Json)?;
        if info.schema != SCHEMA {
            return Err(BuildInfoError::Schema {
                found: info.schema.chars().take(80).collect(),
            });
        }
        Ok(info)
    }

    /// Pretty JSON with a final newline; the bytes that are uploaded.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sample() -> Value {
        let hex = "ab".repeat(32);
        json!({
            "schema": SCHEMA,
            "source": {"nevra": "a-1-1.src", "sha256": hex, "header_sha256": hex, "cookie": "host 1"},
            "rpmbuild": {"version": "4.18.0", "mode": "rebuild", "argv": ["--nodeps"], "target": "x86_64"},
            "macros": {"file_sha256": hex, "text": "", "evaluated": {"dist": ""}},
            "time": {"source_date_epoch": 1, "origin": "changelog", "mtime_policy": "clamp"},
            "env": {"TZ": "UTC"},
            "identity": {"hostname": "h", "uid": 1, "gid": 1, "user": "u", "umask": "0022"},
            "machine": {"arch": "x86_64", "kernel": "6", "ncpu": 2, "page_size": 4096,
                "cpu_flags_sha256": hex, "memory_mib": 4096},
            "buildroot": {"kind": "host", "lock_sha256": hex, "installer": "dpkg", "packages": 1, "toolchain": [],
                "tree_sha256": hex, "locked": [{"nevra": "gcc-12-1.x86_64", "sha256": hex, "header_sha256": hex,
                "size_bytes": 1, "urls": ["https://m.example/gcc.rpm"], "signer": "AB12"}]},
            "sandbox": {"kind": "bwrap", "version": "0.8", "network": "none", "build_path": "/b", "limits": "weak"},
            "outputs": [{"nevra": "a-1-1.noarch", "file_sha256": hex, "header_sha256": hex, "size_bytes": 1,
                "payload_sha256": hex, "payload_alt_sha256": hex}],
        })
    }

    /// Every object in the document has exactly the properties that the schema knows.
    fn agree(schema: &Value, document: &Value, place: &str) {
        if let Some(list) = document.as_array() {
            list.iter()
                .for_each(|item| agree(&schema["items"], item, place));
        }
        let (Some(known), Some(found)) = (schema["properties"].as_object(), document.as_object())
        else {
            return;
        };
        let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(known), keys(found), "{place}");
        for (key, value) in found {
            agree(&known[key], value, &format!("{place}.{key}"));
        }
    }

    #[test]
    fn the_published_schema_names_every_field_and_no_other() {
        let text = include_str!("../../docs/schema/rpm-buildinfo-1.json");
        let schema: Value = serde_json::from_str(text).unwrap();
        let info = BuildInfo::from_json(sample().to_string().as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&info.to_json()).unwrap();
        agree(&schema, &written, "buildinfo");
    }

    #[test]
    fn another_schema_and_unknown_fields_are_refused() {
        let mut other = sample();
        other["schema"] = json!("rpm-buildinfo/2");
        let error = BuildInfo::from_json(other.to_string().as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("rpm-buildinfo/2"), "{error}");
        let mut more = sample();
        more["machine"]["gpu"] = json!(1);
        assert!(BuildInfo::from_json(more.to_string().as_bytes()).is_err());
    }
}
