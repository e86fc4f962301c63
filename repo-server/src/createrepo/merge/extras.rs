//! Groups, advisories and modules of several repositories as one record each.
//!
//! Groups: of elements with one kind and id the first repository's stays. Advisories: every one stays
//! that is not word for word there already, since two of one id may name different packages, and
//! clients take both. Modules: the documents one after the other, each once.

use super::source::{Extra, Repository};
use super::{MergeError, MergeRequest};
use crate::createrepo::error::CreaterepoError;
use crate::repodata::ExtraRecord;
use mirrors::reading::{Token, XmlError, XmlReader};
use std::collections::HashSet;

/// The merged records, and what was left out: repository and type.
pub(super) type Merged = (Vec<ExtraRecord>, Vec<(String, String)>);

/// Merges what the request wants.
pub(super) fn merged(
    request: &MergeRequest,
    repositories: &[Repository],
) -> Result<Merged, CreaterepoError> {
    let mut records = Vec::new();
    let mut left_out = Vec::new();
    for repository in repositories {
        let label = || repository.label.clone();
        left_out.extend(
            repository
                .left_out
                .iter()
                .map(|kind| (label(), kind.clone())),
        );
    }
    for (kind, name, wanted) in [
        ("group", "comps.xml", request.groups),
        ("updateinfo", "updateinfo.xml", request.advisories),
        ("modules", "modules.yaml", true),
    ] {
        let all: Vec<(&Repository, &Extra)> = repositories
            .iter()
            .flat_map(|r| r.extras.iter().map(move |extra| (r, extra)))
            .filter(|(_, extra)| extra.record_type == kind)
            .collect();
        if all.is_empty() || !wanted {
            continue;
        }
        let bytes = match kind {
            "modules" => documents(&all),
            _ => elements(kind, &all)?,
        };
        records.push(ExtraRecord {
            record_type: kind.to_owned(),
            file_name: name.to_owned(),
            bytes,
            codec: request.metadata.codec,
        });
    }
    Ok((records, left_out))
}

/// The YAML documents of all files, without repetitions.
fn documents(all: &[(&Repository, &Extra)]) -> Vec<u8> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for (_, extra) in all {
        for document in split_documents(&extra.bytes) {
            if seen.insert(document) {
                if !document.starts_with(b"---") {
                    out.extend_from_slice(b"---\n");
                }
                out.extend_from_slice(document);
                if !document.ends_with(b"\n") {
                    out.push(b'\n');
                }
            }
        }
    }
    out
}

/// Cuts before each line that is or starts with `---`; the text of each piece stays as it is.
fn split_documents(text: &[u8]) -> Vec<&[u8]> {
    let mut starts = vec![0];
    for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if text[at + 1..].starts_with(b"---") {
            starts.push(at + 1);
        }
    }
    starts.push(text.len());
    starts
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .filter(|piece| !piece.trim_ascii().is_empty())
        .collect()
}

/// A child of the root element: its name, the text of its `id`, and its own text.
struct Child<'a> {
    name: String,
    id: Option<String>,
    text: &'a [u8],
}

fn elements(kind: &str, all: &[(&Repository, &Extra)]) -> Result<Vec<u8>, CreaterepoError> {
    let (root, by_id) = match kind {
        "group" => ("comps", true),
        _ => ("updates", false),
    };
    let mut out = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec();
    if kind == "group" {
        out.extend_from_slice(
            b"<!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n",
        );
    }
    out.extend_from_slice(format!("<{root}>\n").as_bytes());
    let mut ids = HashSet::new();
    let mut texts = HashSet::new();
    for (repository, extra) in all {
        let children = children(&extra.bytes, root).map_err(|source| CreaterepoError::Merge {
            repository: repository.label.clone(),
            source: MergeError::Xml {
                file: extra.href.clone(),
                source,
            },
        })?;
        for child in children {
            let is_new = match (by_id, child.id) {
                (true, Some(id)) => ids.insert((child.name, id)),
                _ => texts.insert(child.text),
            };
            if is_new {
                out.extend_from_slice(b"  ");
                out.extend_from_slice(child.text);
                out.push(b'\n');
            }
        }
    }
    out.extend_from_slice(format!("</{root}>\n").as_bytes());
    Ok(out)
}

fn children<'a>(text: &'a [u8], root: &str) -> Result<Vec<Child<'a>>, XmlError> {
    let mut xml = XmlReader::new(text);
    let mut children = Vec::new();
    loop {
        let depth = xml.depth();
        match xml.next()? {
            Token::Start(start) if depth == 0 && start.name() != root => {
                return Err(xml.fault(format!("the root element is not `{root}`")));
            }
            Token::Start(start) if depth == 1 => {
                let from = xml.start_offset() as usize;
                let name = start.name().to_owned();
                let id = child_id(&mut xml)?;
                let text = text
                    .get(from..xml.end_offset() as usize)
                    .unwrap_or_default();
                children.push(Child { name, id, text });
            }
            Token::Eof => return Ok(children),
            _ => {}
        }
    }
}

/// Reads to the end of the element; gives the text of its first `id`.
fn child_id(xml: &mut XmlReader<&[u8]>) -> Result<Option<String>, XmlError> {
    let mut id = None;
    loop {
        match xml.next()? {
            Token::Start(start) if start.name() == "id" && id.is_none() => id = Some(xml.text()?),
            Token::Start(_) => xml.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(id),
        }
    }
}
