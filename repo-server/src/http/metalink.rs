//! `/{channel}/{repo}/{arch}/metalink.xml`: which `repomd.xml` is current, by SHA-256 and SHA-512, and
//! where it is; `mirrorlist`: only where. The URLs never change: DNF keys its caches by them. The last place named
//! is the server's own: the pinned path of the release, so a release that comes out between two of a client's
//! requests changes nothing for it.
//!
//! Questions about channels are answered from memory (see [`crate::fleet`]).

use super::error::ApiError;
use super::params::bad;
use super::tree::{Place, Root};
use crate::app::App;
use crate::db::releases::{ReleaseRepoRow, ReleaseRow};
use crate::fleet::Wish;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use mirrors::metalink::{Metalink, MirrorUrl, Protocol, Repomd, render};
use mirrors::nearness::Asker;
use repo_model::Country;
use std::net::IpAddr;

const MAX_REPOMD_BYTES: u64 = 4 << 20;
/// Most countries that a client may ask for.
const MAX_COUNTRIES: usize = 8;

/// The metalink.
pub const METALINK: &str = "metalink.xml";
/// The plain list.
pub const MIRRORLIST: &str = "mirrorlist";

/// Answers what is asked about a channel's repository; none when something else is asked for, or when nothing is
/// known of this repository yet.
///
/// * `client`: who asks, seen through trusted proxies.
pub fn from_memory(
    app: &App,
    client: IpAddr,
    place: &Place,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Option<Result<Response, ApiError>> {
    let Root::Channel(channel) = &place.root else {
        return None;
    };
    let list = match place.rest.as_str() {
        METALINK => false,
        MIRRORLIST => true,
        _ => return None,
    };
    let snapshot = app.fleet.snapshot();
    let answers = snapshot.answers(channel, &place.repo, &place.arch)?;
    let asked = match asked(query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(error) => return Some(Err(error)),
    };
    let geo = app.fleet.geo();
    let countries = match asked.countries.is_empty() {
        true => geo.country(client).into_iter().collect(),
        false => asked.countries,
    };
    let asker = Asker {
        address: client,
        countries,
        asn: geo.asn(client),
    };
    let wish = Wish {
        protocol: asked.protocol,
        most: app.config.mirrors.answer_mirrors,
        origin_first: is_libzypp(headers),
    };
    Some(Ok(match list {
        true => response(
            "text/plain; charset=utf-8",
            answers.mirrorlist(&asker, wish),
        ),
        false => response("application/metalink+xml", answers.metalink(&asker, wish)),
    }))
}

/// Answers with the metalink of a repository of a pinned release: only the server is named.
pub async fn serve(
    app: &App,
    place: &Place,
    release: &ReleaseRow,
    repo: &ReleaseRepoRow,
) -> Result<Response, ApiError> {
    let repomd = app.store.get(repo.repomd, MAX_REPOMD_BYTES).await?;
    let public_url = &app.config.server.public_url;
    let pinned = Place {
        root: Root::Pinned(release.release),
        ..place.clone()
    };
    let url = format!("{public_url}{}repodata/repomd.xml", pinned.base());
    let metalink = Metalink {
        repomd: Repomd::of(&repomd, release.issued),
        alternates: Vec::new(),
        urls: vec![MirrorUrl {
            protocol: Protocol::of_url(&url).unwrap_or(Protocol::Http),
            url,
            location: None,
            preference: 100,
        }],
    };
    Ok(response("application/metalink+xml", render(&metalink)))
}

/// libzypp (17.38) takes the first address for the repository itself and gives up when that does not answer,
/// whatever mirrors follow.
fn is_libzypp(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    agent.is_some_and(|agent| agent.as_bytes().starts_with(b"ZYpp"))
}

fn response(media_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// What a client says about itself. Parameters of others (dnf sends `countme`) are passed over.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    countries: Vec<Country>,
    protocol: Option<Protocol>,
}

fn asked(query: &str) -> Result<Asked, ApiError> {
    let mut asked = Asked::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        match name {
            "country" => {
                for country in value
                    .split(',')
                    .filter(|text| !text.is_empty() && *text != "global")
                {
                    let country = country
                        .parse()
                        .map_err(|error| bad(format!("`country`: {error}")))?;
                    if asked.countries.len() >= MAX_COUNTRIES {
                        return Err(bad(format!("`country` names more than {MAX_COUNTRIES}")));
                    }
                    asked.countries.push(country);
                }
            }
            "protocol" => {
                let protocol = [Protocol::Https, Protocol::Http];
                let found = protocol
                    .into_iter()
                    .find(|protocol| protocol.name() == value);
                asked.protocol = Some(found.ok_or_else(|| bad("`protocol`: want https or http"))?);
            }
            _ => {}
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_say_where_they_want_to_be_sent_and_much_else() {
        let read = asked("countme=3&country=de%2Cfr&protocol=https&x").unwrap();
        let names: Vec<_> = read.countries.iter().map(Country::as_str).collect();
        assert_eq!(names, ["DE", "FR"]);
        assert_eq!(read.protocol, Some(Protocol::Https));
        assert_eq!(asked("").unwrap(), Asked::default());
        assert_eq!(asked("country=global").unwrap(), Asked::default());
        for bad in [
            "country=deu",
            "protocol=ftp",
            "country=AA,AB,AC,AD,AE,AF,AG,AH,AI",
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }
}
