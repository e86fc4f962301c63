//! `/api/v1/openapi.json` and `/api`: every operation of the HTTP API, from one table. A route without a row
//! here fails a test. What the bodies hold is in the protocol reference; each row's summary says which.

mod mirrors;

use super::pages::{error_page, html, site};
use crate::app::App;
use crate::http::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};
use web::{ApiGroup, ApiOperation, ApiView};

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    access: Access,
    query: &'static [&'static str],
    /// Status of success.
    status: u16,
}

/// Who may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Everybody,
    /// A token with this scope.
    Token(&'static str),
    /// A rebuilder, by a signed request.
    Rebuilder,
}

const fn get(
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

const fn change(
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
const OPERATE: Access = Access::Token("operate");

static OPERATIONS: &[Operation] = &[
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
        "/api/v1/sbom/built-with",
        &[
            "tool", "version", "release", "repo", "arch", "package", "after", "limit",
        ],
        "Packages built where a tool was installed",
    ),
    get(
        "What is inside",
        "/api/v1/sbom/licences",
        &["of", "mapped", "release", "after", "limit"],
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

/// Every operation.
fn operations() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(mirrors::OPERATIONS)
}

/// `GET /api/v1/openapi.json`.
pub async fn document(State(app): State<App>) -> Json<Value> {
    Json(describe(
        &app.config.server.title,
        &app.config.server.public_url,
    ))
}

fn describe(title: &str, url: &str) -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method] = describe_one(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": format!("{title}: Hallmark"), "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "made by `hallmark token create`"},
                "rebuilder": {"type": "apiKey", "in": "header", "name": repo_model::wire::worker::HEADER,
                    "description": "a signature over method, path and body with the rebuilder's request key"},
            },
            "schemas": {"Error": {
                "type": "object", "required": ["error", "code"],
                "properties": {"error": {"type": "string"}, "code": {"type": "string"}, "hint": {"type": "string"}},
            }},
        },
    })
}

fn describe_one(operation: &Operation) -> Value {
    let parameter = |place: &str, name: &str, required: bool| json!({"in": place, "name": name, "required": required, "schema": {"type": "string"}});
    let in_path = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = in_path
        .map(|name| parameter("path", name, true))
        .chain(
            operation
                .query
                .iter()
                .map(|name| parameter("query", name, false)),
        )
        .collect();
    let error = json!({"description": "what is wrong, and what to do next", "content":
        {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}});
    let mut described = json!({
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {operation.status.to_string(): {"description": "done"}, "4XX": error},
    });
    match operation.access {
        Access::Everybody => {}
        Access::Token(scope) => {
            described["security"] = json!([{"token": []}]);
            described["description"] = json!(format!("Wants a token with scope `{scope}`."));
        }
        Access::Rebuilder => described["security"] = json!([{"rebuilder": []}]),
    }
    described
}

/// `GET /api`: the same for people.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Response {
    let mut groups: Vec<ApiGroup<'_>> = Vec::new();
    for operation in operations() {
        let shown = ApiOperation {
            method: operation.method,
            path: operation.path,
            summary: operation.summary,
            query: operation.query,
            access: match operation.access {
                Access::Everybody => "",
                Access::Token(scope) => scope,
                Access::Rebuilder => "a rebuilder's signature",
            },
        };
        match groups.iter_mut().find(|group| group.title == operation.tag) {
            Some(group) => group.operations.push(shown),
            None => groups.push(ApiGroup {
                title: operation.tag,
                operations: vec![shown],
            }),
        }
    }
    let view = ApiView {
        site: &site(&app),
        groups: &groups,
    };
    html(web::api(&view)).unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Paths below `/api/` that the router names.
    fn routes() -> BTreeSet<&'static str> {
        include_str!("mod.rs")
            .split('"')
            .filter(|text| text.starts_with("/api/v1/") && !text.ends_with('/'))
            .filter(|text| {
                !["/api/v1/worker", "/api/v1/blobs", "/api/v1/openapi.json"].contains(text)
            })
            .collect()
    }

    #[test]
    fn every_route_of_the_api_has_a_row_and_every_row_a_route() {
        let described: BTreeSet<&str> = operations().map(|operation| operation.path).collect();
        assert_eq!(routes(), described);
    }

    #[test]
    fn the_document_names_every_operation_once_with_its_parameters() {
        let document = describe("Test", "https://example.org");
        let paths = document["paths"].as_object().unwrap();
        let operations: usize = paths
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum();
        assert_eq!(operations, super::operations().count());
        let retry = &document["paths"]["/api/v1/builds/{build}/retry"]["post"];
        assert_eq!(retry["parameters"][0]["name"], "build");
        assert_eq!(retry["security"][0]["token"], json!([]));
        assert!(retry["responses"]["204"].is_object());
    }
}
