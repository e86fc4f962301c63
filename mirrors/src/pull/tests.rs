//! A front without upstream, and objects that are in doubt.

use super::metadata::{WAIT_MAX, WAITING_MAX};
use super::*;
use std::time::Instant;

fn without_upstream(root: &Path) -> Arc<Pull> {
    let url = format!("file://{}/none", root.display());
    let settings = Settings {
        directory: root.join("kept"),
        upstreams: vec![Upstream::new(&url, Duration::from_secs(1)).unwrap()],
        signatures: None,
        key: Vec::new(),
        fresh: Duration::ZERO,
        keep_bytes: 1 << 20,
        keep_for: Duration::from_secs(3600),
        patience: Patience::default(),
    };
    Arc::new(Pull::open(settings).unwrap())
}

#[test]
fn while_nothing_is_known_a_failure_answers_many_and_few_wait() {
    let root = tempfile::tempdir().unwrap();
    let pull = without_upstream(root.path());
    let failure = || match pull.find(REPOMD) {
        Err(PullError::Upstream(error)) => error,
        _ => panic!("there is no upstream"),
    };
    assert!(Arc::ptr_eq(&failure(), &failure()), "it was asked twice");
    let asks = locked(&pull.asked);
    pull.waiting.store(WAITING_MAX, Ordering::Relaxed);
    let begun = Instant::now();
    assert!(matches!(pull.find(REPOMD), Err(PullError::Busy)));
    assert!(begun.elapsed() < WAIT_MAX);
    assert_eq!(pull.waiting.load(Ordering::Relaxed), WAITING_MAX);
    drop(asks);
}

#[test]
fn what_is_in_doubt_is_read_again_and_removed_when_it_is_wrong() {
    let root = tempfile::tempdir().unwrap();
    let pull = without_upstream(root.path());
    let [good, bad] = ["good", "bad"].map(|text| FileDigest::of(text.as_bytes()));
    for digest in [good, bad] {
        let path = pull.store.object(digest);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "good").unwrap();
    }
    locked(&pull.doubtful).extend([good, bad]);
    assert!(pull.is_sound(good) && !pull.is_sound(bad));
    assert!(locked(&pull.doubtful).is_empty());
    assert!(pull.store.look(good, None).is_some());
    assert!(pull.store.look(bad, None).is_none());
}
