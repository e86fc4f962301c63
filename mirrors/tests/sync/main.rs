//! Syncs against servers that behave, that misbehave and that attack.

mod beside;
mod copies;
mod hostile;
mod kit;
mod modules;
mod pulled;
mod ranges;
mod remembered;
mod server;
mod several;
