//! Moving the pointers, and serving while the signer is away: each story has a world of its own.

use crate::{BASE, own_world};
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::repository::Repository;
use hallmark_tests::world::{SERVER, SIGNER};

#[test]
fn the_server_says_that_the_signer_is_away_and_serves_on() {
    let owned = own_world();
    let world = owned.watch();
    let build = Crafted::new("early", "1.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(world.http.get("/healthz").body, b"ok\n");
    assert!(world.process(SIGNER).stop().success(), "a clean end");
    // It asks the signer every few seconds.
    world.until("the server knows", || {
        match world.http.get("/readyz").status {
            503 => Ok(()),
            status => Err(format!("/readyz: {status}")),
        }
    });
    let parts: serde_json::Value = world.http.get("/readyz").json();
    assert_eq!(
        (&parts["signer"], &parts["database"]),
        (&"unreachable".into(), &"ok".into())
    );
    assert_eq!(world.http.get("/healthz").status, 200);
    assert_eq!(
        Repository::new(&world.http, BASE).check_everything().len(),
        1
    );
    assert_eq!(
        world.http.get("/keys/RPM-GPG-KEY").status,
        200,
        "keys are remembered"
    );

    let late = Crafted::new("late", "1.0").publish(&world.http).build;
    world.until_build(late, "waits for the signer", |status| {
        status
            .jobs
            .iter()
            .any(|job| job.name == "sign" && job.last_error.is_some())
    });
    assert!(Repository::new(&world.http, BASE).package("late").is_none());
    // A server that starts while the signer is away serves all the same.
    assert!(world.process(SERVER).stop().success(), "a clean end");
    world.start_process(SERVER);
    world.until("the server answers", || {
        let answer = world
            .http
            .try_send("GET", "/keys/RPM-GPG-KEY", &[], b"")
            .ok_or("no answer")?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.text())
        }
    });
    world.start_process(SIGNER);
    world.until_ready();
    world.until_published(late);
    assert_eq!(
        Repository::new(&world.http, BASE).check_everything().len(),
        2
    );
}

#[test]
fn promotion_and_rollback_move_a_pointer_and_rewrite_nothing() {
    let owned = own_world();
    let world = owned.watch();
    let stable = Repository::new(&world.http, "/stable/base/x86_64");
    let mut releases = Vec::new();
    for version in ["1.0", "2.0", "3.0"] {
        let build = Crafted::new("moving", version).publish(&world.http).build;
        world.until_published(build);
        releases.push(world.channel("preview"));
    }
    assert_eq!(world.channel("stable"), 0, "nothing is promoted by itself");
    assert_eq!(
        world
            .http
            .get("/stable/base/x86_64/repodata/repomd.xml")
            .status,
        404
    );
    let newest = Repository::new(&world.http, BASE)
        .check_everything()
        .into_iter()
        .find(|package| package.href.contains("3.0"))
        .expect("it is published");
    let in_newest = |root: &str| {
        let path = format!("/{root}/base/x86_64/{}", newest.href);
        world.http.get(&path).status
    };
    assert_eq!(in_newest("preview"), 200);
    let first = format!("r/{}", releases[0]);
    for root in [
        "stable",
        "nonsense",
        "r/1",
        &first,
        "r/999",
        "r/18446744073709551615",
    ] {
        assert_eq!(in_newest(root), 404, "{root} never had it");
    }

    world.hallmark_ok(&[
        "promote",
        "--to",
        "stable",
        "--release",
        &releases[0].to_string(),
    ]);
    assert_eq!(in_newest("stable"), 404, "not promoted yet");
    assert_eq!(world.channel("stable"), releases[0]);
    assert_eq!(stable.check_everything().len(), 1);
    let first = stable.repomd();
    world.hallmark_ok(&["promote", "--to", "stable"]);
    assert_eq!(world.channel("stable"), releases[2]);
    assert_eq!(stable.check_everything().len(), 3);
    assert_eq!(stable.repomd(), Repository::new(&world.http, BASE).repomd());
    for package in
        Repository::new(&world.http, &format!("/r/{}/base/x86_64", releases[0])).check_everything()
    {
        assert_eq!(world.http.get(&stable.path(&package.href)).status, 200);
    }

    let repomd = stable.path("repodata/repomd.xml");
    let seen = world.http.get(&repomd).header("last-modified").to_owned();
    world.hallmark_ok(&["rollback", "stable"]);
    assert_eq!(world.channel("stable"), releases[0]);
    let since = world
        .http
        .send("GET", &repomd, &[("if-modified-since", &seen)], b"");
    assert_eq!(since.status, 200, "moved back is moved since {seen}");
    assert_eq!(
        in_newest("stable"),
        200,
        "who has the metadata gets the file"
    );
    assert_eq!(stable.repomd(), first, "byte for byte as it was");
    let asc = world.http.fetch(&stable.path("repodata/repomd.xml.asc"));
    assert_eq!(
        asc,
        world.http.fetch(&format!(
            "/r/{}/base/x86_64/repodata/repomd.xml.asc",
            releases[0]
        ))
    );

    // A new release moves preview only: a channel that was moved back stays.
    let build = Crafted::new("moving", "4.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(world.channel("stable"), releases[0]);
    assert!(world.channel("preview") > releases[2]);

    // The same for preview, the channel that follows by itself.
    world.hallmark_ok(&["rollback", "preview", "--to", &releases[1].to_string()]);
    let build = Crafted::new("moving", "5.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(
        world.channel("preview"),
        releases[1],
        "a rollback is not undone by the next build"
    );
    let newest = world.releases()[0].id.to_string();
    world.hallmark_ok(&["promote", "--to", "preview", "--release", &newest]);
    let build = Crafted::new("moving", "6.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(
        world.channel("preview"),
        world.releases()[0].id.0,
        "at the newest release it follows again"
    );

    let behind = world.hallmark(&["rollback", "stable", "--to", "9999"]);
    assert_ne!(behind.status.code(), Some(0));
    let seen = serde_json::json!({"seen": releases[1], "to": releases[2]});
    let stale = world.http.post_json("/api/v1/channels/stable/move", &seen);
    assert_eq!(stale.status, 409, "{}", stale.text());
}

#[test]
fn of_many_who_move_a_channel_at_once_one_wins() {
    let owned = own_world();
    let world = owned.watch();
    for version in ["1.0", "2.0"] {
        let build = Crafted::new("contended", version)
            .publish(&world.http)
            .build;
        world.until_published(build);
    }
    let newest = world.releases()[0].id.0;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let post = |to: u64| {
            let body = serde_json::json!({"seen": null, "to": to});
            world
                .http
                .post_json("/api/v1/channels/stable/move", &body)
                .status
        };
        let threads: Vec<_> = (0..6)
            .map(|n| scope.spawn(move || post(newest - n % 2)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"))
            .collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 204).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 409).count(),
        5,
        "{statuses:?}"
    );
}

#[test]
fn an_architecture_that_is_added_gets_what_is_for_all_of_them() {
    let owned = own_world();
    let world = owned.watch();
    let first = Crafted::new("everywhere", "1.0").publish(&world.http).build;
    world.until_published(first);
    let config = world.config_file();
    let text = std::fs::read_to_string(&config).expect("the configuration is there");
    let more = text.replacen(
        "arches = [\"x86_64\"]",
        "arches = [\"x86_64\", \"aarch64\"]",
        1,
    );
    assert_ne!(text, more);
    std::fs::write(&config, more).expect("the configuration can be written");
    world.crash(SERVER);
    world.until_ready();
    let second = Crafted::new("later", "1.0").publish(&world.http).build;
    world.until_published(second);
    for arch in ["x86_64", "aarch64"] {
        let repository = Repository::new(&world.http, &format!("/preview/base/{arch}"));
        let mut names: Vec<_> = repository
            .check_everything()
            .into_iter()
            .map(|package| package.name)
            .collect();
        names.sort();
        assert_eq!(names, ["everywhere", "later"], "{arch}");
    }
}
