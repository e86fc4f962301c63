//! Operations about registered mirrors.

use super::operations::{Access, OPERATE, Operation, change, get};

const TAG: &str = "Mirrors";

pub(super) static OPERATIONS: &[Operation] = &[
    get(
        TAG,
        "/api/v1/mirrors",
        &[],
        "Mirrors and how each fares; with the scope `operate` also those that wait or are private",
    ),
    change(
        "post",
        Access::Everybody,
        TAG,
        "/api/v1/mirrors",
        201,
        "Asks to be listed as a mirror; with the scope `operate` it is let in at once",
    ),
    get(
        TAG,
        "/api/v1/mirrors/{name}",
        &[],
        "One mirror with its looks and arrivals; all of it with its own token",
    ),
    change(
        "delete",
        Access::Token("mirror:NAME"),
        TAG,
        "/api/v1/mirrors/{name}",
        204,
        "Forgets a mirror",
    ),
    change(
        "post",
        OPERATE,
        TAG,
        "/api/v1/mirrors/{name}/describe",
        204,
        "Describes a mirror anew",
    ),
    change(
        "post",
        OPERATE,
        TAG,
        "/api/v1/mirrors/{name}/approve",
        204,
        "Lets a mirror in",
    ),
    change(
        "post",
        OPERATE,
        TAG,
        "/api/v1/mirrors/{name}/reject",
        204,
        "Turns a mirror away and tells it why",
    ),
    change(
        "post",
        OPERATE,
        TAG,
        "/api/v1/mirrors/{name}/probe",
        204,
        "Looks at a mirror as soon as may be",
    ),
];
