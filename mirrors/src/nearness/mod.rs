//! Which mirrors a client is sent to, in which order. A pure function of who asks and what mirrors there are.
//!
//! Near is, from the nearest: in one of the mirror's netblocks; in its autonomous system; in its country; on
//! its continent; anywhere. Among mirrors that are as near, those with the channel's own release come first,
//! then preferred ones, then chance by weight: the chance is drawn from the client's network, so that a client
//! is sent to the same mirror each time and a mirror gets its share of all clients.

mod continents;

pub use continents::{Continent, continent_of};

use repo_model::{Country, Netblock};
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;

/// A mirror, as far as its place matters.
#[derive(Debug, Clone)]
pub struct Spot {
    /// Its name: chance is drawn from it.
    pub name: String,
    /// Where it stands.
    pub country: Option<Country>,
    /// Autonomous systems whose clients are near.
    pub asns: Vec<u32>,
    /// Addresses whose clients are nearest.
    pub netblocks: Vec<Netblock>,
    /// Share of clients; 0 counts as 1.
    pub weight: u32,
    /// Only for clients of its netblocks and autonomous systems.
    pub private: bool,
    /// Before others that are as near.
    pub preferred: bool,
    /// Whether it has the channel's own release, not one of those before.
    pub current: bool,
}

/// A client, as far as its place matters.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Its address.
    pub address: IpAddr,
    /// Where it is, or where it wants to be sent.
    pub countries: Vec<Country>,
    /// Its autonomous system.
    pub asn: Option<u32>,
}

/// How near a mirror is; smaller is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// In its netblock.
    Netblock,
    /// In its autonomous system.
    System,
    /// In its country.
    Country,
    /// On its continent.
    Continent,
    /// Anywhere.
    World,
}

/// How near a mirror is to a client; none when it is not for this client.
pub fn nearness(spot: &Spot, asker: &Asker) -> Option<Nearness> {
    if spot
        .netblocks
        .iter()
        .any(|block| block.contains(asker.address))
    {
        return Some(Nearness::Netblock);
    }
    if asker.asn.is_some_and(|asn| spot.asns.contains(&asn)) {
        return Some(Nearness::System);
    }
    if spot.private {
        return None;
    }
    let Some(country) = spot.country else {
        return Some(Nearness::World);
    };
    if asker.countries.contains(&country) {
        return Some(Nearness::Country);
    }
    let continent = continent_of(country);
    let same = |other: &Country| continent.is_some() && continent_of(*other) == continent;
    match asker.countries.iter().any(same) {
        true => Some(Nearness::Continent),
        false => Some(Nearness::World),
    }
}

/// The mirrors for a client, the best first, at most `most`: their places in `spots`.
pub fn order<'a>(spots: impl Iterator<Item = &'a Spot>, asker: &Asker, most: usize) -> Vec<usize> {
    let network = network(asker.address);
    let mut fit: Vec<(Rank, usize)> = spots
        .enumerate()
        .filter_map(|(index, spot)| Some((rank(spot, nearness(spot, asker)?, network), index)))
        .collect();
    if fit.len() > most && most > 0 {
        fit.select_nth_unstable_by(most - 1, |a, b| compare(&a.0, &b.0));
        fit.truncate(most);
    }
    fit.sort_unstable_by(|a, b| compare(&a.0, &b.0));
    fit.into_iter().map(|(_, index)| index).collect()
}

/// Smaller comes first.
type Rank = (Nearness, bool, bool, f64);

fn compare(a: &Rank, b: &Rank) -> Ordering {
    (a.0, a.1, a.2)
        .cmp(&(b.0, b.1, b.2))
        .then(a.3.total_cmp(&b.3))
}

fn rank(spot: &Spot, near: Nearness, network: u128) -> Rank {
    let mut hasher = DefaultHasher::new();
    (network, &spot.name).hash(&mut hasher);
    // In (0, 1]. The smallest of exponential times with these rates is each one's by its share of the rates.
    let chance = ((hasher.finish() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    let time = -chance.ln() / f64::from(spot.weight.max(1));
    (near, !spot.current, !spot.preferred, time)
}

/// Clients of one network are sent to the same mirrors: /24 and /48.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => u128::from(v6) >> 80 | 1 << 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(name: &str, country: &str) -> Spot {
        Spot {
            name: name.to_owned(),
            country: country.parse().ok(),
            asns: Vec::new(),
            netblocks: Vec::new(),
            weight: 100,
            private: false,
            preferred: false,
            current: true,
        }
    }

    fn asker(address: &str, country: &str) -> Asker {
        Asker {
            address: address.parse().unwrap(),
            countries: country.parse().into_iter().collect(),
            asn: Some(64_500),
        }
    }

    fn names(spots: &[Spot], asker: &Asker, most: usize) -> Vec<String> {
        let order = order(spots.iter(), asker, most);
        order
            .into_iter()
            .map(|index| spots[index].name.clone())
            .collect()
    }

    #[test]
    fn the_nearest_come_first_and_private_ones_only_to_their_own() {
        let mut spots = vec![
            spot("world", "JP"),
            spot("continent", "FR"),
            spot("country", "DE"),
            Spot {
                asns: vec![64_500],
                ..spot("system", "US")
            },
            Spot {
                netblocks: vec!["192.0.2.0/24".parse().unwrap()],
                private: true,
                ..spot("block", "US")
            },
            Spot {
                asns: vec![64_501],
                private: true,
                ..spot("closed", "DE")
            },
        ];
        let client = asker("192.0.2.9", "DE");
        let want = ["block", "system", "country", "continent", "world"];
        assert_eq!(names(&spots, &client, 20), want);
        assert_eq!(names(&spots, &client, 2), want[..2]);
        assert_eq!(names(&spots, &asker("203.0.113.1", "DE"), 1), ["system"]);
        // Nobody knows where the client is.
        let lost = Asker {
            asn: None,
            ..asker("203.0.113.1", "")
        };
        assert_eq!(names(&spots, &lost, 20).len(), 4);
        spots[2].current = false;
        spots.push(Spot {
            preferred: true,
            ..spot("preferred", "DE")
        });
        spots.push(spot("plain", "DE"));
        assert_eq!(
            names(&spots, &asker("203.0.113.1", "DE"), 4),
            ["system", "preferred", "plain", "country"]
        );
    }

    #[test]
    fn clients_are_shared_out_by_weight_and_each_stays_where_it_is() {
        let spots = [
            spot("a", "DE"),
            Spot {
                weight: 300,
                ..spot("b", "DE")
            },
        ];
        let mut first_b = 0;
        for network in 0..4_000_u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(network << 8 | 7));
            let client = Asker {
                address,
                countries: Vec::new(),
                asn: None,
            };
            let order = order(spots.iter(), &client, 2);
            first_b += u32::from(order[0] == 1);
            let neighbour = Asker {
                address: IpAddr::from(std::net::Ipv4Addr::from(network << 8 | 200)),
                ..client
            };
            assert_eq!(super::order(spots.iter(), &neighbour, 2), order);
        }
        assert!((2_850..3_150).contains(&first_b), "{first_b} of 4000");
    }
}
