//! A list within a JSON document, item by item: one item is in memory, however long the list is.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;

/// Hands on each item of the list at a path of members, such as `["feed", "entry"]`. All else in the
/// document is passed over; a document without the list has no items.
pub(crate) fn each<T>(
    document: impl Read,
    path: &[&str],
    mut take: impl FnMut(T),
) -> Result<(), serde_json::Error>
where
    T: for<'de> Deserialize<'de>,
{
    let mut deserializer = serde_json::Deserializer::from_reader(document);
    let mut take = |item| {
        take(item);
        Ok::<_, std::convert::Infallible>(())
    };
    let list = At {
        path,
        list: Each::new(&mut take),
    };
    list.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// A list whose items are handed on one by one.
pub(crate) struct Each<F, T> {
    take: F,
    item: PhantomData<T>,
}

impl<F, T> Each<F, T> {
    /// * `take`: gets each item; what it fails with ends the reading.
    pub(crate) fn new(take: F) -> Self {
        Self {
            take,
            item: PhantomData,
        }
    }
}

impl<'de, F, T, E> DeserializeSeed<'de> for Each<F, T>
where
    F: FnMut(T) -> Result<(), E>,
    T: Deserialize<'de>,
    E: fmt::Display,
{
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F, T, E> Visitor<'de> for Each<F, T>
where
    F: FnMut(T) -> Result<(), E>,
    T: Deserialize<'de>,
    E: fmt::Display,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element::<T>()? {
            (self.take)(item).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

/// A list below some members.
struct At<'p, L> {
    path: &'p [&'p str],
    list: L,
}

impl<'de, L: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for At<'_, L> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.path {
            [] => self.list.deserialize(deserializer),
            _ => deserializer.deserialize_map(self),
        }
    }
}

impl<'de, L: DeserializeSeed<'de, Value = ()>> Visitor<'de> for At<'_, L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, path)) = self.path.split_first() else {
            return Ok(());
        };
        let mut list = Some(self.list);
        while let Some(name) = map.next_key::<String>()? {
            match list.take_if(|_| name == *wanted) {
                Some(list) => map.next_value_seed(At { path, list })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u32>, serde_json::Error> {
        let mut found = Vec::new();
        each(text.as_bytes(), &["feed", "entry"], |item: u32| {
            found.push(item)
        })?;
        Ok(found)
    }

    #[test]
    fn the_items_of_the_named_list_are_handed_on_and_all_else_is_passed_over() {
        let text =
            r#"{"entry": [7], "feed": {"a": {"entry": [8]}, "entry": [1, 2], "z": 0}, "x": []}"#;
        assert_eq!(read(text).unwrap(), [1, 2]);
        assert_eq!(read("{}").unwrap(), [0; 0]);
        assert_eq!(read(r#"{"feed": {}}"#).unwrap(), [0; 0]);
        for bad in [
            "",
            "[]",
            r#"{"feed": 1}"#,
            r#"{"feed": {"entry": 1}}"#,
            r#"{"feed": {"entry": [1,"#,
            "{} {}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
