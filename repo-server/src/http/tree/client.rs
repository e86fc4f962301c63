//! Who asks, seen through proxies.

use axum::http::HeaderMap;
use std::net::IpAddr;

/// The client itself, seen through proxies that are trusted to name it: the last address in the lines of
/// `X-Forwarded-For` that is no such proxy's. What stands before that one was written by whoever it is.
///
/// An IPv4 address is one however it is spelt: a socket for both families has `::ffff:10.0.0.1`.
pub fn client_address(proxies: &[IpAddr], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|one| one.to_canonical() == address);
    let mut client = peer.to_canonical();
    // Some proxies add to the line that came, others send one of their own after it.
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut named = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    while is_proxy(client) {
        let Some(Ok(before)) = named.next().map(|address| address.trim().parse::<IpAddr>()) else {
            break;
        };
        client = before.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_may_name_the_client() {
        let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "1.1.1.1, 2.2.2.2".parse().unwrap());
        assert_eq!(
            client_address(&[proxy], proxy, &headers),
            IpAddr::from([2, 2, 2, 2])
        );
        assert_eq!(client_address(&[proxy], stranger, &headers), stranger);
        assert_eq!(client_address(&[proxy], proxy, &HeaderMap::new()), proxy);
    }

    #[test]
    fn what_a_client_writes_itself_never_names_it() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let proxies = [ip("10.0.0.1"), ip("::ffff:10.0.0.3"), ip("2001:db8::1")];
        let table: &[(&str, &[&str], &str)] = &[
            // A proxy that appends a line of its own.
            ("10.0.0.1", &["6.6.6.6", "2.2.2.2"], "2.2.2.2"),
            ("10.0.0.1", &["6.6.6.6", "8.8.8.8,2.2.2.2"], "2.2.2.2"),
            // A proxy behind another.
            ("10.0.0.1", &["6.6.6.6, 2.2.2.2, 10.0.0.3"], "2.2.2.2"),
            ("10.0.0.1", &["6.6.6.6, 2.2.2.2", "2001:db8::1"], "2.2.2.2"),
            ("10.0.0.1", &["6.6.6.6, 10.0.0.9"], "10.0.0.9"),
            // Both spellings of an IPv4 address.
            ("::ffff:10.0.0.1", &["2.2.2.2"], "2.2.2.2"),
            ("10.0.0.3", &["::ffff:2.2.2.2"], "2.2.2.2"),
            ("::ffff:3.3.3.3", &["2.2.2.2"], "3.3.3.3"),
            // What does not read ends the walk.
            ("10.0.0.1", &["6.6.6.6, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6, unknown, 10.0.0.3"], "10.0.0.3"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3"], "10.0.0.3"),
        ];
        for (peer, lines, client) in table {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let found = client_address(&proxies, ip(peer), &headers);
            assert_eq!(found, ip(client), "{peer} {lines:?}");
        }
    }
}
