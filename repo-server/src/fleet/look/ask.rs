//! Asking a mirror's addresses what they have.

use super::{Place, Plan};
use mirrors::probing::Look;
use repo_model::FileDigest;
use repo_model::config::MirrorsConfig;
use repo_model::wire::mirrors::Trouble;

/// What a mirror says that a repository is.
#[derive(Debug)]
pub enum Seen {
    /// It has not got it.
    Nothing,
    /// `repomd.xml`, and the digest of the signature beside it.
    Pair {
        digest: FileDigest,
        /// Its text; empty where only the digest counts.
        bytes: Vec<u8>,
        signature: Option<FileDigest>,
    },
    /// It could not be had.
    Failed(Trouble),
}

/// What each address says of each place, the addresses, and the look at the first of them.
pub type Asked = (Vec<Vec<Seen>>, Vec<String>, Result<Look, Trouble>);

/// Asks each address for each `repomd.xml`; the first address is looked at further.
pub fn ask(config: &MirrorsConfig, urls: &[String], plan: &Plan) -> Asked {
    let mut seen = Vec::new();
    let mut looks = Vec::new();
    // What one look may fetch is for all addresses together.
    let mut left_bytes = config.probe_bytes;
    for (nth_address, url) in urls.iter().enumerate() {
        let look = Look::at(
            url,
            config.allow_private_addresses,
            config.slowest_bytes_per_sec,
            left_bytes,
        );
        let mut look = match look {
            Ok(look) => look,
            Err(error) => {
                let trouble = Trouble::Unreachable {
                    url: url.clone(),
                    why: error.to_string(),
                };
                let failed = || Seen::Failed(trouble.clone());
                seen.push(plan.places.iter().map(|_| failed()).collect());
                looks.push(Err(trouble));
                continue;
            }
        };
        let mut here = Vec::new();
        for place in &plan.places {
            here.push(pair(&mut look, place, nth_address == 0));
            let Some(Seen::Failed(trouble @ Trouble::Unreachable { .. })) = here.last() else {
                continue;
            };
            // The others would be waited for as long.
            let trouble = trouble.clone();
            here.resize_with(plan.places.len(), || Seen::Failed(trouble.clone()));
            break;
        }
        seen.push(here);
        left_bytes = look.left_bytes();
        looks.push(Ok(look));
    }
    let mut first = match looks.is_empty() {
        true => Err(Trouble::Missing { url: String::new() }),
        false => looks.swap_remove(0),
    };
    if let Ok(look) = &mut first {
        look.limit(left_bytes);
    }
    (seen, urls.to_vec(), first)
}

/// What is at one place. `keep_bytes`: of the address that is looked at further; of the others the digest will do.
fn pair(look: &mut Look, place: &Place, keep_bytes: bool) -> Seen {
    let (digest, mut bytes) = match look.pointer(&place.path("repodata/repomd.xml")) {
        Ok(Some(found)) => found,
        Ok(None) => return Seen::Nothing,
        Err(trouble) => return Seen::Failed(trouble),
    };
    if !keep_bytes {
        bytes = Vec::new();
    }
    match look.pointer(&place.path("repodata/repomd.xml.asc")) {
        Ok(signature) => Seen::Pair {
            digest,
            bytes,
            signature: signature.map(|(digest, _)| digest),
        },
        Err(trouble) => Seen::Failed(trouble),
    }
}
