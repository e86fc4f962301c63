//! The builder's own statement about a recorded build.

use repo_model::buildinfo::BuildInfo;
use repo_model::dsse::{Envelope, StatementKey};
use repo_model::statement::{
    BUILD_TYPE, BuildDefinition, BuilderId, PROVENANCE, Provenance, Resource, RunDetails,
    RunMetadata, Statement, StatementError, Subject,
};
use repo_model::{FileDigest, Timestamp, WorkerName};

/// The builder's signed SLSA provenance of a recorded build: subjects are all its packages.
///
/// * `builder_name`: the builder's name in the policy.
/// * `started`, `finished`: when rpmbuild ran, as in [`super::Recorded`].
pub fn provenance(
    info: &BuildInfo,
    key: &StatementKey,
    builder_name: &WorkerName,
    started: Timestamp,
    finished: Timestamp,
) -> Result<Envelope, StatementError> {
    let buildinfo = FileDigest::of(&info.to_json());
    let subjects = info.outputs.iter().map(|output| {
        Subject::unsigned_rpm(
            &output.nevra.file_name(),
            output.file_sha256,
            output.header_sha256,
        )
    });
    let predicate = Provenance {
        build_definition: BuildDefinition {
            build_type: BUILD_TYPE.to_owned(),
            external_parameters: serde_json::json!({
                "source": info.source.sha256,
                "buildinfo": buildinfo,
                "target": info.rpmbuild.target,
            }),
            internal_parameters: serde_json::json!({
                "sourceDateEpoch": info.time.source_date_epoch,
                "sandbox": info.sandbox,
            }),
            resolved_dependencies: vec![
                Resource::file(&info.source.nevra.file_name(), info.source.sha256),
                Resource::file("buildroot", info.buildroot.lock_sha256),
            ],
        },
        run_details: RunDetails {
            builder: BuilderId {
                id: format!("https://hallmark.example/builder/{builder_name}"),
            },
            metadata: RunMetadata {
                invocation_id: buildinfo.to_hex(),
                started_on: started,
                finished_on: finished,
            },
        },
    };
    Statement::new(PROVENANCE, subjects.collect(), predicate).sign(key)
}
