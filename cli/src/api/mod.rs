//! The server's HTTP API as the commands use it.

pub mod blobs;
mod client;
mod error;
pub mod retry;

pub use client::{Client, ServerArgs, query_value};
pub use error::ApiError;
