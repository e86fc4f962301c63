//! Changing records of a `repomd.xml` while all others stay byte for byte as they are.

use mirrors::reading::{RecordClaim, Repomd};

/// A record to add: its type, and its `<data>` element.
#[derive(Debug, Clone)]
pub(super) struct NewRecord {
    pub record_type: String,
    pub element: String,
}

/// The text of `repomd.xml` without the records that `keep` refuses and with new ones, all in
/// createrepo_c's order: primary, filelists, other, databases, zchunk, then by type.
pub(super) fn edit(
    text: &str,
    repomd: &Repomd,
    keep: impl Fn(&RecordClaim) -> bool,
    added: Vec<NewRecord>,
) -> String {
    let mut rest = String::with_capacity(text.len());
    let mut records = added;
    let mut at = 0;
    for record in &repomd.records {
        // The blanks before an element go with it.
        let before = text.get(at..record.span.start).unwrap_or_default();
        rest.push_str(before.trim_end());
        at = record.span.end;
        if keep(record) {
            records.push(NewRecord {
                record_type: record.record_type.clone(),
                element: text.get(record.span.clone()).unwrap_or_default().to_owned(),
            });
        }
    }
    rest.push_str(text.get(at..repomd.end).unwrap_or_default().trim_end());
    // Stable: records of one type keep their order.
    records.sort_by(|a, b| {
        (class(&a.record_type), &a.record_type).cmp(&(class(&b.record_type), &b.record_type))
    });
    for record in records {
        rest.push_str("\n  ");
        rest.push_str(record.element.trim());
    }
    rest.push('\n');
    rest.push_str(text.get(repomd.end..).unwrap_or_default());
    rest
}

fn class(record_type: &str) -> usize {
    match record_type {
        "primary" => 0,
        "filelists" => 1,
        "other" => 2,
        _ if record_type.ends_with("_db") => 3,
        _ if record_type.ends_with("_zck") => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<?xml version=\"1.0\"?>\n<repomd>\n  <revision>1</revision>\n  <data type=\"primary\"><location href=\"p\"/></data>\n  <data type=\"updateinfo\">\n    <location href=\"u\"/>\n    <odd/>\n  </data>\n</repomd>\n";

    #[test]
    fn records_come_and_go_and_the_others_stay_as_they_are() {
        let repomd = Repomd::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(edit(TEXT, &repomd, |_| true, Vec::new()), TEXT);
        let modules = NewRecord {
            record_type: "modules".to_owned(),
            element: "<data type=\"modules\"/>".to_owned(),
        };
        let changed = edit(TEXT, &repomd, |_| true, vec![modules]);
        assert_eq!(
            changed,
            TEXT.replace(
                "\n  <data type=\"updateinfo\">",
                "\n  <data type=\"modules\"/>\n  <data type=\"updateinfo\">"
            )
        );
        let fewer = edit(TEXT, &repomd, |r| r.record_type == "primary", Vec::new());
        assert!(!fewer.contains("updateinfo") && !fewer.contains("odd"));
        assert!(fewer.ends_with("</data>\n</repomd>\n"), "{fewer}");
    }
}
