//! Where compressed frames are remembered between builds. A cache may forget anything at any time
//! and may be shared by all repositories: the key covers everything that reaches the frame.

use super::codec::Frame;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A store of frames by the digest of what went into them. Used from several threads.
pub trait FrameCache: Sync {
    /// The frame stored under `key`; `None` when there is none. Where frames can come to harm, as on a
    /// disk, the cache notices: not every build looks inside them. Those that do render a damaged one
    /// again.
    fn get(&self, key: &[u8; 32]) -> Option<Frame>;

    /// Whether [`get`](Self::get) will probably find the frame; asked before any frame is made, so that those that
    /// are missing can be begun first. Only the order of the work depends on it.
    fn holds(&self, _key: &[u8; 32]) -> bool {
        true
    }

    /// Remembers a frame; failing to is not an error of the build.
    fn put(&self, key: &[u8; 32], frame: &Frame);
}

/// Remembers nothing: every build renders everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFrameCache;

impl FrameCache for NoFrameCache {
    fn get(&self, _key: &[u8; 32]) -> Option<Frame> {
        None
    }

    fn put(&self, _key: &[u8; 32], _frame: &Frame) {}
}

/// Frames in memory, bounded; the longest unused go first.
#[derive(Debug)]
pub struct MemoryFrameCache {
    limit_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: HashMap<[u8; 32], (Frame, u64)>,
    size_bytes: usize,
    /// Grows with each use; a frame's number says when it was last used.
    clock: u64,
}

impl MemoryFrameCache {
    /// A cache that holds at most `limit_bytes` of compressed frames.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            state: Mutex::default(),
        }
    }

    /// Compressed bytes held now.
    pub fn size_bytes(&self) -> usize {
        self.state().size_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave a frame half stored.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FrameCache for MemoryFrameCache {
    fn get(&self, key: &[u8; 32]) -> Option<Frame> {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        let (frame, used) = state.frames.get_mut(key)?;
        *used = now;
        Some(frame.clone())
    }

    fn put(&self, key: &[u8; 32], frame: &Frame) {
        if frame.bytes.len() > self.limit_bytes {
            return;
        }
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        state.size_bytes += frame.bytes.len();
        if let Some((old, _)) = state.frames.insert(*key, (frame.clone(), now)) {
            state.size_bytes -= old.bytes.len();
        }
        if state.size_bytes > self.limit_bytes {
            state.evict(self.limit_bytes);
        }
    }
}

impl State {
    /// Drops the longest unused frames until a quarter of the limit is free, so that evictions
    /// stay rare; never the newest one.
    fn evict(&mut self, limit_bytes: usize) {
        let mut by_use: Vec<(u64, [u8; 32])> = self
            .frames
            .iter()
            .map(|(key, (_, used))| (*used, *key))
            .collect();
        by_use.sort_unstable();
        by_use.pop();
        for (_, key) in by_use {
            if self.size_bytes <= limit_bytes / 4 * 3 {
                break;
            }
            if let Some((frame, _)) = self.frames.remove(&key) {
                self.size_bytes -= frame.bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: usize) -> Frame {
        Frame {
            bytes: vec![7; size].into(),
            open_size_bytes: size as u64,
        }
    }

    #[test]
    fn the_memory_cache_stays_below_its_limit_and_keeps_what_is_used() {
        let cache = MemoryFrameCache::new(1_000);
        let used = [255; 32];
        cache.put(&used, &frame(100));
        for n in 0..100 {
            cache.put(&[n; 32], &frame(90));
            assert!(cache.size_bytes() <= 1_000);
            assert!(cache.get(&used).is_some(), "after {n}");
            assert!(cache.get(&[n; 32]).is_some(), "the newest frame is kept");
        }
        assert!(cache.get(&[0; 32]).is_none());
        cache.put(&[1; 32], &frame(1_001));
        assert!(cache.get(&[1; 32]).is_none());
    }

    #[test]
    fn putting_a_frame_twice_counts_it_once() {
        let cache = MemoryFrameCache::new(1_000);
        cache.put(&[1; 32], &frame(10));
        cache.put(&[1; 32], &frame(20));
        assert_eq!(cache.size_bytes(), 20);
    }
}
