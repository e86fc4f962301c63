//! Reads a page with an XML parser that forgives nothing, and asserts what every page owes to
//! screen readers and to the content security policy.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::BTreeMap;

/// An element with its attributes, values unescaped.
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
}

impl Element {
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }
}

/// What a page consists of.
pub struct Page {
    pub elements: Vec<Element>,
    /// All text, unescaped.
    pub text: String,
}

impl Page {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements
            .iter()
            .filter(move |element| element.name == name)
    }
}

/// Parses `html`; panics with the place when it is not well-formed.
pub fn parse(what: &str, html: &str) -> Page {
    let mut reader = Reader::from_str(html);
    reader.config_mut().check_end_names = true;
    let (mut elements, mut text, mut depth) = (Vec::new(), String::new(), 0_i32);
    loop {
        let at = reader.buffer_position();
        match reader
            .read_event()
            .unwrap_or_else(|error| panic!("{what}, byte {at}: {error}"))
        {
            Event::Start(start) => {
                depth += 1;
                elements.push(element(what, &start));
            }
            Event::Empty(start) => elements.push(element(what, &start)),
            Event::End(_) => depth -= 1,
            Event::Text(part) => {
                assert!(!part.contains(['<', '>']), "{what}, byte {at}: {part:?}");
                text.push_str(&part);
            }
            Event::GeneralRef(name) => text.push_str(&resolve(&name)),
            Event::Comment(_) | Event::CData(_) | Event::PI(_) | Event::Decl(_) => {
                panic!("{what}, byte {at}: no such things in a page")
            }
            Event::DocType(_) => {}
            Event::Eof => break,
        }
    }
    assert_eq!(depth, 0, "{what} leaves an element open");
    Page { elements, text }
}

fn resolve(name: &str) -> String {
    let c = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "#34" => '"',
        "#39" => '\'',
        other => panic!("&{other}; is not one of the escaper's"),
    };
    c.to_string()
}

fn element(what: &str, start: &BytesStart<'_>) -> Element {
    let name = start.name().as_ref().to_owned();
    let mut attributes = BTreeMap::new();
    for attribute in start.attributes().with_checks(true) {
        let attribute = attribute.unwrap_or_else(|error| panic!("{what}, <{name}>: {error}"));
        let key = attribute.key.as_ref().to_owned();
        let raw = attribute.value.as_ref();
        assert!(!raw.contains(['<', '>']), "{what}, <{name} {key}>: {raw}");
        let value = quick_xml::escape::unescape(raw).unwrap().into_owned();
        attributes.insert(key, value);
    }
    Element { name, attributes }
}

/// What every page owes, whatever it shows.
pub fn assert_sound(what: &str, page: &Page) {
    for once in ["main", "h1", "title", "footer"] {
        assert_eq!(page.all(once).count(), 1, "{what} has one <{once}>");
    }
    assert_eq!(
        page.all("caption").count(),
        page.all("table").count(),
        "{what}: every table has a caption"
    );
    assert_eq!(
        page.all("style").count() + page.all("iframe").count(),
        0,
        "{what}"
    );
    for script in page.all("script") {
        assert!(
            script
                .get("src")
                .is_some_and(|src| src.starts_with("/assets/copy-")),
            "{what}"
        );
    }
    assert_eq!(page.all("script").count(), 1, "{what}");
    assert!(
        page.all("img").all(|img| img.get("alt").is_some()),
        "{what}: every image has a text"
    );
    let ids: Vec<&str> = page
        .elements
        .iter()
        .filter_map(|element| element.get("id"))
        .collect();
    for (at, id) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(id), "{what}: id {id} twice");
    }
    for element in &page.elements {
        for (key, value) in &element.attributes {
            let of = format!("{what}, <{} {key}={value:?}>", element.name);
            assert!(
                !key.starts_with("on") && key != "style",
                "{of} breaks the policy"
            );
            match key.as_str() {
                "aria-labelledby" | "for" => {
                    assert!(ids.contains(&value.as_str()), "{of} names no id")
                }
                "href" | "src" | "action" => assert!(is_own(value, &ids), "{of} leaves the server"),
                _ => {}
            }
        }
    }
    assert_headings(what, page);
}

/// Addresses on this server, anchors on this page, and names relative to a directory.
fn is_own(address: &str, ids: &[&str]) -> bool {
    if let Some(anchor) = address.strip_prefix('#') {
        return ids.contains(&anchor);
    }
    !address.starts_with("//") && !address.contains([':', '\\', '"', '\'', ' '])
}

fn assert_headings(what: &str, page: &Page) {
    let mut above = 0;
    for element in &page.elements {
        let level = match element.name.as_str() {
            "h1" => 1,
            "h2" => 2,
            "h3" => 3,
            "h4" => 4,
            _ => continue,
        };
        assert!(
            level <= above + 1,
            "{what}: <h{level}> right after <h{above}>"
        );
        above = level;
    }
}
