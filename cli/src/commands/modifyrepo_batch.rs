//! The batch file of `hallmark modifyrepo`, in modifyrepo_c's form:
//!
//! ```text
//! [path/to/updateinfo.xml]
//! type=updateinfo
//! compress=true
//! compress-type=gz
//! checksum=sha256
//! unique-md-filenames=true
//! new-name=updateinfo-new.xml
//!
//! [productid]
//! remove=true
//! ```
//!
//! A section names a file, or with `remove` the type of a record. `#` starts a comment line. An unknown
//! key is an error, not passed over.

use super::upstream::{checksum, codec};
use repo_server::repodata::{ChecksumType, Codec};

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The file, or the type of the record to remove.
    pub input: String,
    pub remove: bool,
    pub mdtype: Option<String>,
    pub new_name: Option<String>,
    /// None: as the command line says.
    pub compress: Option<bool>,
    pub compress_type: Option<Codec>,
    pub checksum: Option<ChecksumType>,
    pub unique_names: Option<bool>,
    pub zck: Option<bool>,
}

/// Reads the text; an error names the line.
pub fn parse(text: &str) -> Result<Vec<Section>, String> {
    let mut sections: Vec<Section> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
            continue;
        }
        let fault = |what: String| format!("line {}: {what}", number + 1);
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            sections.push(section(name.trim()));
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err(fault("a key stands before the first [section]".to_owned()));
        };
        let Some((key, value)) = line.split_once('=') else {
            return Err(fault("want `[file]` or `key=value`".to_owned()));
        };
        set(section, key.trim(), value.trim()).map_err(fault)?;
    }
    match sections.is_empty() {
        true => Err("it has no [section]".to_owned()),
        false => Ok(sections),
    }
}

fn section(input: &str) -> Section {
    Section {
        input: input.to_owned(),
        remove: false,
        mdtype: None,
        new_name: None,
        compress: None,
        compress_type: None,
        checksum: None,
        unique_names: None,
        zck: None,
    }
}

fn set(section: &mut Section, key: &str, value: &str) -> Result<(), String> {
    match key {
        "path" => section.input = value.to_owned(),
        "type" | "mdtype" => section.mdtype = Some(value.to_owned()),
        "new-name" => section.new_name = Some(value.to_owned()),
        "remove" => section.remove = yes_or_no(value)?,
        "compress" => section.compress = Some(yes_or_no(value)?),
        "compress-type" => section.compress_type = Some(codec(value)?),
        "checksum" => section.checksum = Some(checksum(value)?),
        "unique-md-filenames" => section.unique_names = Some(yes_or_no(value)?),
        "zck" => section.zck = Some(yes_or_no(value)?),
        _ => return Err(format!("the key `{key}` is unknown")),
    }
    Ok(())
}

fn yes_or_no(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("`{value}` is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_with_their_keys_and_mistakes_are_named_by_line() {
        let text = "# c\n[a/comps.xml]\ntype = group\ncompress=false\nunique-md-filenames=0\n\n[productid]\nremove=true\n";
        let sections = parse(text).unwrap();
        assert_eq!(sections.len(), 2);
        assert_eq!(sections[0].mdtype.as_deref(), Some("group"));
        assert_eq!(
            (sections[0].compress, sections[0].unique_names),
            (Some(false), Some(false))
        );
        assert!(sections[1].remove && sections[1].input == "productid");
        for (text, wanted) in [
            ("", "no [section]"),
            ("type=a", "line 1: a key stands"),
            ("[a]\nb", "line 2: want"),
            ("[a]\ntypo=1", "line 2: the key `typo`"),
            ("[a]\nremove=maybe", "neither true nor false"),
            ("[a]\ncompress-type=bz2", "bz2"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
