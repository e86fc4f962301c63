//! Answers that cost time to work out and are asked for again: pages of one list, questions about one release.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// What was worked out lately.
pub struct Kept<K, V> {
    most: usize,
    values: Mutex<HashMap<K, Arc<V>>>,
}

impl<K: Eq + Hash, V> Kept<K, V> {
    /// * `most`: values that are kept; one more, and all are forgotten.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            values: Mutex::default(),
        }
    }

    /// The value, when it is known.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        let values = self.values.lock().ok()?;
        values.get(key).map(Arc::clone)
    }

    /// Keeps a value.
    pub fn keep(&self, key: K, value: &Arc<V>) {
        if let Ok(mut values) = self.values.lock() {
            if values.len() >= self.most {
                values.clear();
            }
            values.insert(key, Arc::clone(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_until_there_are_too_many() {
        let kept = Kept::new(2);
        for (key, value) in [(1, "one"), (2, "two")] {
            assert_eq!(kept.get(&key), None);
            kept.keep(key, &Arc::new(value));
        }
        assert_eq!(kept.get(&1).as_deref(), Some(&"one"));
        kept.keep(3, &Arc::new("three"));
        assert_eq!(kept.get(&1), None);
        assert_eq!(kept.get(&3).as_deref(), Some(&"three"));
    }
}
