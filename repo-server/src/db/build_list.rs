//! Lists of builds: all, or those of a stage or a package.

use super::DbError;
use super::builds::{BUILD_COLUMNS, BuildRow, build_row};
use repo_model::Nevra;
use rusqlite::{Connection, params};

/// Most builds in an answer that is not asked for more.
pub const USUAL: u32 = 100;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// A package's name or NEVRA, or the source's.
    pub package: Option<String>,
    /// Only builds in this stage.
    pub stage: Option<String>,
    /// Only builds with a smaller number.
    pub before: Option<u64>,
    /// Without the first so many.
    pub offset: u32,
    /// At most so many.
    pub limit: u32,
}

impl BuildFilter {
    /// The builds that made a package, as many as an answer has that is not asked for more.
    pub fn of_package(nevra: &Nevra) -> Self {
        Self {
            package: Some(nevra.to_string()),
            limit: USUAL,
            ..Self::default()
        }
    }
}

/// Builds, newest first.
pub fn list(connection: &Connection, filter: &BuildFilter) -> Result<Vec<BuildRow>, DbError> {
    let mut statement = connection.prepare_cached(&list_sql(filter))?;
    // There is an index of names; that of NEVRAs goes by repository.
    let nevra = filter.package.as_deref().map(str::parse::<Nevra>);
    let name = nevra.and_then(Result::ok).map(|nevra| nevra.name);
    let rows = statement.query_map(
        params![
            filter.stage,
            filter.before,
            filter.package,
            name,
            filter.limit,
            filter.offset
        ],
        |row| Ok(build_row(row)),
    )?;
    rows.map(|row| row.map_err(DbError::from)?).collect()
}

/// The question of [`list`]. One about a package must not look at each build: it is asked for each package of a pack.
fn list_sql(filter: &BuildFilter) -> String {
    let of_package = match filter.package {
        Some(_) => {
            "AND build_id IN (
                SELECT build_id FROM builds WHERE source_nevra = ?3
                UNION ALL SELECT build_id FROM packages WHERE name = ?3
                UNION ALL SELECT build_id FROM packages WHERE name = ?4 AND nevra = ?3)"
        }
        None => "",
    };
    format!(
        "SELECT {BUILD_COLUMNS} FROM builds
         WHERE (?1 IS NULL OR stage = ?1) AND (?2 IS NULL OR build_id < ?2) {of_package}
         ORDER BY build_id DESC LIMIT ?5 OFFSET ?6"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::FileDigest;
    use rusqlite::params_from_iter;
    use rusqlite::types::Null;

    /// Two builds of `p`, with a subpackage each, and one of another source.
    fn three_builds() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::SCHEMA).unwrap();
        let digest = FileDigest::of(b"").to_hex();
        for (build, version, stage) in [
            (1, "p-1", "published"),
            (2, "p-2", "held"),
            (3, "q-1", "held"),
        ] {
            connection
                .execute(
                    "INSERT INTO builds VALUES (?1, ?1, 'base', ?2, '', ?3, ?3, NULL, '', 0, 0, ?4, '{\"stage\":\"received\"}')",
                    params![build, format!("{version}-1.src"), digest, stage],
                )
                .unwrap();
            let name = &version[..1];
            for name in [name.to_owned(), format!("{name}-devel")] {
                let nevra = format!("{name}-{}-1.noarch", &version[2..]);
                connection
                    .execute(
                        "INSERT INTO packages (build_id, repo, nevra, name, arch, summary, header_digest, unsigned_file, unsigned_size_bytes, href)
                         VALUES (?1, 'base', ?2, ?3, 'noarch', '', ?4, ?4, 0, ?2)",
                        params![build, nevra, name, digest],
                    )
                    .unwrap();
            }
        }
        connection
    }

    #[test]
    fn builds_are_listed_by_source_name_and_nevra_newest_first() {
        let connection = three_builds();
        let found = |filter: BuildFilter| -> Vec<u64> {
            let rows = list(&connection, &filter).unwrap();
            rows.iter().map(|row| row.build_id).collect()
        };
        let of = |package: &str| BuildFilter {
            package: Some(package.to_owned()),
            limit: USUAL,
            ..BuildFilter::default()
        };
        for (package, builds) in [
            ("p", &[2_u64, 1][..]),
            ("p-devel", &[2, 1]),
            ("p-devel-1-1.noarch", &[1]),
            ("p-2-1.src", &[2]),
            ("q", &[3]),
            ("p-devel-3-1.noarch", &[]),
            ("p-1-1.x86_64", &[]),
            ("", &[]),
        ] {
            assert_eq!(found(of(package)), builds, "{package}");
        }
        let nevra = "q-devel-1-1.noarch".parse().unwrap();
        assert_eq!(found(BuildFilter::of_package(&nevra)), [3]);
        let held = |package: Option<&str>| BuildFilter {
            package: package.map(str::to_owned),
            stage: Some("held".to_owned()),
            limit: USUAL,
            ..BuildFilter::default()
        };
        assert_eq!(found(held(None)), [3, 2]);
        assert_eq!(found(held(Some("p"))), [2]);
        let (before, limit) = (Some(2), USUAL);
        assert_eq!(found(BuildFilter { before, ..of("p") }), [1]);
        let second = BuildFilter {
            offset: 1,
            limit: 1,
            ..BuildFilter::default()
        };
        assert_eq!(found(second), [2]);
        let all = BuildFilter {
            limit,
            ..BuildFilter::default()
        };
        assert_eq!(found(all), [3, 2, 1]);
    }

    #[test]
    fn a_question_about_a_package_does_not_look_at_every_build() {
        let connection = three_builds();
        let filter = BuildFilter::of_package(&"p-1-1.noarch".parse().unwrap());
        let sql = format!("EXPLAIN QUERY PLAN {}", list_sql(&filter));
        let mut statement = connection.prepare(&sql).unwrap();
        let unsaid = params_from_iter([Null; 6]);
        let steps = statement.query_map(unsaid, |row| row.get("detail"));
        let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.starts_with("SEARCH")));
        let scans = |step: &String| step.starts_with("SCAN");
        assert!(!steps.iter().any(scans), "{steps:?}");
    }
}
