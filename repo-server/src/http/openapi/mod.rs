//! `/api/v1/openapi.json` and `/api`: every operation of the HTTP API, from one table. What the bodies hold is in
//! the protocol reference; each row's summary says which.

mod mirrors;
mod operations;

use super::pages::{error_page, html, site};
use crate::app::App;
use crate::http::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use operations::{Access, OPERATIONS, Operation};
use serde_json::{Map, Value, json};
use web::{ApiGroup, ApiOperation, ApiView};

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

    /// Methods and paths below `/api/` as the router has them.
    fn routes() -> BTreeSet<(&'static str, &'static str)> {
        let mut found = BTreeSet::new();
        for route in include_str!("../mod.rs").split(".route(").skip(1) {
            let path = route.split('"').nth(1).expect("a route has a path");
            // Up to the end of its statement or of the next call.
            let methods = &route[..route.find("\n        .").unwrap_or(route.len())];
            let is_shown = path.starts_with("/api/v1/") && path != "/api/v1/openapi.json";
            for method in ["get", "post", "put", "delete"] {
                let names_it = methods.contains(&format!("{method}("));
                // The one route that is put together before.
                let is_blob = path.ends_with("/blobs/{digest}") && ["get", "put"].contains(&method);
                if is_shown && (names_it || is_blob) {
                    found.insert((method, path));
                }
            }
        }
        found
    }

    #[test]
    fn every_route_of_the_api_has_a_row_and_every_row_a_route() {
        let described: BTreeSet<_> = super::operations()
            .map(|one| (one.method, one.path))
            .collect();
        assert_eq!(routes(), described);
        assert_eq!(described.len(), super::operations().count(), "no row twice");
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
