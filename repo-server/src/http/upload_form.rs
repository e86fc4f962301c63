//! Fields of a form that uploads a file (`multipart/form-data`, RFC 7578), as browsers send it:
//!
//! ```text
//! --BOUNDARY
//! Content-Disposition: form-data; name="csrf"
//!
//! ab12…
//! --BOUNDARY--
//! ```
//!
//! The whole body is in memory: forms here are small, and the router limits them.

/// More fields than any form here has.
const MAX_FIELDS: usize = 32;

/// Name and content of each field, in their order; none when the body is no such form. File names and types
/// are what the sender likes and are passed over.
pub fn fields<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<(&'a str, &'a [u8])>> {
    let boundary = boundary(content_type)?;
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes())?;
    let mut found = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n")?;
        let head_end = position(part, b"\r\n\r\n")?;
        let (head, content) = (&part[..head_end], &part[head_end + 4..]);
        let end = position(content, between.as_bytes())?;
        found.push((name(std::str::from_utf8(head).ok()?)?, &content[..end]));
        if found.len() > MAX_FIELDS {
            return None;
        }
        rest = &content[end + between.len()..];
    }
    Some(found)
}

/// 1 to 70 characters that need no quoting.
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, rest) = content_type.split_once(';')?;
    let value = rest.trim().strip_prefix("boundary=")?.trim_matches('"');
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&b);
    let is_good = (1..=70).contains(&value.len()) && value.bytes().all(is_plain);
    (kind.trim().eq_ignore_ascii_case("multipart/form-data") && is_good).then_some(value)
}

fn name(head: &str) -> Option<&str> {
    let line = head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    let mut parameters = line.split(';').map(str::trim);
    if parameters.next()? != "form-data" {
        return None;
    }
    let name = parameters.find_map(|parameter| parameter.strip_prefix("name="))?;
    name.strip_prefix('"')?.strip_suffix('"')
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=----geckoformboundaryab12";

    fn body(parts: &[&str]) -> Vec<u8> {
        let mut out = String::new();
        for part in parts {
            out.push_str(&format!("------geckoformboundaryab12\r\n{part}\r\n"));
        }
        out.push_str("------geckoformboundaryab12--\r\n");
        out.into_bytes()
    }

    #[test]
    fn fields_come_out_as_they_were_sent_with_line_ends_and_dashes() {
        let sent = body(&[
            "Content-Disposition: form-data; name=\"csrf\"\r\n\r\nab12",
            "Content-Disposition: form-data; name=\"waiver\"; filename=\"a\\\".json\"\r\nContent-Type: application/json\r\n\r\n{\r\n--\r\n}",
            "content-disposition: form-data; name=\"empty\"\r\n\r\n",
        ]);
        let found = fields(TYPE, &sent).expect("a form");
        assert_eq!(
            found,
            [
                ("csrf", &b"ab12"[..]),
                ("waiver", b"{\r\n--\r\n}"),
                ("empty", b""),
            ]
        );
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let good = body(&["Content-Disposition: form-data; name=\"a\"\r\n\r\nb"]);
        assert!(fields(TYPE, &good).is_some());
        for (kind, sent) in [
            ("text/plain", &good[..]),
            ("multipart/form-data", &good),
            ("multipart/form-data; boundary=", &good),
            ("multipart/form-data; boundary=a b", &good),
            ("multipart/mixed; boundary=----geckoformboundaryab12", &good),
            (TYPE, b""),
            (TYPE, &good[..good.len() - 6]),
            (TYPE, b"------geckoformboundaryab12\r\nno head"),
            (
                TYPE,
                b"------geckoformboundaryab12\r\n\r\n\r\nx\r\n------geckoformboundaryab12--",
            ),
        ] {
            assert_eq!(
                fields(kind, sent),
                None,
                "{kind} {:?}",
                String::from_utf8_lossy(sent)
            );
        }
        let many = vec!["Content-Disposition: form-data; name=\"a\"\r\n\r\nb"; MAX_FIELDS + 1];
        assert_eq!(fields(TYPE, &body(&many)), None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = body(&["Content-Disposition: form-data; name=\"a\"\r\n\r\nb"]);
        for cut in 0..good.len() {
            let _ = fields(TYPE, &good[..cut]);
            let mut bent = good.clone();
            bent[cut] = 0xff;
            let _ = fields(TYPE, &bent);
        }
    }
}
