//! Who ships a component.

use super::AskError;
use super::page::{After, IN_SCOPE, Items, Paging, Scope, package};
use crate::db::{DbError, from_json};
use crate::sbom_index::purl::Purl;
use crate::sbom_index::versions::Range;
use repo_model::wire::sbom::{PackageRef, Page, Shipped};
use rusqlite::{Connection, Row, named_params, params};

/// Places in one answer.
const PLACES: u32 = 20;
/// Longest name that is looked for, bytes.
const MAX_NAME_BYTES: usize = 4096;

/// A component that is looked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    purl: Option<Purl>,
    name: String,
    range: Range,
}

impl Wanted {
    /// * `what`: a package URL, or the name of a component in any ecosystem.
    /// * `range`: of versions; none: all, or the one in the package URL.
    pub fn parse(what: &str, range: Option<&str>) -> Result<Self, AskError> {
        let refuse = || AskError::Purl {
            text: what.chars().take(120).collect(),
        };
        if what.is_empty() || what.len() > MAX_NAME_BYTES {
            return Err(refuse());
        }
        let purl = match what.starts_with("pkg:") {
            true => Some(Purl::parse(what).ok_or_else(refuse)?),
            false => None,
        };
        let stated = purl.as_ref().and_then(|purl| purl.version.as_deref());
        let range = match (range, stated) {
            (Some(_), Some(_)) => {
                let why = "has a version, and a range of versions is asked for too";
                return Err(AskError::parameter("package URL", what, why));
            }
            (Some(range), None) => range.parse()?,
            (None, Some(version)) => format!("={version}").parse()?,
            (None, None) => "*".parse()?,
        };
        let name = purl
            .as_ref()
            .map_or_else(|| what.to_owned(), |purl| purl.name.clone());
        Ok(Self { purl, name, range })
    }

    /// Rows of the components that are meant.
    pub(super) fn rows(&self, connection: &Connection) -> Result<Vec<i64>, DbError> {
        let ecosystem = self.purl.as_ref().map(|purl| &purl.ecosystem);
        let mut statement = connection.prepare_cached(
            "SELECT c.component_id, c.purl, c.version, n.ecosystem FROM names n CROSS JOIN components c ON c.name_id = n.name_id
             WHERE n.name = ?1 AND (?2 IS NULL OR n.ecosystem = ?2)",
        )?;
        let mut rows = statement.query(params![self.name, ecosystem])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (version, ecosystem): (String, String) = (row.get(2)?, row.get(3)?);
            let is_named = match self.purl.clone() {
                None => true,
                Some(pattern) => Purl::parse(&row.get::<_, String>(1)?).is_some_and(|purl| {
                    let any_version = Purl {
                        version: None,
                        ..pattern
                    };
                    any_version.names(&purl)
                }),
            };
            if is_named && self.range.contains(&ecosystem, &version) {
                found.push(row.get(0)?);
            }
        }
        Ok(found)
    }
}

/// Packages of the release with the component, those of one version of it side by side.
pub fn who_ships(
    connection: &Connection,
    scope: &Scope,
    wanted: &Wanted,
    paging: Paging,
) -> Result<Page<Shipped>, AskError> {
    let mut items = Items::new(paging);
    shipped(connection, scope, wanted, paging, |at, row| {
        Ok(items.add(at, row.shipped))
    })?;
    Ok(items.page(scope.release))
}

/// A row of an answer with the numbers that lead on from it.
pub(super) struct ShippedRow {
    pub(super) shipped: Shipped,
    pub(super) document_id: i64,
    pub(super) component_id: i64,
}

/// Hands on what [`who_ships`] tells until it is not wanted any more.
pub(super) fn shipped(
    connection: &Connection,
    scope: &Scope,
    wanted: &Wanted,
    paging: Paging,
    mut take: impl FnMut(After, ShippedRow) -> Result<bool, AskError>,
) -> Result<(), AskError> {
    let mut components = wanted.rows(connection)?;
    components.sort_unstable();
    let After([seen, document, package, _]) = paging.after;
    for component in components.into_iter().filter(|id| *id >= seen) {
        let from = if component == seen {
            (document, package)
        } else {
            (0, 0)
        };
        let mut wants_more = true;
        in_component(connection, scope, component, from, |place| {
            let at = After([component, place.document_id, place.package_id, 0]);
            wants_more = take(at, place.shipped(connection)?)?;
            Ok(wants_more)
        })?;
        if !wants_more {
            break;
        }
    }
    Ok(())
}

/// Packages of the release with a licence, given as its tag or as its expression; their own licence and
/// that of what is inside.
pub fn licensed(
    connection: &Connection,
    scope: &Scope,
    licence: &str,
    paging: Paging,
) -> Result<Page<Shipped>, AskError> {
    let mut statement = connection.prepare_cached(
        "SELECT licence_id FROM licences WHERE raw = ?1 OR expression = ?1 ORDER BY licence_id",
    )?;
    let ids = statement.query_map([licence], |row| row.get(0))?;
    let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
    let After([seen, document, component, package]) = paging.after;
    let mut items = Items::new(paging);
    for id in ids
        .into_iter()
        .filter(|id| *id >= seen && !items.is_full())
        .collect::<Vec<_>>()
    {
        let from = if id == seen {
            (document, component, package)
        } else {
            (0, 0, 0)
        };
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {PLACE} FROM occurrences o {JOINED}
             WHERE o.licence_id = :licence AND o.document_id >= :document
               AND (o.document_id, o.component_id, p.package_id) > (:document, :component, :after_package) AND {IN_SCOPE}
             ORDER BY o.document_id, o.component_id, p.package_id"
        ))?;
        let mut rows = statement.query(named_params! {
            ":licence": id, ":document": from.0, ":component": from.1, ":after_package": from.2,
            ":release": scope.release.0, ":repo": scope.repo(), ":arch": scope.arch(), ":package": scope.package,
        })?;
        while let Some(row) = rows.next()? {
            let place = Place::read(row)?;
            let at = After([id, place.document_id, place.component_id, place.package_id]);
            if !items.add(at, place.shipped(connection)?.shipped) {
                break;
            }
        }
    }
    Ok(items.page(scope.release))
}

/// Columns of [`Place`].
pub(super) const PLACE: &str = "p.nevra, p.repo, p.header_digest, p.href, p.build_id, b.source_nevra, p.package_id, d.document_id, d.purl AS package_purl,
    c.component_id, c.purl, c.version, o.relation, o.excluded, o.methods";

/// Joins an occurrence `o` with what it is of and where it is.
pub(super) const JOINED: &str = "CROSS JOIN components c ON c.component_id = o.component_id CROSS JOIN documents d ON d.document_id = o.document_id
    CROSS JOIN server.packages p ON p.header_digest = d.header CROSS JOIN server.builds b ON b.build_id = p.build_id";

/// A component in a package of the release.
pub(super) struct Place {
    pub(super) package: PackageRef,
    pub(super) package_id: i64,
    /// Package URL of the package.
    pub(super) package_purl: String,
    pub(super) document_id: i64,
    pub(super) component_id: i64,
    /// Package URL of the component.
    pub(super) component: String,
    version: String,
    pub(super) relation: String,
    pub(super) build_only: bool,
    methods: String,
}

/// Hands on where a component is, after the (document, package) given, until it is not wanted any more.
/// Rows come in the order in which they are stored: nothing is sorted, however many there are.
pub(super) fn in_component(
    connection: &Connection,
    scope: &Scope,
    component: i64,
    (document, package): (i64, i64),
    mut take: impl FnMut(Place) -> Result<bool, AskError>,
) -> Result<(), AskError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {PLACE} FROM occurrences o {JOINED}
         WHERE o.component_id = :component AND o.document_id >= :document
           AND (o.document_id, p.package_id) > (:document, :after_package) AND {IN_SCOPE}
         ORDER BY o.document_id, p.package_id"
    ))?;
    let mut rows = statement.query(named_params! {
        ":component": component, ":document": document, ":after_package": package,
        ":release": scope.release.0, ":repo": scope.repo(), ":arch": scope.arch(), ":package": scope.package,
    })?;
    while let Some(row) = rows.next()? {
        if !take(Place::read(row)?)? {
            break;
        }
    }
    Ok(())
}

impl Place {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            package: package(row)?,
            package_id: row.get("package_id")?,
            package_purl: row.get("package_purl")?,
            document_id: row.get("document_id")?,
            component_id: row.get("component_id")?,
            component: row.get("purl")?,
            version: row.get("version")?,
            relation: row.get("relation")?,
            build_only: row.get("excluded")?,
            methods: row.get("methods")?,
        })
    }

    pub(super) fn shipped(self, connection: &Connection) -> Result<ShippedRow, AskError> {
        let key = params![self.document_id, self.component_id];
        let sql = "SELECT count(*) FROM places WHERE document_id = ?1 AND component_id = ?2";
        let places_total = connection
            .prepare_cached(sql)?
            .query_row(key, |row| row.get(0))?;
        let mut statement = connection.prepare_cached(
            "SELECT path FROM places WHERE document_id = ?1 AND component_id = ?2 ORDER BY path LIMIT ?3",
        )?;
        let key = params![self.document_id, self.component_id, PLACES];
        let places = statement.query_map(key, |row| row.get(0))?;
        Ok(ShippedRow {
            shipped: Shipped {
                package: self.package,
                component: self.component,
                version: Some(self.version).filter(|version| !version.is_empty()),
                relation: self.relation,
                build_only: self.build_only,
                evidence: from_json(&self.methods, "list of methods")?,
                places: places.collect::<Result<_, _>>()?,
                places_total,
            },
            document_id: self.document_id,
            component_id: self.component_id,
        })
    }
}
