//! The server's web pages: plain view structs in, HTML text out.
//!
//! Nothing here does I/O, reads the clock or knows about HTTP. The server fills a view from its
//! database, calls the page's function and sends the text with the header [`CSP`]. Pages need no
//! JavaScript; the one script adds copy buttons. Whatever comes from packages, rebuilders or
//! clients passes the one escaper in `escape.rs`, which also makes invisible and direction-changing
//! characters visible.
//!
//! Pages refer to each other and to documents by the paths in [`url`] and to the files in
//! [`assets`]; the server must route them.

mod assets;
mod badge;
mod bisection;
mod checks;
mod escape;
mod feeds;
mod marks;
mod pages;
mod plot;
mod rebuilt;
mod spread;
mod text;
mod timeline;
pub mod url;
mod why;
mod world;

pub use assets::{Asset, assets};
pub use badge::badge_svg;
pub use feeds::{FEED_TYPE, held_feed, releases_feed};
pub use pages::api::{ApiGroup, ApiOperation, ApiView, api};
pub use pages::build::{BuildView, PackageVerdict, build};
pub use pages::builds::{BuildsView, builds};
pub use pages::changes::{ChangesView, changes};
pub use pages::component_changes::{ComponentChangesView, component_changes};
pub use pages::contents::{ContentsLine, ContentsView, contents};
pub use pages::dependencies::{DependentLine, DependentsView, NeedLine, dependents};
pub use pages::error::{ErrorView, error};
pub use pages::files::{FilesView, files};
pub use pages::home::{ChannelSetup, HomeView, Link, home};
pub use pages::inside::{
    ComponentLine, ComponentsView, InsideView, LicencesView, components, inside, licences,
};
pub use pages::listing::{EntryKind, ListingEntry, ListingView, listing, listing_into};
pub use pages::log::{LogEntryLine, LogHead, LogView, log};
pub use pages::mirrors::{MirrorsView, mirrors};
pub use pages::operator::Desk;
pub use pages::operator::audit::{AuditView, audit};
pub use pages::operator::decide::{DecideView, decide};
pub use pages::operator::held::{HeldView, held};
pub use pages::operator::keys::{KeysView, keys};
pub use pages::operator::log_in::{LogInView, log_in};
pub use pages::operator::queue::{QueueView, UnderWayLine, queue};
pub use pages::operator::tokens::{TokensView, tokens};
pub use pages::package::{PackageView, Shown, VersionLine, package};
pub use pages::rebuilders::{PairLine, RebuilderLine, RebuildersView, rebuilders};
pub use pages::release::{ReleaseSbomLine, ReleaseView, release};
pub use pages::releases::{MoveLine, ReleasesView, releases};
pub use pages::report::{REPORT_SUFFIX, ReportView, report};
pub use pages::search::{SearchIn, SearchView, search};
pub use pages::state::StateView;
pub use pages::{Agreement, BuildLine, Command, Site, StageCounts};
pub use plot::ReleaseTally;

/// A page could not be rendered: a template failed or the writer did. Ours; a retry will not help.
pub type RenderError = askama::Error;

/// `Content-Security-Policy` of every page: own files only, nothing inline, no frames.
pub const CSP: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";
