//! Evidence packs: what the server sends is what the command line makes, and holds without a server.

use crate::{STORY, page};
use repo_model::wire::ErrorBody;
use std::path::Path;

const NEWEST: &str = "/api/v1/releases/5/evidence.tar.zst";

fn text(path: &Path) -> &str {
    path.to_str().expect("paths here are UTF-8")
}

#[test]
fn the_pack_of_a_release_is_the_one_that_the_command_line_makes_and_holds() {
    let world = &STORY.world;
    let watch = world.watch();
    let http = world.http.with_token(None);
    let dir = world.new_dir("packs");
    let own = dir.join("own.tar.zst");
    let sent = world.until("both packs are of one head of the log", || {
        let sent = http.fetch(NEWEST);
        world.hallmark_ok(&["evidence", "5", "-o", text(&own)]);
        match std::fs::read(&own).expect("it is there") == sent {
            true => Ok(sent),
            false => Err("they differ".to_owned()),
        }
    });
    // Made again while nothing happens it is the same, and `newest` is a name of it.
    assert_eq!(http.fetch(NEWEST), sent);
    assert_eq!(http.fetch("/api/v1/releases/newest/evidence.tar.zst"), sent);

    let pack = dir.join("release-5.tar.zst");
    std::fs::write(&pack, &sent).expect("written");
    let trust = dir.join("trust");
    world.hallmark_ok(&["trust", "fetch", "-o", text(&trust)]);
    let verify = |pack: &Path| {
        let (trust, pack) = (text(&trust), text(pack));
        world.hallmark(&[
            "verify",
            "--trust",
            trust,
            "--server",
            "http://127.0.0.1:9",
            pack,
        ])
    };
    let held = verify(&pack);
    let shown = String::from_utf8_lossy(&held.stdout).into_owned();
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    assert_eq!(held.status.code(), Some(0), "{shown}{said}");
    assert!(
        shown.contains("the policy holds for 4 of 4 packages"),
        "{shown}"
    );
    // What a broken connection leaves is refused.
    std::fs::write(&pack, &sent[..sent.len() / 2]).expect("written");
    assert_eq!(verify(&pack).status.code(), Some(2));
    drop(watch);
}

#[test]
fn a_pack_is_named_tagged_and_asked_for_again_at_no_cost() {
    let http = STORY.world.http.with_token(None);
    let release = page("/releases/5");
    assert!(release.contains(&format!("href=\"{NEWEST}\"")), "{release}");
    assert!(page("/api").contains("/api/v1/releases/{release}/evidence.tar.zst"));

    let asked = http.send("HEAD", NEWEST, &[], b"");
    assert_eq!((asked.status, asked.body.len()), (200, 0));
    assert_eq!(asked.header("content-type"), "application/zstd");
    assert!(
        asked
            .header("content-disposition")
            .contains("release-5.tar.zst")
    );
    let etag = asked.header("etag");
    assert!(etag.starts_with("W/\""), "{etag}");
    let again = http.send("GET", NEWEST, &[("if-none-match", etag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = http.send("HEAD", "/api/v1/releases/2/evidence.tar.zst", &[], b"");
    assert_ne!(other.header("etag"), etag);
    for missing in ["99", "x", "0"] {
        let answer = http.get(&format!("/api/v1/releases/{missing}/evidence.tar.zst"));
        assert_eq!(answer.status, 404, "{missing}");
        assert_eq!(answer.json::<ErrorBody>().code, "not-found");
    }
}
