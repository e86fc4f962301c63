//! Tests of the reader, one file for each kind of trouble.

mod fields;
mod hostile;
mod mutation;
mod testkit;
mod vercmp;
