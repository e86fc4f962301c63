//! Signing a whole package file, detached: the only request that brings a payload. It is hashed as
//! it streams by, once, and never kept.

use super::{Desk, DeskError, bad_request, summary};
use crate::journal::{Event, clipped};
use crate::keys::openpgp::SignatureHasher;
use crate::keys::pqc::PqcHasher;
use crate::verify::verify_header_signature;
use repo_model::rpm::{Head, HeadLimits, Package};
use repo_model::wire::signer::Response;
use repo_model::{FileDigest, HeaderDigest, Timestamp};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Signs the `size_bytes` that `body` yields if they are a file whose head was signed here and
/// whose payload is the one that head names. Reads `body` to the end in any case, so that the next
/// request can follow.
pub(super) fn sign(
    desk: &Desk,
    header: HeaderDigest,
    size_bytes: u64,
    body: &mut dyn Read,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let mut body = Tee {
        inner: body.take(size_bytes),
        hasher: SignatureHasher::new()?,
        post_quantum: match &desk.keys.post_quantum {
            Some(_) => Some(PqcHasher::new()?),
            None => None,
        },
    };
    let verdict = inspect(desk, header, &mut body)?;
    io::copy(&mut body.inner, &mut io::sink()).map_err(DeskError::Body)?;
    let package = match verdict {
        Ok(package) => package,
        Err(reason) => {
            tracing::warn!(package.header = %header, "file of {header} is not signed: {reason}");
            let event = Event::FileRefused {
                header,
                reason: clipped(&reason),
            };
            desk.record(now, event)?;
            return Ok(bad_request(reason));
        }
    };
    let file = body.hasher.file_digest()?;
    let post_quantum = match (&desk.keys.post_quantum, body.post_quantum) {
        (Some(keys), Some(hasher)) => Some(keys.package.sign_armored(hasher, now)?),
        _ => None,
    };
    let armored = desk.keys.package.sign_armored(body.hasher, now)?;
    let signature = FileDigest::of(armored.as_bytes());
    let statement = summary::package_release(&package, file).sign(&*desk.keys.quick_statement)?;
    desk.record(
        now,
        Event::FileSigned {
            header,
            file,
            signature,
            statement: FileDigest::of(&statement.to_json()),
        },
    )?;
    tracing::info!(package.header = %header, package.file = %file, "signed file {file}");
    Ok(Response::FileSigned {
        armored,
        post_quantum,
        statement,
    })
}

/// `Ok(Err(reason))`: the file is not what was signed. `Err`: it did not arrive.
fn inspect(
    desk: &Desk,
    header: HeaderDigest,
    body: &mut Tee<'_>,
) -> Result<Result<Package, String>, DeskError> {
    let head = match Head::read(&mut *body, &HeadLimits::default()) {
        Ok(head) => head,
        Err(error) => return Ok(Err(format!("the file's head: {error}"))),
    };
    let (package, payload) = match check_head(desk, header, &head)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => hasher.update(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DeskError::Body(error)),
        }
    }
    if body.inner.limit() > 0 {
        return Err(DeskError::Body(io::ErrorKind::UnexpectedEof.into()));
    }
    let found = FileDigest::from_bytes(hasher.finalize().into());
    if found != payload {
        return Ok(Err(format!(
            "the payload has SHA-256 {found}, its header says {payload}"
        )));
    }
    Ok(Ok(package))
}

/// What the head says, and the payload digest that it names, if this very head was signed here.
fn check_head(
    desk: &Desk,
    header: HeaderDigest,
    head: &Head,
) -> Result<Result<(Package, FileDigest), String>, DeskError> {
    let found = head.header_digest();
    if found != header {
        return Ok(Err(format!("the file has header {found}, not {header}")));
    }
    let head_digest = FileDigest::of(&head.to_bytes());
    let known = desk
        .ledger()?
        .index
        .package(header)
        .is_some_and(|package| package.signed_heads.contains(&head_digest));
    if !known {
        return Ok(Err(format!(
            "no head {head_digest} of package {header} was signed here"
        )));
    }
    if let Err(error) = verify_header_signature(head, &desk.trusted_certificates) {
        return Ok(Err(error.to_string()));
    }
    let named = Package::from_head(head).ok().and_then(|package| {
        let payload = package.payload_sha256.as_ref()?.parse().ok()?;
        Some((package, payload))
    });
    Ok(named.ok_or_else(|| "the header names no SHA-256 of its payload".to_owned()))
}

/// Passes bytes on and hashes them for the signature.
struct Tee<'a> {
    inner: io::Take<&'a mut dyn Read>,
    hasher: SignatureHasher,
    post_quantum: Option<PqcHasher>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        if let Some(hasher) = &mut self.post_quantum {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}
