//! Where addresses are, from MaxMind DB files. Both are optional; each is read again, whole, when it changed,
//! and one that cannot be read leaves the last that could.

use maxminddb::Reader;
use repo_model::Country;
use repo_model::config::MirrorsConfig;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// Largest file; those of whole countries have some ten megabytes, of cities some sixty.
const MAX_BYTES: u64 = 512 << 20;

/// Both files, as far as they are there.
#[derive(Debug, Default)]
pub struct Geo {
    countries: Slot,
    systems: Slot,
}

/// One file.
#[derive(Clone, Default)]
struct Slot {
    /// What the file was when it was looked at; none: it was not there.
    seen: Option<Stamp>,
    reader: Option<Arc<Reader<Vec<u8>>>>,
}

/// Tells a file from the one that took its place: inode, size, time in nanoseconds.
type Stamp = (u64, u64, i128);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Slot({:?})",
            self.reader
                .as_ref()
                .map(|reader| &reader.metadata().database_type)
        )
    }
}

#[derive(serde::Deserialize)]
struct CountryRecord<'a> {
    #[serde(borrow)]
    country: Option<Iso<'a>>,
    #[serde(borrow)]
    registered_country: Option<Iso<'a>>,
}

#[derive(serde::Deserialize)]
struct Iso<'a> {
    iso_code: Option<&'a str>,
}

#[derive(serde::Deserialize)]
struct SystemRecord {
    autonomous_system_number: Option<u32>,
}

impl Geo {
    /// What the files hold now, if one of them changed. Blocking.
    pub fn newer(&self, config: &MirrorsConfig) -> Option<Self> {
        let countries = self.countries.newer(config.country_db.as_deref());
        let systems = self.systems.newer(config.asn_db.as_deref());
        if countries.is_none() && systems.is_none() {
            return None;
        }
        Some(Self {
            countries: countries.unwrap_or_else(|| self.countries.clone()),
            systems: systems.unwrap_or_else(|| self.systems.clone()),
        })
    }

    /// The country of an address; that of whoever it is registered to when nobody knows better.
    pub fn country(&self, address: IpAddr) -> Option<Country> {
        let reader = self.countries.reader.as_ref()?;
        let record: CountryRecord<'_> = reader
            .lookup(address.to_canonical())
            .ok()?
            .decode()
            .ok()??;
        let code = |iso: Option<Iso<'_>>| iso.and_then(|iso| iso.iso_code?.parse().ok());
        code(record.country).or_else(|| code(record.registered_country))
    }

    /// The autonomous system of an address.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        let reader = self.systems.reader.as_ref()?;
        let record: SystemRecord = reader
            .lookup(address.to_canonical())
            .ok()?
            .decode()
            .ok()??;
        record.autonomous_system_number
    }
}

impl Slot {
    fn newer(&self, path: Option<&Path>) -> Option<Self> {
        let path = path?;
        let stamp = stamp(path);
        if stamp == self.seen {
            return None;
        }
        let shown = path.display();
        let reader = match stamp {
            None => {
                tracing::warn!("{shown} is not there; what was read of it before goes on");
                self.reader.clone()
            }
            Some((_, size_bytes, _)) if size_bytes > MAX_BYTES => {
                tracing::warn!(
                    "{shown} has {size_bytes} bytes, more than {MAX_BYTES}: it is not read"
                );
                self.reader.clone()
            }
            Some(_) => match read(path) {
                Ok(reader) => {
                    tracing::info!("{shown} is read: {}", reader.metadata().database_type);
                    Some(Arc::new(reader))
                }
                Err(error) => {
                    tracing::warn!(%error, "{shown} cannot be read; what was read of it before goes on: {error}");
                    self.reader.clone()
                }
            },
        };
        Some(Self {
            seen: stamp,
            reader,
        })
    }
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, Box<dyn std::error::Error>> {
    Ok(Reader::from_source(std::fs::read(path)?)?)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    let nanos = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Some((meta.ino(), meta.len(), nanos))
}

#[cfg(test)]
mod tests;
