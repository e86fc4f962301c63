//! Large files: in ranges from several upstreams at once, and no more fetched again than was wrong.

use crate::kit::*;
use crate::server::{Ask, Reply, Server};
use mirrors::sync::{SyncError, Verify, sync};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BIG: &str = "Packages/big-1-1.noarch.rpm";
const RANGE: usize = 1 << 20;
const RANGES: usize = 12;
const SIZE: usize = RANGES * RANGE - 1_000;

fn big() -> Package {
    Package::new("big", SIZE)
}

/// A repository with one large package, and where the copy goes.
fn lab() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (upstream, copy) = (root.path().join("upstream"), root.path().join("copy"));
    write_repository(&upstream, &[big()], 100);
    (root, upstream, copy)
}

/// Slow enough that another one gets its share.
fn slowly(upstream: &Path) -> Server {
    Server::start(upstream, |ask| {
        if ask.path == BIG {
            std::thread::sleep(Duration::from_millis(40));
        }
        Reply::Well
    })
}

/// Gives other bytes where `lies` says so.
fn lying(upstream: &Path, lies: fn(&Ask) -> bool) -> Server {
    Server::start(upstream, move |ask| {
        if ask.path != BIG {
            return Reply::Well;
        }
        std::thread::sleep(Duration::from_millis(20));
        match lies(ask) {
            true => Reply::Other(big().bytes.iter().map(|byte| byte ^ 1).collect()),
            false => Reply::Well,
        }
    })
}

/// The ranges of the package that a server was asked for.
fn ranges(server: &Server) -> Vec<String> {
    let asked = server.take_log();
    let asked = asked.iter().filter(|ask| ask.path == BIG);
    asked
        .map(|ask| ask.range().unwrap_or("all").to_owned())
        .collect()
}

fn urls(servers: &[&Server]) -> Vec<String> {
    servers.iter().map(|server| server.url()).collect()
}

/// Partial files that a copy has.
fn files_left(copy: &Path) -> usize {
    let fans = fs::read_dir(copy.join(".hallmark/store/partial")).unwrap();
    let files = fans.map(|fan| fs::read_dir(fan.unwrap().path()).unwrap().count());
    files.sum()
}

/// Syncs to the end: what was told, and bytes of the package that came.
fn fetched(servers: &[&Server], copy: &Path) -> (Told, usize) {
    let told = Told::default();
    sync(&request(&urls(servers), copy), Verify::Nothing, None, &told).unwrap();
    assert_eq!(read_copy(copy)[0].1.len(), SIZE);
    assert_eq!(files_left(copy), 0);
    let (action, came) = told.of(BIG);
    assert_eq!(action, "Fetched");
    (told, usize::try_from(came.unwrap()).unwrap())
}

#[test]
fn a_large_file_comes_in_ranges_from_all_upstreams_and_each_range_once() {
    let (_root, upstream, copy) = lab();
    let servers = [slowly(&upstream), slowly(&upstream), slowly(&upstream)];
    let (told, came) = fetched(&[&servers[0], &servers[1], &servers[2]], &copy);
    assert_eq!(came, SIZE);
    assert!(told.problems.lock().unwrap().is_empty());
    let asked: Vec<Vec<String>> = servers.iter().map(ranges).collect();
    assert!(asked.iter().all(|ranges| !ranges.is_empty()), "{asked:?}");
    let all: Vec<&String> = asked.iter().flatten().collect();
    assert_eq!(all.len(), RANGES);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), RANGES);
}

#[test]
fn one_wrong_range_is_fetched_again_from_another_upstream_and_the_report_says_whose_it_was() {
    let (_root, upstream, copy) = lab();
    let good = slowly(&upstream);
    // The third thing that it is asked for, and nothing else.
    let liar = lying(&upstream, |ask| ask.before == 2);
    let (told, came) = fetched(&[&good, &liar], &copy);
    let again = came - SIZE;
    assert!(
        again > 0 && again <= RANGES / 2 * RANGE,
        "{again} bytes were fetched again"
    );
    let wrong = &ranges(&liar)[2];
    let problems = told.problems.lock().unwrap();
    let url = liar.url();
    let wanted = format!("{}: its bytes {wrong} are wrong", url.trim_end_matches('/'));
    assert_eq!(*problems, [wanted]);
}

#[test]
fn of_three_upstreams_two_outvote_one_that_lies_about_everything() {
    let (_root, upstream, copy) = lab();
    let (one, two) = (slowly(&upstream), slowly(&upstream));
    let liar = lying(&upstream, |_| true);
    let (told, came) = fetched(&[&liar, &one, &two], &copy);
    let problems = told.problems.lock().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let url = liar.url();
    assert!(
        problems[0].starts_with(url.trim_end_matches('/')),
        "{problems:?}"
    );
    // What it gave, and a few ranges more to find out that it was the one.
    let given = ranges(&liar).len();
    let again = came - SIZE;
    assert!(
        again <= (given + 3) * RANGE && again < SIZE,
        "{again} bytes again, {given} ranges from it"
    );
}

#[test]
fn whatever_two_upstreams_mix_up_one_that_is_right_is_enough() {
    let (_root, upstream, copy) = lab();
    let liar = lying(&upstream, |_| true);
    let good = slowly(&upstream);
    let (told, _) = fetched(&[&liar, &good], &copy);
    let problems = told.problems.lock().unwrap();
    let url = liar.url();
    let about_it = problems
        .iter()
        .filter(|text| text.starts_with(url.trim_end_matches('/')));
    assert_eq!(about_it.count(), 1, "{problems:?}");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn upstreams_without_ranges_or_without_the_file_are_left_to_what_they_can_do() {
    let (_root, upstream, copy) = lab();
    let without = || Server::start(&upstream, |_| Reply::NoRange);
    let (one, two, good) = (without(), without(), slowly(&upstream));
    let lacking = Server::start(&upstream, |ask| match ask.path == BIG {
        true => Reply::Status(404),
        false => Reply::Well,
    });
    let (_, came) = fetched(&[&one, &lacking, &good], &copy);
    assert_eq!(came, SIZE);
    assert_eq!(ranges(&one).len(), 1);
    assert_eq!(ranges(&lacking).len(), 1);
    fs::remove_dir_all(&copy).unwrap();
    let (told, came) = fetched(&[&one, &two], &copy);
    assert_eq!(came, SIZE, "{:?}", told.problems.lock().unwrap());
}

#[test]
fn ranges_that_came_are_not_fetched_again_by_the_next_sync_unless_they_were_lost() {
    let (_root, upstream, copy) = lab();
    let breaking = || {
        Server::start(&upstream, |ask| match ask.path == BIG && ask.before >= 3 {
            true => Reply::Status(503),
            false => Reply::Well,
        })
    };
    let (one, two, good) = (breaking(), breaking(), slowly(&upstream));
    let interrupted = || {
        let broken = [breaking(), breaking()];
        let error = run(&request(&urls(&[&broken[0], &broken[1]]), &copy)).unwrap_err();
        let SyncError::Files { count: 1, .. } = error else {
            panic!("{error}");
        };
    };
    let error = run(&request(&urls(&[&one, &two]), &copy)).unwrap_err();
    assert!(
        matches!(error, SyncError::Files { count: 1, .. }),
        "{error}"
    );
    let (_, came) = fetched(&[&good], &copy);
    assert_eq!(came, SIZE - 6 * RANGE);

    // The machine went down, and a range that was written is not on the disk.
    fs::remove_dir_all(&copy).unwrap();
    interrupted();
    let partial = partial(&copy, &big().bytes);
    let file = fs::File::options().write(true).open(partial).unwrap();
    file.write_all_at(&[0; 500], 700).unwrap();
    let (told, came) = fetched(&[&good], &copy);
    assert_eq!(came, SIZE - 5 * RANGE);
    let problems = told.problems.lock().unwrap();
    assert_eq!(
        *problems,
        ["bytes 0-1048575 that an earlier sync had left were wrong"]
    );
}

#[test]
fn an_upstream_that_is_away_does_not_keep_a_wrong_range_from_being_replaced() {
    for (number, trouble) in [|| Reply::Status(503), || Reply::Cut(1_000)]
        .into_iter()
        .enumerate()
    {
        let (_root, upstream, copy) = lab();
        let good = slowly(&upstream);
        let away = Server::start(&upstream, move |ask| match ask.path == BIG {
            true => trouble(),
            false => Reply::Well,
        });
        let liar = lying(&upstream, |ask| ask.before == 2);
        let (told, came) = fetched(&[&good, &away, &liar], &copy);
        let again = came - SIZE;
        assert!(
            // The liar's ranges are looked at in their order in the file, which need not be the order in which it was asked.
            again > 0 && again <= RANGES / 2 * RANGE,
            "trouble {number}: {again} bytes were fetched again"
        );
        // As often as any upstream may fail for a file, and not for each range.
        assert!(ranges(&away).len() <= 3);
        let problems = told.problems.lock().unwrap();
        let url = liar.url();
        let about_it = problems
            .iter()
            .filter(|text| text.starts_with(url.trim_end_matches('/')));
        assert_eq!(about_it.count(), 1, "{problems:?}");
    }
}

#[test]
fn what_is_refused_in_ranges_is_fetched_as_a_whole() {
    let troubles: [fn() -> Reply; 4] = [
        || Reply::Status(416),
        || Reply::Status(403),
        || Reply::Status(503),
        || Reply::AtMost(1_000),
    ];
    for (number, trouble) in troubles.into_iter().enumerate() {
        let (_root, upstream, copy) = lab();
        let picky = || {
            Server::start(&upstream, move |ask| match ask.range() {
                Some(_) => trouble(),
                None => Reply::Well,
            })
        };
        let (one, two) = (picky(), picky());
        let (told, came) = fetched(&[&one, &two], &copy);
        let problems = told.problems.lock().unwrap();
        assert!(came < SIZE + RANGE, "trouble {number}: {problems:?}");
        assert!(ranges(&one).len() + ranges(&two).len() <= 7);
    }
}

#[test]
fn connections_that_break_off_before_the_end_of_a_range_get_further_with_each_sync() {
    let (_root, upstream, copy) = lab();
    let breaking = || {
        Server::start(&upstream, |ask| match ask.path == BIG {
            true => Reply::Cut(100_000),
            false => Reply::Well,
        })
    };
    let (one, two) = (breaking(), breaking());
    let partial = partial(&copy, &big().bytes);
    for turn in 1..=3 {
        let error = run(&request(&urls(&[&one, &two]), &copy)).unwrap_err();
        assert!(
            matches!(error, SyncError::Files { count: 1, .. }),
            "{error}"
        );
        // Three attempts at each.
        let have = fs::metadata(&partial).unwrap().len();
        assert_eq!(have, turn * 600_000);
    }
    let (_, came) = fetched(&[&slowly(&upstream)], &copy);
    assert_eq!(came, SIZE - 1_800_000);
}
