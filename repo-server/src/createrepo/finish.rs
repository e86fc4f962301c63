//! The end of a run, alike for packages and for merged repositories: databases, carried records,
//! `repomd.xml`, and the switch.

use super::database;
use super::error::CreaterepoError;
use super::modify::read_addition;
use super::old::{self, Old};
use super::repomd_edit::{self, NewRecord};
use super::write::Stage;
use crate::repodata::{
    Codec, ExtraRecord, Options, Record, is_another_form, rendered, write_zchunk_of,
};
use mirrors::reading::{RecordClaim, Repomd};
use repo_model::Timestamp;

/// How `repomd.xml` is written.
pub(super) struct Ending<'a> {
    pub options: &'a Options,
    /// Timestamp of the records.
    pub at: Timestamp,
    /// Also make sqlite databases.
    pub database: bool,
}

impl Ending<'_> {
    /// Writes databases and `repomd.xml` over `records` and `carried` into the stage.
    pub fn write(
        &self,
        mut records: Vec<Record>,
        carried: Vec<NewRecord>,
        stage: &mut Stage,
    ) -> Result<(), CreaterepoError> {
        if self.database {
            let made = database::write(&records, self.options, stage)?;
            records.extend(made);
        }
        for record in &mut records {
            record.name = format!("repodata/{}", stage.name_of(record));
        }
        let made = rendered(&mut records, self.options, self.at)?;
        let repomd = Repomd::parse(&made).map_err(|source| CreaterepoError::OldRepomd {
            path: stage.directory.join("repomd.xml"),
            source,
        })?;
        let text = String::from_utf8_lossy(&made);
        let text = repomd_edit::edit(&text, &repomd, |_| true, carried);
        stage.write("repomd.xml", text.as_bytes())
    }

    /// Brings the old records that `wanted` names into the stage; where zchunk is wanted, those
    /// that have no such form get one, as another record of `records`.
    pub fn carry(
        &self,
        old: &Old,
        wanted: impl Fn(&RecordClaim) -> bool,
        records: &mut Vec<Record>,
        stage: &mut Stage,
    ) -> Result<Vec<NewRecord>, CreaterepoError> {
        let mut carried = Vec::new();
        for record in old.repomd.records.iter().filter(|record| wanted(record)) {
            carried.push(old.carry(record, stage)?);
            if self.options.zchunk
                && let Some(path) = old.path_of(record)
                && self.lacks_zchunk(old, &record.record_type)
            {
                let (file_name, bytes) = read_addition(&path)?;
                let extra = ExtraRecord {
                    record_type: record.record_type.clone(),
                    file_name,
                    bytes,
                    codec: Codec::None,
                };
                let number = stage.file_count();
                let made = write_zchunk_of(&extra, self.options.checksum, number, stage)?;
                records.push(made);
            }
        }
        Ok(carried)
    }

    fn lacks_zchunk(&self, old: &Old, record_type: &str) -> bool {
        let form = format!("{record_type}_zck");
        !is_another_form(record_type) && old.repomd.of_type(&form).next().is_none()
    }
}

/// Whether an old record goes on to exist beside metadata that is made anew; others are made again or replaced.
pub(super) fn is_additional(record: &RecordClaim, groups_replaced: bool) -> bool {
    let replaced = groups_replaced && old::is_group(&record.record_type);
    !replaced && !old::is_made_from_packages(&record.record_type)
}

/// Lists of delta packages, which nobody makes for the new metadata.
const OF_DELTAS: [&str; 2] = ["prestodelta", "deltainfo"];

/// Whether an old record sends clients for what this repository does not have: delta packages, or a file at another
/// place (`xml:base`), which cannot be checked. Such a record is never carried over.
pub(super) fn leads_away(record: &RecordClaim) -> bool {
    record.base.is_some() || OF_DELTAS.contains(&record.record_type.as_str())
}
