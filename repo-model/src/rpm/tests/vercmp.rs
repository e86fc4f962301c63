//! The order of versions; pairs as in rpm's own `tests/rpmvercmp.at`, which is where rpm's
//! maintainers write down what must never change.

use crate::rpm::vercmp::{EvrText, parse_evr, vercmp};
use std::cmp::Ordering::{Equal, Greater, Less};

#[test]
fn versions_compare_as_in_rpms_test_suite() {
    let pairs = [
        ("1.0", "1.0", Equal),
        ("1.0", "2.0", Less),
        ("2.0", "1.0", Greater),
        ("2.0.1", "2.0.1", Equal),
        ("2.0", "2.0.1", Less),
        ("2.0.1", "2.0", Greater),
        ("2.0.1a", "2.0.1a", Equal),
        ("2.0.1a", "2.0.1", Greater),
        ("2.0.1", "2.0.1a", Less),
        ("5.5p1", "5.5p1", Equal),
        ("5.5p1", "5.5p2", Less),
        ("5.5p2", "5.5p1", Greater),
        ("5.5p10", "5.5p10", Equal),
        ("5.5p1", "5.5p10", Less),
        ("5.5p10", "5.5p1", Greater),
        ("10xyz", "10.1xyz", Less),
        ("10.1xyz", "10xyz", Greater),
        ("xyz10", "xyz10", Equal),
        ("xyz10", "xyz10.1", Less),
        ("xyz10.1", "xyz10", Greater),
        ("xyz.4", "xyz.4", Equal),
        ("xyz.4", "8", Less),
        ("8", "xyz.4", Greater),
        ("xyz.4", "2", Less),
        ("2", "xyz.4", Greater),
        ("5.5p2", "5.6p1", Less),
        ("5.6p1", "5.5p2", Greater),
        ("5.6p1", "6.5p1", Less),
        ("6.5p1", "5.6p1", Greater),
        ("6.0.rc1", "6.0", Greater),
        ("6.0", "6.0.rc1", Less),
        ("10b2", "10a1", Greater),
        ("10a2", "10b2", Less),
        ("1.0aa", "1.0aa", Equal),
        ("1.0a", "1.0aa", Less),
        ("1.0aa", "1.0a", Greater),
        ("10.0001", "10.0001", Equal),
        ("10.0001", "10.1", Equal),
        ("10.1", "10.0001", Equal),
        ("10.0001", "10.0039", Less),
        ("10.0039", "10.0001", Greater),
        ("4.999.9", "5.0", Less),
        ("5.0", "4.999.9", Greater),
        ("20101121", "20101121", Equal),
        ("20101121", "20101122", Less),
        ("2_0", "2_0", Equal),
        ("2.0", "2_0", Equal),
        ("2_0", "2.0", Equal),
        ("a", "a", Equal),
        ("a+", "a+", Equal),
        ("a+", "a_", Equal),
        ("a_", "a+", Equal),
        ("+a", "+a", Equal),
        ("+a", "_a", Equal),
        ("_a", "+a", Equal),
        ("+_", "+_", Equal),
        ("_+", "+_", Equal),
        ("_+", "_+", Equal),
        ("+", "_", Equal),
        ("1.0~rc1", "1.0~rc1", Equal),
        ("1.0~rc1", "1.0", Less),
        ("1.0", "1.0~rc1", Greater),
        ("1.0~rc1", "1.0~rc2", Less),
        ("1.0~rc2", "1.0~rc1", Greater),
        ("1.0~rc1~git123", "1.0~rc1~git123", Equal),
        ("1.0~rc1~git123", "1.0~rc1", Less),
        ("1.0~rc1", "1.0~rc1~git123", Greater),
        ("1.0^", "1.0^", Equal),
        ("1.0^", "1.0", Greater),
        ("1.0", "1.0^", Less),
        ("1.0^git1", "1.0^git1", Equal),
        ("1.0^git1", "1.0", Greater),
        ("1.0", "1.0^git1", Less),
        ("1.0^git1", "1.0^git2", Less),
        ("1.0^git2", "1.0^git1", Greater),
        ("1.0^git1", "1.01", Less),
        ("1.01", "1.0^git1", Greater),
        ("1.0^20160101", "1.0^20160101", Equal),
        ("1.0^20160101", "1.0.1", Less),
        ("1.0.1", "1.0^20160101", Greater),
        ("1.0^20160101^git1", "1.0^20160101^git1", Equal),
        ("1.0^20160102", "1.0^20160101^git1", Greater),
        ("1.0^20160101^git1", "1.0^20160102", Less),
        ("1.0~rc1^git1", "1.0~rc1^git1", Equal),
        ("1.0~rc1^git1", "1.0~rc1", Greater),
        ("1.0~rc1", "1.0~rc1^git1", Less),
        ("1.0^git1~pre", "1.0^git1~pre", Equal),
        ("1.0^git1", "1.0^git1~pre", Greater),
        ("1.0^git1~pre", "1.0^git1", Less),
        // Oddities that rpm keeps on purpose.
        ("1b.fc17", "1b.fc17", Equal),
        ("1b.fc17", "1.fc17", Less),
        ("1.fc17", "1b.fc17", Greater),
        ("1g.fc17", "1g.fc17", Equal),
        ("1g.fc17", "1.fc17", Greater),
        ("1.fc17", "1g.fc17", Less),
        // Not ASCII: separators only.
        ("1.1.\u{3b1}", "1.1.\u{3b1}", Equal),
        ("1.1.\u{3b1}", "1.1.\u{3b2}", Equal),
        ("1.1.\u{3b1}\u{3b1}", "1.1.\u{3b1}", Equal),
        ("1.1.\u{3b1}", "1.1.\u{3b2}\u{3b2}", Equal),
        // Numbers of any length.
        (
            "1.00000000000000000000000000000002",
            "1.10000000000000000000000000000000",
            Less,
        ),
        ("", "", Equal),
        ("", "1", Less),
        ("~", "", Less),
        ("^", "", Greater),
    ];
    for (a, b, order) in pairs {
        assert_eq!(vercmp(a, b), order, "{a} {b}");
        assert_eq!(vercmp(b, a), order.reverse(), "{b} {a}");
    }
}

#[test]
fn an_evr_splits_at_the_first_colon_and_the_first_dash() {
    let split = |text| {
        let EvrText {
            epoch,
            version,
            release,
        } = parse_evr(text);
        (epoch, version, release)
    };
    assert_eq!(split("5:5.1.2-3"), (Some("5"), "5.1.2", Some("3")));
    assert_eq!(split("5.1.2"), (None, "5.1.2", None));
    assert_eq!(split(":5.1.2-3"), (Some(""), "5.1.2", Some("3")));
    assert_eq!(split(":"), (Some(""), "", None));
    assert_eq!(split("1.2-3-4"), (None, "1.2", Some("3-4")));
    assert_eq!(split("-"), (None, "", Some("")));
    assert_eq!(split("a:b:c"), (Some("a"), "b:c", None));
    for (text, number) in [
        ("5:1", Some(5)),
        (":1", Some(0)),
        ("1", Some(0)),
        ("0:1", Some(0)),
        ("foo:bar", None),
        ("-1:1", None),
        ("+1:1", None),
        ("4294967295:1", Some(u32::MAX)),
        ("4294967296:1", None),
    ] {
        assert_eq!(parse_evr(text).epoch_number(), number, "{text}");
    }
}
