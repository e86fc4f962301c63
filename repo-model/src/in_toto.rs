//! in-toto 0.9 links and layouts (github.com/in-toto/specification, `in-toto-spec.md`), as the reference
//! `in-toto-verify` reads them.
//!
//! Each rebuilder signs a *link*: from this source package and this buildinfo came these packages. An
//! owner signs a *layout*: links of k of these n rebuilders are needed, and what is at hand must be
//! what they made. Metadata is a "metablock": `{"signatures":[{"keyid":…,"sig":…}],"signed":{…}}`, signed
//! over the canonical JSON of `signed`.
//!
//! Two traps: artifact rules let pass what no rule speaks of, so each list ends in `DISALLOW *`; and a
//! key id must be the digest of the key as `securesystemslib` writes it, or the signature is not found.

use crate::dsse::{StatementKey, StatementPublicKey};
use crate::trust::canonical::canonical;
use crate::{FileDigest, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name of the step that rebuilders do.
pub const STEP: &str = "rebuild";
/// Name of a link's attachment in a rebuild statement.
pub const ATTACHMENT: &str = "rebuild.link.json";
/// Name of the buildinfo among the materials.
pub const BUILDINFO: &str = "buildinfo.json";
/// Name of the file that a layout is kept in.
pub const LAYOUT_FILE: &str = "root.layout";

/// A layout cannot be made of this, or a link cannot be used. The caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum InTotoError {
    /// A layout needs at least one rebuilder's agreement and cannot need more than it names.
    #[error("{threshold} of {rebuilders} rebuilders is no threshold")]
    Threshold {
        /// How many must agree.
        threshold: u32,
        /// How many there are.
        rebuilders: usize,
    },
    /// A name that would be a pattern in an artifact rule.
    #[error("{name:?} cannot stand in an artifact rule")]
    Name {
        /// The name.
        name: String,
    },
    /// Not a metablock with a link.
    #[error("not an in-toto link")]
    Link,
    /// No signature by the key.
    #[error("the link has no signature of key {key_id}")]
    Signature {
        /// The key that was tried.
        key_id: String,
    },
}

/// Names of files to their digests.
pub type Artifacts = BTreeMap<String, FileDigest>;

/// A key as `securesystemslib` writes it, and its id.
fn key(public: &StatementPublicKey) -> (String, Value) {
    let key = json!({
        "keytype": "ecdsa",
        "scheme": "ecdsa-sha2-nistp256",
        "keyval": {"public": public.to_pem()},
    });
    let id = FileDigest::of(&signable(&key)).to_hex();
    (id, key)
}

/// The id of a key in links and layouts: another one than in DSSE envelopes.
pub fn key_id(public: &StatementPublicKey) -> String {
    key(public).0
}

/// `rebuild.<first 8 of the key id>.link`: where `in-toto-verify` looks for a rebuilder's link.
pub fn link_file(public: &StatementPublicKey) -> String {
    let id = key_id(public);
    format!("{STEP}.{}.link", id.get(..8).unwrap_or(&id))
}

fn artifacts(list: &Artifacts) -> Value {
    let entry =
        |(name, digest): (&String, &FileDigest)| (name.clone(), json!({"sha256": digest.to_hex()}));
    Value::Object(list.iter().map(entry).collect())
}

fn metablock(signed: Value, signer: &StatementKey) -> Vec<u8> {
    let signature = signer.sign_bytes(&signable(&signed));
    let block = json!({
        "signatures": [{"keyid": key_id(&signer.public()), "sig": hex::encode(signature)}],
        "signed": signed,
    });
    let mut text = serde_json::to_vec_pretty(&block).unwrap_or_default();
    text.push(b'\n');
    text
}

/// A rebuilder's link: it made `products` of `materials`.
pub fn link(materials: &Artifacts, products: &Artifacts, signer: &StatementKey) -> Vec<u8> {
    let signed = json!({
        "_type": "link",
        "name": STEP,
        "materials": artifacts(materials),
        "products": artifacts(products),
        "byproducts": {},
        "command": [],
        "environment": {},
    });
    metablock(signed, signer)
}

/// The products of a link, when `by` has signed it.
pub fn open_link(text: &[u8], by: &StatementPublicKey) -> Result<Artifacts, InTotoError> {
    let block: Value = serde_json::from_slice(text).map_err(|_| InTotoError::Link)?;
    let signed = &block["signed"];
    if signed["_type"] != "link" || signed["name"] != STEP {
        return Err(InTotoError::Link);
    }
    let id = key_id(by);
    let bytes = canonical(signed).map_err(|_| InTotoError::Link)?;
    let signatures = block["signatures"].as_array().ok_or(InTotoError::Link)?;
    let verifies = signatures.iter().any(|signature| {
        let der = signature["sig"]
            .as_str()
            .and_then(|text| hex::decode(text).ok());
        signature["keyid"] == id.as_str() && der.is_some_and(|der| by.verifies(&bytes, &der))
    });
    if !verifies {
        return Err(InTotoError::Signature { key_id: id });
    }
    let products = signed["products"].as_object().ok_or(InTotoError::Link)?;
    let read = |(name, digests): (&String, &Value)| {
        let digest = digests["sha256"].as_str()?.parse().ok()?;
        Some((name.clone(), digest))
    };
    products
        .iter()
        .map(read)
        .collect::<Option<_>>()
        .ok_or(InTotoError::Link)
}

/// What a layout demands.
#[derive(Debug, Clone)]
pub struct Demands<'a> {
    /// Keys of the rebuilders that may do the step.
    pub rebuilders: &'a [StatementPublicKey],
    /// How many of them must have made the same.
    pub threshold: u32,
    /// The source package's file name.
    pub source: &'a str,
    /// File names of all packages that the build makes.
    pub packages: &'a [String],
    /// From when on the layout is worth nothing.
    pub expires: Timestamp,
}

/// A layout: step `rebuild` by `threshold` rebuilders, then an inspection that the packages in the
/// directory are the step's products and that nothing else lies there but the evidence itself.
pub fn layout(demands: &Demands<'_>, owner: &StatementKey) -> Result<Vec<u8>, InTotoError> {
    let threshold = demands.threshold;
    let rebuilders = demands.rebuilders.len();
    if threshold == 0 || usize::try_from(threshold).is_ok_and(|threshold| threshold > rebuilders) {
        return Err(InTotoError::Threshold {
            threshold,
            rebuilders,
        });
    }
    for name in demands
        .packages
        .iter()
        .map(String::as_str)
        .chain([demands.source])
    {
        if name.is_empty() || name.contains(['*', '?', '[', ']', '/', '\\']) {
            return Err(InTotoError::Name {
                name: name.to_owned(),
            });
        }
    }
    let keys: BTreeMap<String, Value> = demands
        .rebuilders
        .iter()
        .map(|public| {
            let (id, mut key) = key(public);
            key["keyid"] = Value::String(id.clone());
            (id, key)
        })
        .collect();
    let mut created: Vec<Value> = demands
        .packages
        .iter()
        .map(|name| json!(["CREATE", name]))
        .collect();
    created.push(json!(["DISALLOW", "*"]));
    let signed = json!({
        "_type": "layout",
        "expires": demands.expires.to_string(),
        "readme": "",
        "keys": keys,
        "steps": [{
            "_type": "step",
            "name": STEP,
            "pubkeys": keys.keys().collect::<Vec<_>>(),
            "threshold": threshold,
            "expected_command": [],
            "expected_materials": [["ALLOW", demands.source], ["ALLOW", BUILDINFO], ["DISALLOW", "*"]],
            "expected_products": created,
        }],
        "inspect": [{
            "_type": "inspection",
            "name": "at-hand",
            "run": ["true"],
            "expected_materials": [
                ["MATCH", "*.rpm", "WITH", "PRODUCTS", "FROM", STEP],
                ["ALLOW", "*.link"], ["ALLOW", "*.layout"], ["ALLOW", "*.pub"],
                ["DISALLOW", "*"],
            ],
            "expected_products": [
                ["MATCH", "*.rpm", "WITH", "PRODUCTS", "FROM", STEP],
                ["ALLOW", "*.link"], ["ALLOW", "*.layout"], ["ALLOW", "*.pub"],
                ["DISALLOW", "*"],
            ],
        }],
    });
    Ok(metablock(signed, owner))
}

/// The bytes that are signed. Documents that are made here hold whole numbers only.
fn signable(value: &Value) -> Vec<u8> {
    canonical(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_key(seed: u8) -> StatementKey {
        StatementKey::from_seed(&[seed; 32]).unwrap()
    }

    fn products(content: &[u8]) -> Artifacts {
        Artifacts::from([("a-1-1.noarch.rpm".to_owned(), FileDigest::of(content))])
    }

    #[test]
    fn a_link_opens_with_its_rebuilders_key_and_no_other_and_not_when_changed() {
        let text = link(&Artifacts::new(), &products(b"a"), &a_key(1));
        assert_eq!(
            open_link(&text, &a_key(1).public()).unwrap(),
            products(b"a")
        );
        assert!(matches!(
            open_link(&text, &a_key(2).public()),
            Err(InTotoError::Signature { .. })
        ));
        let (from, to) = (FileDigest::of(b"a").to_hex(), FileDigest::of(b"b").to_hex());
        let changed = String::from_utf8(text).unwrap().replace(&from, &to);
        assert!(matches!(
            open_link(changed.as_bytes(), &a_key(1).public()),
            Err(InTotoError::Signature { .. })
        ));
        assert!(matches!(
            open_link(b"{}", &a_key(1).public()),
            Err(InTotoError::Link)
        ));
    }

    #[test]
    fn a_layout_ends_every_list_of_rules_in_disallow_and_refuses_patterns_as_names() {
        let rebuilders = [a_key(1).public(), a_key(2).public()];
        let demand = |threshold, name: &str| {
            let packages = [name.to_owned()];
            let demands = Demands {
                rebuilders: &rebuilders,
                threshold,
                source: "a-1-1.src.rpm",
                packages: &packages,
                expires: Timestamp::from_unix_secs(2_000_000_000),
            };
            layout(&demands, &a_key(9))
        };
        let block: Value = serde_json::from_slice(&demand(2, "a.rpm").unwrap()).unwrap();
        let signed = &block["signed"];
        assert_eq!(signed["expires"], "2033-05-18T03:33:20Z");
        for (item, list) in [
            ("steps", "materials"),
            ("steps", "products"),
            ("inspect", "materials"),
            ("inspect", "products"),
        ] {
            let rules = signed[item][0][format!("expected_{list}")]
                .as_array()
                .unwrap();
            assert_eq!(
                rules.last().unwrap(),
                &json!(["DISALLOW", "*"]),
                "{item} {list}"
            );
        }
        assert!(matches!(
            demand(3, "a.rpm"),
            Err(InTotoError::Threshold { .. })
        ));
        assert!(matches!(
            demand(0, "a.rpm"),
            Err(InTotoError::Threshold { .. })
        ));
        assert!(matches!(demand(1, "*.rpm"), Err(InTotoError::Name { .. })));
    }
}
