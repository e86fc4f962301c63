//! Asking a server's operator to be let in.

use crate::keys::RebuilderKeys;
use repo_model::statement::{Rebuilder, Statement, StatementError};
use repo_model::wire::rebuilders::{ENROLMENT, Enrolment, EnrolmentProof};

/// The request of this rebuilder, with the proof that it has the statement key. The request key proves
/// itself: the request is signed with it.
pub fn enrolment(
    rebuilder: &Rebuilder,
    keys: &RebuilderKeys,
    contact: &str,
) -> Result<Enrolment, StatementError> {
    let proof = EnrolmentProof {
        name: rebuilder.id.clone(),
        operator: rebuilder.operator.clone(),
        request_key: keys.request.public(),
    };
    Ok(Enrolment {
        name: rebuilder.id.clone(),
        operator: rebuilder.operator.clone(),
        request_key: keys.request.public(),
        statement_key: keys.statement.public(),
        contact: contact.to_owned(),
        proof: Statement::new(ENROLMENT, Vec::new(), proof).sign(&keys.statement)?,
    })
}
