//! The harness: real processes, real package managers, one throw-away world a story.
//!
//! * [`World`] starts `hallmark serve`, `hallmark-signer serve` and rebuilders with keys, policy and
//!   configuration of their own, and can stop, freeze and kill each of them.
//! * [`packages`] makes what is published: the bundled projects, small probes, and files made to order.
//! * [`nginx`] serves a folder as mirrors do.
//! * [`s3`] is a bucket on this machine.
//! * [`clients`] drives dnf5, dnf and zypper into throw-away install roots.
//! * [`machine`] is a machine whose package manager asks `hallmark` before it installs.
//! * [`said`] lists what the log says.
//! * [`Repository`] reads what is published as a careful client would.
//!
//! Nothing here waits for a time to pass: every wait asks again until a deadline and then says what it
//! saw last. A test whose tools are missing prints a line that starts with `SKIP`; see [`tools`].

pub mod clients;
pub mod http;
pub mod machine;
pub mod nginx;
pub mod packages;
pub mod process;
pub mod proxy;
pub mod repository;
pub mod s3;
pub mod said;
pub mod tools;
pub mod wait;
pub mod worker;
pub mod world;

pub use repository::Repository;
pub use world::{Options, World};
