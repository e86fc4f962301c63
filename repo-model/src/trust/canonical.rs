//! Canonical JSON, the form that TUF signs (OLPC's: no white space, keys sorted, only `"` and `\`
//! escaped, no fractions). python-tuf calls it `encode_canonical`, tough `olpc-cjson`.

use serde_json::Value;

/// A number that is no whole number; TUF documents have none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{number} is not a whole number")]
pub struct NotCanonical {
    number: String,
}

/// The one way to write `value`.
pub fn canonical(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) if number.is_f64() => {
            return Err(NotCanonical {
                number: number.to_string(),
            });
        }
        Value::Number(number) => out.extend(number.to_string().bytes()),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // Bytes of UTF-8 sort like the code points they stand for.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_bytes());
            out.push(b'{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write(member, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_form() {
        let value: Value = serde_json::from_str(
            "{ \"b\" : [ 1 , true, null, -7 ], \"a\": {\"z\": \"q\\\"\\\\\\n\\u00e9\", \"A\": \"\"} }",
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(canonical(&value).unwrap()).unwrap(),
            "{\"a\":{\"A\":\"\",\"z\":\"q\\\"\\\\\n\u{e9}\"},\"b\":[1,true,null,-7]}"
        );
        assert!(canonical(&serde_json::json!({"a": 1.5})).is_err());
    }
}
