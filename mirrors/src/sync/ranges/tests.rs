use crate::sync::claim::Claim;
use crate::sync::fetch::{Failure, Fetcher};
use crate::sync::journal::Journal;
use crate::sync::pace::Limit;
use crate::sync::peer::{Peer, Problem};
use crate::sync::plan::{Item, Kind};
use crate::sync::request::{Patience, Upstream, Watch};
use crate::sync::store::Store;
use repo_model::FileDigest;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const RANGE: u64 = 1 << 20;
const SIZE: u64 = 6 * RANGE - 100;
const NAME: &str = "big.rpm";

/// Bytes that came, less those that were taken back.
#[derive(Default)]
struct Came(AtomicI64);

impl Watch for Came {
    fn came(&self, bytes: u64) {
        self.0.fetch_add(bytes.cast_signed(), Ordering::Relaxed);
    }

    fn take_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
    }
}

fn big() -> Vec<u8> {
    (0..SIZE).map(|at| (at / 1_000) as u8).collect()
}

fn item() -> Item {
    Item {
        path: NAME.into(),
        claim: Claim::of(FileDigest::of(&big())),
        size_bytes: Some(SIZE),
        kind: Kind::Package,
    }
}

/// Directories as upstreams, and a place for what comes.
struct Lab {
    root: tempfile::TempDir,
    store: Store,
    journal: Journal,
    watch: Came,
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("store"), true).unwrap();
        let (journal, _) = Journal::open(&root.path().join("journal")).unwrap();
        Self {
            root,
            store,
            journal,
            watch: Came::default(),
        }
    }

    /// An upstream that has these bytes, or nothing.
    fn peer(&self, number: usize, bytes: Option<&[u8]>) -> Peer {
        let directory: PathBuf = self.root.path().join(number.to_string());
        fs::create_dir_all(&directory).unwrap();
        if let Some(bytes) = bytes {
            fs::write(directory.join(NAME), bytes).unwrap();
        }
        peer(&format!("file://{}", directory.display()))
    }

    fn fetcher<'a>(&'a self, peers: &'a [Peer]) -> Fetcher<'a> {
        Fetcher {
            peers,
            store: &self.store,
            journal: &self.journal,
            limit: Limit::new(None),
            patience: PATIENCE,
            unclaimed_max_bytes: RANGE,
            signatures: None,
            watch: &self.watch,
            in_ranges: true,
        }
    }

    fn partial(&self) -> PathBuf {
        self.store.partial_path(&item().claim)
    }

    fn list(&self) -> PathBuf {
        let mut path = self.partial().into_os_string();
        path.push(".ranges");
        path.into()
    }

    /// As a sync that was cut off leaves it: all of it or but for a range.
    fn leave(&self, bytes: &[u8], but_for: Option<u64>) {
        fs::create_dir_all(self.partial().parent().unwrap()).unwrap();
        fs::write(self.partial(), bytes).unwrap();
        let numbers = (0..SIZE.div_ceil(RANGE)).filter(|number| Some(*number) != but_for);
        let line = |number: u64| format!("{}-{}\n", number * RANGE, SIZE.min((number + 1) * RANGE));
        fs::write(self.list(), numbers.map(line).collect::<String>()).unwrap();
    }
}

const PATIENCE: Patience = Patience {
    slowest_bytes_per_sec: 1_000,
    slow_window: Duration::from_secs(1),
    attempts: 2,
    pause: Duration::ZERO,
};

fn peer(url: &str) -> Peer {
    Peer::new(
        Upstream::new(url, Duration::from_secs(1)).unwrap(),
        PATIENCE,
    )
}

fn away() -> Peer {
    peer("http://127.0.0.1:1")
}

fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap()
}

#[test]
fn upstreams_that_were_given_up_are_not_called_unreachable() {
    let lab = Lab::new();
    lab.leave(&big(), Some(2));
    let peers = [lab.peer(0, Some(&big())), lab.peer(1, Some(&big()))];
    let wrong = Problem::WrongRanges("0-1".to_owned());
    for peer in &peers {
        (0..8).for_each(|_| peer.judge(Err(&wrong)));
        assert!(peer.is_given_up());
    }
    let outcome = lab.fetcher(&peers).fetch(&item(), &mut Vec::new());
    let Err(Failure::Upstreams {
        problems,
        unreachable,
    }) = outcome
    else {
        panic!("it was fetched from nobody");
    };
    assert!(!unreachable);
    assert_eq!(problems, ["every upstream has given too many wrong files"]);
    assert!(is_there(&lab.list()), "what is there is kept");
}

#[test]
fn ranges_that_are_there_stay_when_nobody_can_be_reached() {
    let lab = Lab::new();
    lab.leave(&big(), Some(2));
    let peers = [away(), away()];
    let outcome = lab.fetcher(&peers).fetch(&item(), &mut Vec::new());
    let Err(Failure::Upstreams { unreachable, .. }) = outcome else {
        panic!("it was fetched from nobody");
    };
    assert!(unreachable);
    assert_eq!(fs::metadata(lab.partial()).unwrap().len(), SIZE);
    let peers = [lab.peer(0, Some(&big()))];
    let fetched = lab.fetcher(&peers).fetch(&item(), &mut Vec::new()).unwrap();
    assert_eq!(fetched.came_bytes, RANGE);
}

#[test]
fn a_file_whose_ranges_were_all_there_came_from_nobody() {
    let lab = Lab::new();
    lab.leave(&big(), None);
    let peers = [away()];
    let fetched = lab.fetcher(&peers).fetch(&item(), &mut Vec::new()).unwrap();
    assert_eq!(fetched.upstream, None);
    assert_eq!(fetched.came_bytes, 0);
    assert_eq!(lab.watch.0.load(Ordering::Relaxed), 0);
}

#[test]
fn only_what_was_told_is_taken_back_when_no_mixture_is_right() {
    let lab = Lab::new();
    // All but a range is from an earlier sync, and wrong; nobody has it right.
    let other: Vec<u8> = big().iter().map(|byte| byte ^ 1).collect();
    lab.leave(&other, Some(2));
    let wrong: Vec<u8> = big().iter().map(|byte| byte ^ 2).collect();
    let peers = [lab.peer(0, Some(&wrong)), lab.peer(1, Some(&wrong))];
    let outcome = lab.fetcher(&peers).fetch(&item(), &mut Vec::new());
    assert!(outcome.is_err());
    // A range and what both gave as a whole came, and was taken back.
    assert_eq!(lab.watch.0.load(Ordering::Relaxed), 0);
}

#[test]
fn a_file_that_comes_on_as_a_whole_keeps_its_first_ranges() {
    let lab = Lab::new();
    lab.leave(&big(), Some(4));
    // What can be opened and is no file is of no use in ranges; it may be as a whole.
    let unusable = [lab.peer(0, None)];
    fs::create_dir(lab.root.path().join("0").join(NAME)).unwrap();
    let outcome = lab.fetcher(&unusable).fetch(&item(), &mut Vec::new());
    assert!(outcome.is_err());
    assert!(!is_there(&lab.list()));
    let mut start = vec![0; usize::try_from(4 * RANGE).unwrap()];
    let file = fs::File::open(lab.partial()).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 4 * RANGE);
    file.read_exact_at(&mut start, 0).unwrap();
    assert!(big().starts_with(&start));
    let peers = [lab.peer(1, Some(&big()))];
    let fetched = lab.fetcher(&peers).fetch(&item(), &mut Vec::new()).unwrap();
    assert_eq!(fetched.came_bytes, SIZE - 4 * RANGE);
}

#[test]
fn of_many_upstreams_those_are_asked_that_have_least_to_do() {
    let lab = Lab::new();
    // The first would say that it has none.
    let mut peers = vec![lab.peer(0, None)];
    peers.extend((1..5).map(|number| lab.peer(number, Some(&big()))));
    let _at_another_file = peers[0].busy();
    let fetched = lab.fetcher(&peers).fetch(&item(), &mut Vec::new()).unwrap();
    assert!(fetched.problems.is_empty(), "{:?}", fetched.problems);
    assert_eq!(fetched.came_bytes, SIZE);
}
