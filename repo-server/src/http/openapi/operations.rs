//! The table of operations.

/// One operation.
pub struct Operation {
    /// `get`, `post`, ...
    pub method: &'static str,
    /// As the router has it.
    pub path: &'static str,
    /// Group on the page.
    pub tag: &'static str,
    /// What it does, and what its body holds.
    pub summary: &'static str,
    /// Who may.
    pub access: Access,
    /// Names of query parameters.
    pub query: &'static [&'static str],
    /// Status of success.
    pub status: u16,
}

/// Who may.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Everybody,
    /// A token with this scope.
    Token(&'static str),
    /// A rebuilder, by a signed request.
    Rebuilder,
}

pub(super) const fn get(
    tag: &'static str,
    path: &'static str,
    query: &'static [&'static str],
    summary: &'static str,
) -> Operation {
    Operation {
        method: "get",
        path,
        tag,
        summary,
        access: Access::Everybody,
        query,
        status: 200,
    }
}

pub(super) const fn change(
    method: &'static str,
    access: Access,
    tag: &'static str,
    path: &'static str,
    status: u16,
    summary: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        tag,
        summary,
        access,
        query: &[],
        status,
    }
}

/// The same, for who has a token with this scope.
const fn with_scope(operation: Operation, scope: &'static str) -> Operation {
    Operation {
        access: Access::Token(scope),
        ..operation
    }
}

const PUBLISH: Access = Access::Token("publish");
pub(super) const OPERATE: Access = Access::Token("operate");
const TOKENS: Access = Access::Token("tokens");

/// Every operation of the HTTP API. A route without a row here fails a test.
pub static OPERATIONS: &[Operation] = &[
    get(
        "Packages",
        "/api/v1/search",
        &["q", "in", "offset"],
        "Packages by name and summary, by what they provide, by file",
    ),
    with_scope(
        get("Builds", "/api/v1/blobs/{digest}", &[], "A stored blob"),
        "read",
    ),
    change(
        "put",
        PUBLISH,
        "Builds",
        "/api/v1/blobs/{digest}",
        201,
        "Stores a blob under its SHA-256; goes on where an upload stopped",
    ),
    with_scope(
        get(
            "Builds",
            "/api/v1/uploads/{digest}",
            &[],
            "How much of a blob is stored",
        ),
        "publish",
    ),
    get(
        "Builds",
        "/api/v1/builds",
        &["package", "stage", "before", "limit"],
        "Builds, newest first",
    ),
    change(
        "post",
        PUBLISH,
        "Builds",
        "/api/v1/builds",
        201,
        "Hands over a build: the manifest names blobs that are stored",
    ),
    get(
        "Builds",
        "/api/v1/builds/{build}",
        &[],
        "One build with its packages, evidence, rebuilds and jobs",
    ),
    change(
        "post",
        Access::Everybody,
        "Builds",
        "/api/v1/evidence/packages",
        200,
        "The builds of up to 1,000 packages, by their headers, with those packages alone",
    ),
    change(
        "post",
        Access::Everybody,
        "Builds",
        "/api/v1/evidence/documents",
        200,
        "Up to 1,000 documents, bundles and heads of packages in one tar",
    ),
    change(
        "post",
        OPERATE,
        "Builds",
        "/api/v1/builds/{build}/retry",
        204,
        "Has a held build tried again",
    ),
    change(
        "post",
        OPERATE,
        "Builds",
        "/api/v1/builds/{build}/reject",
        204,
        "Rejects a build whose signing has not begun, for good and with a reason",
    ),
    change(
        "post",
        OPERATE,
        "Builds",
        "/api/v1/builds/{build}/bisection",
        204,
        "Shows which factor makes a build differ: the report of hallmark-rebuilder bisect",
    ),
    change(
        "post",
        OPERATE,
        "Builds",
        "/api/v1/waivers",
        204,
        "Lets held packages out by the word of two people: a signed waiver",
    ),
    get(
        "Releases",
        "/api/v1/channels",
        &[],
        "Where each channel points",
    ),
    get(
        "Releases",
        "/api/v1/channels/{channel}/history",
        &[],
        "Moves of a channel, newest first",
    ),
    change(
        "post",
        OPERATE,
        "Releases",
        "/api/v1/channels/{channel}/move",
        204,
        "Promotes or rolls back: moves a channel from one release to another",
    ),
    get(
        "Releases",
        "/api/v1/releases",
        &[],
        "Releases, newest first",
    ),
    get(
        "Releases",
        "/api/v1/releases/{release}/evidence.tar.zst",
        &[],
        "All evidence about a release (a number, or `newest`) in one file, for `hallmark verify` without a server",
    ),
    get(
        "What is inside",
        "/api/v1/releases/{release}/sboms",
        &[],
        "SBOMs of a release as a whole",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/components",
        &[
            "component",
            "version",
            "release",
            "repo",
            "arch",
            "package",
            "after",
            "limit",
        ],
        "Who ships a component",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/why",
        &[
            "component",
            "version",
            "release",
            "repo",
            "arch",
            "package",
            "after",
            "limit",
        ],
        "How a component came into a package",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/needs",
        &[
            "package", "depth", "release", "repo", "arch", "after", "limit",
        ],
        "What needs a package, directly or by way of others",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/built-with",
        &[
            "tool", "version", "release", "repo", "arch", "package", "after", "limit",
        ],
        "Packages built where a tool was installed",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/licences",
        &["of", "mapped", "copyleft", "release", "after", "limit"],
        "Licences with the number of packages",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/licensed",
        &[
            "licence", "release", "repo", "arch", "package", "after", "limit",
        ],
        "Packages that have a licence, or something in them has",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/files",
        &[
            "digest", "release", "repo", "arch", "package", "after", "limit",
        ],
        "Packages with a file of this digest",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/diff",
        &["from", "to", "of", "after", "limit"],
        "What differs between two releases",
    ),
    get(
        "What is inside",
        "/api/v1/vulnerabilities",
        &[
            "vulnerability",
            "status",
            "release",
            "repo",
            "arch",
            "package",
            "after",
            "limit",
        ],
        "Advisories and VEX statements over a release",
    ),
    get("What is inside", "/api/v1/vex", &[], "VEX documents"),
    change(
        "post",
        OPERATE,
        "What is inside",
        "/api/v1/vex",
        201,
        "Takes in a VEX document: OpenVEX or CSAF",
    ),
    change(
        "delete",
        OPERATE,
        "What is inside",
        "/api/v1/vex/{digest}",
        204,
        "Withdraws a VEX document",
    ),
    with_scope(
        get(
            "Rebuilders",
            "/api/v1/rebuilders",
            &[],
            "Rebuilders, and who asks to be let in",
        ),
        "operate",
    ),
    change(
        "post",
        OPERATE,
        "Rebuilders",
        "/api/v1/rebuilders/{name}/approve",
        204,
        "Lets a rebuilder in",
    ),
    change(
        "post",
        OPERATE,
        "Rebuilders",
        "/api/v1/rebuilders/{name}/reject",
        204,
        "Turns a rebuilder away",
    ),
    change(
        "post",
        OPERATE,
        "Rebuilders",
        "/api/v1/rebuilders/{name}/mode",
        204,
        "Pauses, drains or resumes a rebuilder",
    ),
    with_scope(
        get(
            "Operators",
            "/api/v1/jobs",
            &["limit"],
            "Work of the server that is not done, what fails first",
        ),
        "operate",
    ),
    with_scope(
        get(
            "Operators",
            "/api/v1/audit",
            &["before", "about", "people", "limit"],
            "The audit trail: who changed what, newest first",
        ),
        "operate",
    ),
    with_scope(
        get(
            "Operators",
            "/api/v1/tokens",
            &[],
            "Tokens, without secrets",
        ),
        "operate",
    ),
    change(
        "post",
        TOKENS,
        "Operators",
        "/api/v1/tokens",
        201,
        "Makes a token; its secret is in the answer alone",
    ),
    change(
        "delete",
        TOKENS,
        "Operators",
        "/api/v1/tokens/{token}",
        204,
        "Revokes a token at once",
    ),
    change(
        "post",
        Access::Rebuilder,
        "Rebuilders",
        "/api/v1/worker/lease",
        200,
        "Asks for work",
    ),
    change(
        "post",
        Access::Rebuilder,
        "Rebuilders",
        "/api/v1/worker/jobs/{job}/heartbeat",
        200,
        "Keeps a lease",
    ),
    change(
        "post",
        Access::Rebuilder,
        "Rebuilders",
        "/api/v1/worker/jobs/{job}/commit",
        204,
        "Commits to a sealed answer",
    ),
    change(
        "post",
        Access::Rebuilder,
        "Rebuilders",
        "/api/v1/worker/jobs/{job}/report",
        204,
        "Reveals the answer, or gives up",
    ),
    change(
        "post",
        Access::Rebuilder,
        "Rebuilders",
        "/api/v1/worker/enrol",
        200,
        "Asks to be let in",
    ),
];
