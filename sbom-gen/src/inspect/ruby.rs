//! Installed gems: `specifications/*.gemspec`, written by RubyGems itself, so that name and version
//! are string literals: `s.name = "rack".freeze`.

use super::{Findings, Look, Reader};
use crate::component::{Component, Technique};

/// A specification longer than this is not read on: the fields stand at its beginning.
const READ_BYTES: usize = 1 << 20;

pub(super) const GEMSPEC: Reader = Reader {
    name: "gemspec",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, _| path.ends_with(".gemspec") && path.contains("/specifications/"),
    read,
};

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let text = String::from_utf8_lossy(&look.content[..look.content.len().min(READ_BYTES)]);
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            (key.trim() == name).then(|| literal(value))?
        })
    };
    let name = field("s.name").ok_or("no name")?;
    let evidence = look.evidence(reader);
    let mut component = Component::new("gem", None, name, field("s.version"), evidence)
        .ok_or("a name that is none")?;
    component.state_licence(field("s.licenses").or(field("s.license")));
    findings.components.push(component);
    Ok(())
}

/// The only string literal of an expression; `None` for none or several.
fn literal(expression: &str) -> Option<&str> {
    let mut parts = expression.split('"');
    let (_, value, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let is_only = parts.next().is_none() && !rest.contains('+');
    Some(value).filter(|value| is_only && !value.is_empty() && !value.contains('#'))
}
