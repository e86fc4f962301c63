//! With files made here: a writer of the MaxMind DB format (version 2.0, 24-bit records, an IPv6 tree that has
//! IPv4 under `::/96`), as small as the format lets it be.

use super::*;
use std::net::Ipv6Addr;

enum Value {
    Text(&'static str),
    Number(u32),
    Map(Vec<(&'static str, Value)>),
}

fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    let size = u8::try_from(size).unwrap();
    assert!(size < 29, "longer sizes are not written here");
    match kind {
        ..8 => out.push(kind << 5 | size),
        extended => out.extend([size, extended - 7]),
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            head(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Number(number) => {
            head(6, 4, out);
            out.extend(number.to_be_bytes());
        }
        Value::Map(pairs) => {
            head(7, pairs.len(), out);
            for (key, value) in pairs {
                write(&Value::Text(key), out);
                write(value, out);
            }
        }
    }
}

/// A file that knows these blocks.
fn mmdb(database_type: &'static str, blocks: &[(&str, Value)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut nodes: Vec<[Option<Result<usize, usize>>; 2]> = vec![[None; 2]];
    for (block, value) in blocks {
        let (address, bits) = block.split_once('/').unwrap();
        let bits: u32 = bits.parse().unwrap();
        let (address, bits) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), bits + 96),
            IpAddr::V6(v6) => (u128::from(v6), bits),
        };
        let offset = data.len();
        write(value, &mut data);
        let mut at = 0;
        for depth in 0..bits {
            let side = usize::from(address >> (127 - depth) & 1 == 1);
            if depth + 1 == bits {
                nodes[at][side] = Some(Err(offset));
            } else if let Some(Ok(next)) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([None; 2]);
                let next = nodes.len() - 1;
                nodes[at][side] = Some(Ok(next));
                at = next;
            }
        }
    }
    let count = nodes.len();
    let mut out = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match record {
            None => count,
            Some(Ok(node)) => *node,
            Some(Err(offset)) => count + 16 + offset,
        };
        out.extend(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let number = |value| Value::Number(value);
    write_metadata(
        &mut out,
        database_type,
        number(u32::try_from(count).unwrap()),
    );
    out
}

fn write_metadata(out: &mut Vec<u8>, database_type: &'static str, node_count: Value) {
    head(7, 9, out);
    for (key, value) in [
        ("node_count", node_count),
        ("database_type", Value::Text(database_type)),
    ] {
        write(&Value::Text(key), out);
        write(&value, out);
    }
    for (key, value) in [
        ("record_size", 24_u8),
        ("ip_version", 6),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        write(&Value::Text(key), out);
        head(5, 1, out);
        out.push(value);
    }
    write(&Value::Text("build_epoch"), out);
    head(9, 1, out);
    out.push(1);
    write(&Value::Text("languages"), out);
    head(11, 0, out);
    write(&Value::Text("description"), out);
    head(7, 0, out);
}

fn country(name: &'static str, code: &'static str) -> Value {
    Value::Map(vec![(
        name,
        Value::Map(vec![("iso_code", Value::Text(code))]),
    )])
}

fn config(dir: &Path) -> MirrorsConfig {
    MirrorsConfig {
        country_db: Some(dir.join("country.mmdb")),
        asn_db: Some(dir.join("asn.mmdb")),
        ..MirrorsConfig::default()
    }
}

fn at(geo: &Geo, address: &str) -> (Option<String>, Option<u32>) {
    let address = address.parse().unwrap();
    (
        geo.country(address).map(|country| country.to_string()),
        geo.asn(address),
    )
}

#[test]
fn addresses_are_found_and_changed_files_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = mmdb(
        "Test-Country",
        &[
            ("192.0.2.0/24", country("country", "NO")),
            ("198.51.100.0/25", country("registered_country", "JP")),
            ("2001:db8::/32", country("country", "DE")),
        ],
    );
    std::fs::write(dir.path().join("country.mmdb"), &first).unwrap();
    let geo = Geo::default().newer(&config).unwrap();
    assert_eq!(at(&geo, "192.0.2.77"), (Some("NO".to_owned()), None));
    assert_eq!(at(&geo, "::ffff:192.0.2.77").0.as_deref(), Some("NO"));
    assert_eq!(at(&geo, "198.51.100.1").0.as_deref(), Some("JP"));
    assert_eq!(at(&geo, "198.51.100.200").0, None);
    assert_eq!(at(&geo, "2001:db8::1").0.as_deref(), Some("DE"));
    assert!(geo.newer(&config).is_none(), "nothing changed");

    let number = |value| Value::Map(vec![("autonomous_system_number", Value::Number(value))]);
    let systems = mmdb("Test-ASN", &[("192.0.2.0/24", number(64_500))]);
    std::fs::write(dir.path().join("asn.mmdb"), systems).unwrap();
    let geo = geo.newer(&config).unwrap();
    assert_eq!(at(&geo, "192.0.2.1"), (Some("NO".to_owned()), Some(64_500)));

    // What cannot be read takes nothing away.
    std::fs::write(dir.path().join("country.mmdb"), "rubbish").unwrap();
    let geo = geo.newer(&config).unwrap();
    assert_eq!(at(&geo, "192.0.2.1").0.as_deref(), Some("NO"));
    std::fs::remove_file(dir.path().join("country.mmdb")).unwrap();
    let geo = geo.newer(&config).unwrap();
    assert_eq!(at(&geo, "192.0.2.1").0.as_deref(), Some("NO"));
    let other = mmdb(
        "Test-Country",
        &[("192.0.2.0/24", country("country", "SE"))],
    );
    std::fs::write(dir.path().join("country.mmdb"), other).unwrap();
    let geo = geo.newer(&config).unwrap();
    assert_eq!(at(&geo, "192.0.2.1").0.as_deref(), Some("SE"));
}

#[test]
fn a_damaged_file_gives_no_place_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let whole = mmdb(
        "Test-Country",
        &[("192.0.2.0/24", country("country", "NO"))],
    );
    for cut in (0..whole.len()).step_by(7) {
        std::fs::write(dir.path().join("country.mmdb"), &whole[..cut]).unwrap();
        if let Some(geo) = Geo::default().newer(&config) {
            let _ = geo.country("192.0.2.1".parse().unwrap());
        }
    }
    for (index, step) in (0..whole.len()).map(|index| (index, 1 + index as u8 % 250)) {
        let mut damaged = whole.clone();
        damaged[index] = damaged[index].wrapping_add(step);
        std::fs::write(dir.path().join("country.mmdb"), &damaged).unwrap();
        let Some(geo) = Geo::default().newer(&config) else {
            continue;
        };
        for address in [
            IpAddr::from([192, 0, 2, 1]),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            let _ = geo.country(address);
        }
    }
}
