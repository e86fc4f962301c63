//! `/log`.

use super::{error_page, html, site};
use crate::app::App;
use crate::db::{self, DbError};
use crate::http::error::ApiError;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use repo_model::ReleaseId;
use repo_model::log::{Checkpoint, Note};
use serde::Deserialize;
use web::{LogEntryLine, LogHead, LogView};

/// Entries on one page.
const ENTRIES: u32 = 50;

/// Query of [`log`].
#[derive(Debug, Deserialize)]
pub struct LogQuery {
    before: Option<u64>,
}

/// `GET /log?before=`.
pub async fn log(
    State(app): State<App>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Response {
    log_page(&app, query.before)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn log_page(app: &App, before: Option<u64>) -> Result<Response, ApiError> {
    let (head, lines) = app
        .db
        .read(move |connection| {
            let head = db::log::published_checkpoint(connection)?.and_then(|note| read(&note));
            // What comes behind the head is not served yet.
            let size = head.as_ref().map_or(0, |head| head.size);
            let before = before.map_or(size, |before| before.min(size));
            let lines = db::log_lines::newest(connection, before, ENTRIES)?;
            Ok::<_, DbError>((head, lines))
        })
        .await?;
    let entries: Vec<LogEntryLine> = lines
        .into_iter()
        .map(|line| LogEntryLine {
            index: line.index,
            statement: line.statement,
            kind: line.kind,
            label: line.label,
            build: line.build.zip(line.source),
            release: line.release.map(ReleaseId),
        })
        .collect();
    html(web::log(&LogView {
        site: &site(app),
        head: head.as_ref(),
        next: entries
            .last()
            .map(|entry| entry.index)
            .filter(|index| *index > 0),
        entries: &entries,
    }))
}

/// What the log says of itself now; none before its first head.
pub(super) async fn head(app: &App) -> Result<Option<LogHead>, DbError> {
    let read_note = |connection: &rusqlite::Connection| {
        Ok::<_, DbError>(db::log::published_checkpoint(connection)?.and_then(|note| read(&note)))
    };
    app.db.read(read_note).await
}

fn read(note: &str) -> Option<LogHead> {
    let note = Note::parse(note.as_bytes()).ok()?;
    let checkpoint: Checkpoint = note.text.parse().ok()?;
    let names = note.signatures.iter().filter_map(|line| {
        let line = line.to_string();
        line.split(' ').nth(1).map(str::to_owned)
    });
    let mut cosigners: Vec<String> = names.filter(|name| *name != checkpoint.origin).collect();
    cosigners.sort();
    cosigners.dedup();
    Some(LogHead {
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: checkpoint.root.to_base64(),
        cosigners,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_those_who_signed_it_too() {
        let line = |name: &str| format!("\u{2014} {name} AAAAAAAA\n");
        let root = "A".repeat(43) + "=";
        let signers = ["log.example", "witness.b", "witness.a", "witness.a"].map(line);
        let note = format!("log.example\n17\n{root}\n\n{}", signers.concat());
        let head = read(&note).expect("it reads");
        assert_eq!((head.size, head.root), (17, root));
        assert_eq!(head.cosigners, ["witness.a", "witness.b"]);
        assert_eq!(read("nonsense"), None);
    }
}
