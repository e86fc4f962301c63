//! Evidence about packages: what can be asked for, gathering all of it, and packs of it that answer years later.
//!
//! * [`source`]: one question, one document, whoever answers: a server, a folder, a pack, the server itself.
//! * [`gather`]: everything about one package.
//! * [`beside`]: what lies beside each package and in each repository, so that a copy of it answers alone.
//! * [`pack`]: every answer that was needed, in one file. The command line makes it of a server's answers, the server
//!   of its own tables; equal answers make equal bytes.
//!
//! What evidence is worth is for [`repo_model::verify`] to say.

pub mod beside;
pub mod gather;
pub mod pack;
pub mod source;
