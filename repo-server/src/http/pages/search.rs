//! `/search`, and the same as JSON.

use super::{error_page, html, site};
use crate::app::App;
use crate::catalogue::search::{Part, Query, capabilities, files, names};
use crate::db::DbError;
use crate::http::error::ApiError;
use axum::Json;
use axum::extract::{Query as Params, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use repo_model::wire::search::SearchAnswer;
use serde::Deserialize;
use web::{SearchIn, SearchView};

/// Answers of each kind beside the others: packages, capabilities, files.
const OF_EACH: [u32; 3] = [20, 10, 10];
/// Answers of one kind on a page of its own.
const OF_ONE: u32 = 50;
/// Answers that can be turned to: who wants more of them asks more narrowly.
const MAX_OFFSET: u32 = 10_000;

/// Query of [`search`] and [`api_search`].
#[derive(Debug, Deserialize)]
pub struct SearchQuery {
    q: Option<String>,
    #[serde(rename = "in")]
    only: Option<String>,
    offset: Option<u32>,
}

/// `GET /search?q=&in=&offset=`.
pub async fn search(
    State(app): State<App>,
    Params(query): Params<SearchQuery>,
    headers: HeaderMap,
) -> Response {
    let page = async {
        let asked = Asked::of(&query)?;
        let answer = asked.answer(&app).await?;
        html(web::search(&SearchView {
            site: &site(&app),
            query: &asked.text,
            only: asked.only,
            answer: &answer,
            offset: u64::from(asked.offset),
            limit: u64::from(OF_ONE),
        }))
    };
    page.await
        .unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}

/// `GET /api/v1/search?q=&in=&offset=`.
pub async fn api_search(
    State(app): State<App>,
    Params(query): Params<SearchQuery>,
) -> Result<Json<SearchAnswer>, ApiError> {
    Ok(Json(Asked::of(&query)?.answer(&app).await?))
}

struct Asked {
    text: String,
    only: Option<SearchIn>,
    offset: u32,
}

impl Asked {
    fn of(query: &SearchQuery) -> Result<Self, ApiError> {
        let refuse = |message: &str| {
            ApiError::client(StatusCode::BAD_REQUEST, "bad-parameter", message.to_owned())
        };
        let only = match query.only.as_deref() {
            None | Some("") => None,
            Some(name) => Some(
                SearchIn::named(name)
                    .ok_or_else(|| refuse("`in`: want one of name, provides, files"))?,
            ),
        };
        let offset = query.offset.unwrap_or(0);
        if offset > MAX_OFFSET {
            return Err(refuse("`offset` is larger than 10000: ask more narrowly"));
        }
        let text = query.q.as_deref().unwrap_or("").trim();
        Ok(Self {
            text: text.chars().take(200).collect(),
            only,
            offset,
        })
    }

    async fn answer(&self, app: &App) -> Result<SearchAnswer, DbError> {
        let Some(query) = Query::parse(&self.text) else {
            return Ok(SearchAnswer::default());
        };
        let part = |kind: SearchIn| match self.only {
            None => Some(Part {
                offset: 0,
                limit: match kind {
                    SearchIn::Names => OF_EACH[0],
                    SearchIn::Provides => OF_EACH[1],
                    SearchIn::Files => OF_EACH[2],
                },
            }),
            Some(only) => (only == kind).then_some(Part {
                offset: self.offset,
                limit: OF_ONE,
            }),
        };
        let [by_name, by_capability, by_file] = SearchIn::ALL.map(part);
        let question = move |connection: &rusqlite::Connection| {
            let mut answer = SearchAnswer::default();
            if let Some(part) = by_name {
                answer.names = names(connection, &query, part)?;
            }
            if let Some(part) = by_capability {
                answer.provides = capabilities(connection, &query, part)?;
            }
            if let Some(part) = by_file {
                answer.files = files(connection, &query, part)?;
            }
            Ok(answer)
        };
        app.catalogue.ask(question).await
    }
}
