//! What a channel's metadata leads clients to. A release names its `repomd.xml` and, in a list of their own, the packages:
//! a server that shows other metadata, or whose metadata lists other packages, is found out here.

use super::{Finding, Memory};
use crate::{FileDigest, HeaderDigest, Timestamp};

impl Memory {
    /// Whether this metadata was compared with its release at this place, and nothing was wrong.
    pub fn is_compared(&self, place: &str, repomd: FileDigest) -> bool {
        self.compared.get(place) == Some(&repomd)
    }

    /// Notes that.
    pub fn compared(&mut self, place: &str, repomd: FileDigest) {
        self.unlogged.remove(&shown(place, repomd));
        self.compared.insert(place.to_owned(), repomd);
    }

    /// Metadata that no release in the log names: an alarm, unless a release may be coming out right now.
    pub fn unnamed(&mut self, place: &str, repomd: FileDigest, now: Timestamp) -> Option<Finding> {
        let is_overdue = self.is_overdue_here(shown(place, repomd), now);
        is_overdue.then(|| Finding::MetadataNotLogged {
            place: place.to_owned(),
            repomd,
        })
    }

    /// A package that metadata lists and the release that it belongs to does not.
    ///
    /// * `signed`: its header, when a key of the repository's has signed that.
    pub fn unlisted(&self, place: &str, nevra: &str, signed: Option<HeaderDigest>) -> Finding {
        let (place, nevra) = (place.to_owned(), nevra.to_owned());
        match signed.filter(|header| !self.summaries.contains_key(header)) {
            Some(header) => Finding::SignedNotLogged {
                place,
                nevra,
                header,
            },
            None => Finding::NotListed { place, nevra },
        }
    }
}

fn shown(place: &str, repomd: FileDigest) -> String {
    format!("metadata {place} {repomd}")
}
