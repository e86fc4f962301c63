//! Copies in buckets, as the commands name them.

use crate::failure::{Exit, Failure};
use mirrors::bucket::{Bucket, BucketError};

/// The place in a bucket that a URL names.
pub fn open(url: &str) -> Result<Bucket, Failure> {
    Bucket::new(url).map_err(failure)
}

/// How a command ends that could not use a bucket.
pub fn failure(error: BucketError) -> Failure {
    let exit = match &error {
        BucketError::Place { .. } | BucketError::Settings { .. } => Exit::Usage,
        error if error.is_unreachable() => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let next = hint(&error);
    let failure = Failure::new(exit, error);
    match next {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// What to do about it.
pub fn hint(error: &BucketError) -> Option<&'static str> {
    match error {
        BucketError::Place { .. } | BucketError::Name { .. } | BucketError::Local(_) => None,
        BucketError::Settings { .. } | BucketError::Refused { .. } => Some(
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION say who asks; they must be allowed to list, read, \
             put and delete below the place",
        ),
        BucketError::Changed { .. } => Some(
            "let only one sync at a time write to the place; the same command goes on from here",
        ),
        BucketError::Missing { .. } => {
            Some("make the bucket first; AWS_ENDPOINT_URL names a server that is not Amazon's")
        }
        BucketError::Unreachable { .. } => Some(
            "AWS_ENDPOINT_URL names the server, and AWS_REGION its region; the same command goes on from here",
        ),
    }
}
