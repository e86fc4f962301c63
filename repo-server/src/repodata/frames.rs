//! Making the frames of groups: from the cache, or by loading, rendering and compressing; by several
//! threads, handed over in list order.

use super::assemble::{compress_error, encode, encoder};
use super::build::Inputs;
use super::codec::{Decoder, Encoder, Frame};
use super::entry::Entry;
use super::error::MetadataError;
use super::groups::groups;
use super::kinds::{Kind, kinds};
use super::options::Options;
use super::xml::Xml;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// One group's part of one file.
pub(super) struct Made {
    /// Digest of everything that the frame depends on.
    pub key: [u8; 32],
    pub frame: Frame,
    /// The frame's open bytes; empty when nobody wants them.
    pub open: Vec<u8>,
}

/// So many missing groups are begun before their turn: their frames wait in memory.
const BEGUN_EARLY_MAX: usize = 8;

/// A group of the list.
#[derive(Clone)]
struct Group {
    entries: Range<usize>,
    /// Its frame of the first kind.
    first_key: [u8; 32],
}

/// The groups, and those to begin with.
struct Groups {
    list: Vec<Group>,
    /// Numbers of groups that must be rendered, so that they are not what everything waits for at the end.
    first: Vec<usize>,
}

/// Looks which groups are missing, when only few are.
fn in_working_order(inputs: &Inputs<'_>, options: &Options) -> Groups {
    let kind = &kinds(options)[0];
    let group = |entries: Range<usize>| Group {
        first_key: kind.frame_key(&inputs.entries[entries.clone()], options),
        entries,
    };
    let list: Vec<Group> = groups(inputs.entries).into_iter().map(group).collect();
    let is_missing = |number: &usize| !inputs.cache.holds(&list[*number].first_key);
    let mut first: Vec<usize> = Vec::new();
    for number in (0..list.len()).filter(is_missing) {
        first.push(number);
        if first.len() > BEGUN_EARLY_MAX {
            // So many that the order of the list is as good.
            first.clear();
            break;
        }
    }
    Groups { list, first }
}

impl Groups {
    /// The group to begin as number `turn` of all: its number and its packages.
    fn begin(&self, turn: usize) -> Option<(usize, Group)> {
        let number = match self.first.get(turn) {
            Some(number) => *number,
            None => self.nth_other(turn - self.first.len()),
        };
        Some((number, self.list.get(number)?.clone()))
    }

    /// Number `nth` of those that are not begun first.
    fn nth_other(&self, nth: usize) -> usize {
        // Sorted, so each that lies before moves it on by one.
        self.first
            .iter()
            .fold(nth, |number, first| number + usize::from(*first <= number))
    }
}

type GroupResult = Result<Vec<Made>, MetadataError>;

/// Buffers that were used before: a group takes about a megabyte, and memory that the system has to
/// give anew costs more than what is done in it.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        let mut buffer = self.all().pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    fn give_back(&self, made: Vec<Made>) {
        let used = made.into_iter().map(|made| made.open);
        self.all()
            .extend(used.filter(|buffer| buffer.capacity() > 0));
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // Whatever a panic leaves here is a list of buffers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `take` for every group in order. The first failing group in list order decides the error,
/// so that it does not depend on the threads.
pub(super) fn for_each_group(
    inputs: &Inputs<'_>,
    options: &Options,
    mut take: impl FnMut(&[Made]) -> Result<(), MetadataError>,
) -> Result<(), MetadataError> {
    let groups = in_working_order(inputs, options);
    let workers = inputs.workers.get().min(groups.list.len());
    let buffers = &Buffers::default();
    let take = |made: Vec<Made>| {
        take(&made)?;
        buffers.give_back(made);
        Ok(())
    };
    if workers <= 1 {
        let (mut maker, mut take) = (Maker::new(inputs, options, buffers)?, take);
        return groups
            .list
            .into_iter()
            .try_for_each(|group| take(maker.make(group)?));
    }
    let (next, groups) = (&AtomicUsize::new(0), &groups);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(workers);
        for _ in 0..workers {
            let sender = sender.clone();
            scope.spawn(move || work(inputs, options, buffers, groups, next, &sender));
        }
        drop(sender);
        in_order(&receiver, groups.list.len(), take)
        // Dropping the receiver ends the workers after an error: their next send fails.
    })
}

fn work(
    inputs: &Inputs<'_>,
    options: &Options,
    buffers: &Buffers,
    groups: &Groups,
    next: &AtomicUsize,
    sender: &SyncSender<(usize, GroupResult)>,
) {
    let new = || Maker::new(inputs, options, buffers);
    let mut maker = new();
    loop {
        let Some((number, group)) = groups.begin(next.fetch_add(1, Ordering::Relaxed)) else {
            return;
        };
        let result = match &mut maker {
            Ok(maker) => maker.make(group.clone()),
            // Each group needs an answer; a compressor that could not be made is made anew.
            Err(_) => new().and_then(|mut maker| maker.make(group.clone())),
        };
        if sender.send((number, result)).is_err() {
            return;
        }
    }
}

fn in_order(
    receiver: &Receiver<(usize, GroupResult)>,
    count: usize,
    mut take: impl FnMut(Vec<Made>) -> Result<(), MetadataError>,
) -> Result<(), MetadataError> {
    let mut early: BTreeMap<usize, GroupResult> = BTreeMap::new();
    for number in 0..count {
        let result = loop {
            if let Some(result) = early.remove(&number) {
                break result;
            }
            let (made, result) = receiver.recv().map_err(|_| MetadataError::Worker)?;
            early.insert(made, result);
        };
        take(result?)?;
    }
    Ok(())
}

/// Makes the frames of groups, one group after another.
struct Maker<'a> {
    inputs: &'a Inputs<'a>,
    options: &'a Options,
    kinds: &'static [Kind],
    encoder: Encoder,
    decoder: Decoder,
    buffers: &'a Buffers,
}

impl<'a> Maker<'a> {
    fn new(
        inputs: &'a Inputs<'a>,
        options: &'a Options,
        buffers: &'a Buffers,
    ) -> Result<Self, MetadataError> {
        let codec = options.frame_codec();
        Ok(Self {
            inputs,
            options,
            kinds: kinds(options),
            encoder: encoder(codec, "a group")?,
            decoder: Decoder::new(codec).map_err(|source| compress_error("a group", source))?,
            buffers,
        })
    }

    /// The group's frame for each kind, in the order of `kinds`.
    fn make(&mut self, group: Group) -> GroupResult {
        let entries = &self.inputs.entries[group.entries];
        let others = self.kinds.iter().skip(1);
        let keys: Vec<[u8; 32]> = std::iter::once(group.first_key)
            .chain(others.map(|kind| kind.frame_key(entries, self.options)))
            .collect();
        let mut made: Vec<Option<Made>> = keys.iter().map(|key| self.cached(*key)).collect();
        let missing: Vec<usize> = (0..made.len())
            .filter(|kind| made[*kind].is_none())
            .collect();
        let rendered = self.render(entries, &missing)?;
        for (kind, open) in missing.into_iter().zip(rendered) {
            made[kind] = Some(self.compress(&self.kinds[kind], keys[kind], open)?);
        }
        Ok(made.into_iter().flatten().collect())
    }

    fn cached(&mut self, key: [u8; 32]) -> Option<Made> {
        let frame = self.inputs.cache.get(&key)?;
        let mut open = Vec::new();
        if self.options.reads_open() {
            open = self.buffers.take();
            self.decoder.decode(&frame, &mut open)?;
        }
        Some(Made { key, frame, open })
    }

    /// Renders the kinds with these numbers; loads each package once, and one at a time.
    fn render(&self, entries: &[Entry], missing: &[usize]) -> Result<Vec<Vec<u8>>, MetadataError> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let mut xmls: Vec<(&Kind, Xml)> = missing
            .iter()
            .map(|kind| (&self.kinds[*kind], Xml::after(self.buffers.take())))
            .collect();
        for entry in entries {
            let package =
                self.inputs
                    .packages
                    .load(entry)
                    .map_err(|source| MetadataError::Load {
                        nevra: entry.nevra.clone(),
                        source,
                    })?;
            if package.nevra != *entry.nevra {
                return Err(MetadataError::WrongPackage {
                    listed: entry.nevra.clone(),
                    found: Arc::new(package.nevra.clone()),
                });
            }
            for (kind, xml) in &mut xmls {
                (kind.render)(xml, entry, &package, self.options).map_err(|fault| {
                    MetadataError::Package {
                        nevra: entry.nevra.clone(),
                        fault,
                    }
                })?;
            }
        }
        Ok(xmls.into_iter().map(|(_, xml)| xml.into_bytes()).collect())
    }

    fn compress(
        &mut self,
        kind: &Kind,
        key: [u8; 32],
        open: Vec<u8>,
    ) -> Result<Made, MetadataError> {
        let frame = encode(&mut self.encoder, &open, kind.record_type)?;
        self.inputs.cache.put(&key, &frame);
        Ok(Made { key, frame, open })
    }
}
