//! What the list of SBOMs of a repository says of its packages (`publish::sbom_listing` writes it):
//! main header, SHA-512 of the file, and the preferred document. Repositories of others may have a record
//! of the same type with something else in it, which says nothing here.

use crate::json_list;
use percent_encoding::percent_decode_str;
use repo_model::{FileDigest, HeaderDigest};
use sbom_gen::{Algorithm, Member};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read;

/// Longest list that is read, bytes: that of 100,000 packages.
const MAX_BYTES: u64 = 256 << 20;

/// What is known of one file.
struct Known {
    header: HeaderDigest,
    sha512: Option<Box<str>>,
    document: Option<(Box<str>, FileDigest)>,
}

/// What is known of files, by their SHA-256.
#[derive(Default)]
pub(super) struct Published(HashMap<FileDigest, Known>);

#[derive(Deserialize)]
struct Entry {
    id: HeaderDigest,
    file: Option<File>,
    #[serde(default)]
    link: Vec<Link>,
}

#[derive(Deserialize)]
struct File {
    sha256: FileDigest,
    sha512: String,
}

#[derive(Deserialize)]
struct Link {
    href: String,
    sha256: FileDigest,
}

impl Published {
    /// Reads a list; one that is none is empty.
    pub(super) fn read(list: impl Read) -> Self {
        let mut found = Self::default();
        let read = json_list::each(list.take(MAX_BYTES), &["feed", "entry"], |entry: Entry| {
            found.add(entry);
        });
        match read {
            Ok(()) => found,
            Err(_) => Self::default(),
        }
    }

    fn add(&mut self, entry: Entry) {
        let Some(file) = entry.file else {
            return;
        };
        let is_sha512 =
            file.sha512.len() == 128 && file.sha512.bytes().all(|b| b.is_ascii_hexdigit());
        let first = entry.link.into_iter().next();
        let document = first.and_then(|link| {
            // The list is in a folder of its own, beside which the packages are.
            let path = link.href.strip_prefix("../")?;
            let path = percent_decode_str(path).decode_utf8().ok()?;
            Some((path.into_owned().into_boxed_str(), link.sha256))
        });
        let known = Known {
            header: entry.id,
            sha512: is_sha512.then(|| file.sha512.to_ascii_lowercase().into_boxed_str()),
            document,
        };
        self.0.insert(file.sha256, known);
    }

    /// Adds to a package what is known of its file.
    pub(super) fn tell(&self, member: &mut Member) {
        let mut digests = member.digests.iter();
        let sha256 = digests.find(|(algorithm, _)| *algorithm == Algorithm::Sha256);
        let Some(known) = sha256.and_then(|(_, hex)| self.0.get(&hex.parse().ok()?)) else {
            return;
        };
        member.has_header(&known.header);
        let sha512 = known.sha512.as_deref();
        let sha512 = sha512.map(|hex| (Algorithm::Sha512, hex.to_owned()));
        member.digests.extend(sha512);
        let document = known.document.as_ref();
        let document = document.map(|(path, sha256)| (path.to_string(), sha256.to_hex()));
        member.documents.extend(document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(list: &str) -> Member {
        let mut member = Member::named("a-1-1.x86_64".parse().unwrap(), false);
        member.digests = vec![(Algorithm::Sha256, "b".repeat(64))];
        Published::read(list.as_bytes()).tell(&mut member);
        member
    }

    #[test]
    fn a_package_is_told_its_sha_512_and_its_document_by_the_digest_of_its_file() {
        let (header, file, long) = ("a".repeat(64), "b".repeat(64), "C".repeat(128));
        let entry = format!(
            r#"{{"id":"{header}","file":{{"sha256":"{file}","sha512":"{long}"}},"link":[
               {{"href":"../Packages/a/a%2B%2B-1.rpm.cdx.json","sha256":"{header}"}},{{"href":"x","sha256":"{header}"}}]}}"#
        );
        let member = told(&format!(r#"{{"feed":{{"title":"t","entry":[{entry}]}}}}"#));
        assert_eq!(member.digests[1], (Algorithm::Sha512, "c".repeat(128)));
        let path = "Packages/a/a++-1.rpm.cdx.json".to_owned();
        assert_eq!(member.documents, [(path, header.clone())]);
        // Another file's entry, a digest that is none, another sort of list.
        let other = entry.replace(&file, &"d".repeat(64));
        for list in [
            format!(r#"{{"feed":{{"entry":[{other}]}}}}"#),
            format!(r#"{{"feed":{{"entry":[{entry}, 7]}}}}"#),
            r#"{"bomFormat":"CycloneDX"}"#.to_owned(),
            String::new(),
        ] {
            let member = told(&list);
            assert!(
                member.digests.len() == 1 && member.documents.is_empty(),
                "{list}"
            );
        }
        let short = entry.replace(&long, "cc");
        let member = told(&format!(r#"{{"feed":{{"entry":[{short}]}}}}"#));
        assert_eq!((member.digests.len(), member.documents.len()), (1, 1));
    }
}
