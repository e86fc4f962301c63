//! C2SP `tlog-tiles`: 256 hashes a tile, 256 entries a bundle, and their paths.

use std::fmt;
use std::str::FromStr;

/// Hashes in a full tile, entries in a full bundle.
const FULL: u64 = 256;
/// Levels that a path may name.
const MAX_LEVEL: u8 = 63;

/// A tile of hashes or, without a level, a bundle of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    /// 0: leaf hashes; each level above hashes full tiles below. `None`: entries.
    pub level: Option<u8>,
    /// Position within the level.
    pub index: u64,
    /// Hashes or entries in it, 1 to 256.
    pub width: u16,
}

/// The text is no path of a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the path of a tile")]
pub struct TilePathError(String);

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "tile/{level}/")?,
            None => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![format!("{:03}", self.index % 1_000)];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1_000));
            rest /= 1_000;
        }
        groups.reverse();
        f.write_str(&groups.join("/"))?;
        match u64::from(self.width) {
            FULL => Ok(()),
            width => write!(f, ".p/{width}"),
        }
    }
}

impl FromStr for Tile {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        let refuse = || TilePathError(path.chars().take(120).collect());
        let read = || {
            let rest = path.strip_prefix("tile/")?;
            let (level, rest) = rest.split_once('/')?;
            let level = match level {
                "entries" => None,
                level => Some(level.parse().ok().filter(|level| *level <= MAX_LEVEL)?),
            };
            let (number, width) = match rest.split_once(".p/") {
                Some((number, width)) => (number, width.parse().ok().filter(|w| *w < 256)?),
                None => (rest, 256),
            };
            let mut index: u64 = 0;
            for group in number.split('/') {
                let digits = group.strip_prefix('x').unwrap_or(group);
                index = index
                    .checked_mul(1_000)?
                    .checked_add(digits.parse().ok()?)?;
            }
            (width > 0).then_some(Self {
                level,
                index,
                width,
            })
        };
        // Only the one spelling is a path.
        match read() {
            Some(tile) if tile.to_string() == path => Ok(tile),
            Some(_) | None => Err(refuse()),
        }
    }
}

/// The tiles and bundles that a tree of `new` leaves has and one of `old` had not: level by level,
/// bundles last.
pub fn tiles_of(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut of_level = |level: Option<u8>, old: u64, new: u64| {
        for index in old / FULL..new.div_ceil(FULL) {
            let width = (new - index * FULL).min(FULL);
            tiles.extend(u16::try_from(width).map(|width| Tile {
                level,
                index,
                width,
            }));
        }
    };
    let (mut before, mut after) = (old, new);
    for level in 0..=MAX_LEVEL {
        if before != after {
            of_level(Some(level), before, after);
        }
        (before, after) = (before / FULL, after / FULL);
        if after == 0 {
            break;
        }
    }
    if old != new {
        of_level(None, old, new);
    }
    tiles
}

/// Entries as a bundle: each after its length, 16 bits, big-endian. `None` when one is too long.
pub fn write_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).ok()?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Some(bundle)
}

/// The entries of a bundle; `None` when it is cut short.
pub fn read_bundle(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length)?;
        entries.push(entry);
        bundle = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| Tile {
            level,
            index,
            width,
        };
        for (tile, path) in [
            (tile(Some(0), 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(Some(1), 0, 17), "tile/1/000.p/17"),
            (tile(None, 273, 112), "tile/entries/273.p/112"),
            (
                tile(None, u64::MAX, 1),
                "tile/entries/x018/x446/x744/x073/x709/x551/615.p/1",
            ),
        ] {
            assert_eq!(tile.to_string(), path);
            assert_eq!(path.parse::<Tile>().unwrap(), tile);
        }
        for bad in [
            "tile/0/1",
            "tile/00/001",
            "tile/64/001",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/07",
            "tile/0/x001",
            "tile/0/x000/001",
            "tile/0/001/",
            "tile/-1/001",
            "tile/0/../001",
            "tile/entries/",
            "tile/0/+01",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "checkpoint",
        ] {
            assert!(bad.parse::<Tile>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_of_the_specification_s_example() {
        let tiles = tiles_of(0, 70_000);
        let at = |level| tiles.iter().filter(move |tile| tile.level == level);
        assert_eq!(at(Some(0)).filter(|tile| tile.width == 256).count(), 273);
        assert_eq!(at(Some(0)).next_back().unwrap().width, 112);
        let widths: Vec<_> = at(Some(1)).map(|tile| tile.width).collect();
        assert_eq!(widths, [256, 17]);
        assert_eq!(at(Some(2)).map(|tile| tile.width).collect::<Vec<_>>(), [1]);
        assert_eq!(at(None).count(), 274);
        let widths: Vec<_> = tiles_of(0, 256)
            .iter()
            .map(|t| (t.level, t.width))
            .collect();
        assert_eq!(widths, [(Some(0), 256), (Some(1), 1), (None, 256)]);
        assert_eq!(tiles_of(5, 5), []);
        // Growth rewrites only the right edge.
        let grown: Vec<_> = tiles_of(300, 301).iter().map(Tile::to_string).collect();
        assert_eq!(grown, ["tile/0/001.p/45", "tile/entries/001.p/45"]);
    }

    #[test]
    fn bundles_read_back_and_cut_ones_do_not() {
        let bundle = write_bundle([&b"one"[..], b"", b"three"]).unwrap();
        assert_eq!(read_bundle(&bundle).unwrap(), [&b"one"[..], b"", b"three"]);
        assert_eq!(read_bundle(&bundle[..bundle.len() - 1]), None);
        assert_eq!(read_bundle(&bundle[..1]), None);
        assert_eq!(write_bundle([&[0; 65_536][..]]), None);
    }
}
