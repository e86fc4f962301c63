//! `hallmark serve` in front of a repository of others: clients install through it, and go on when upstream is away.

use crate::{BASE, PACKAGE, STORY, clients, text};
use hallmark_tests::clients::Client;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::tools::BUILDING;
use hallmark_tests::world::SERVER;
use hallmark_tests::{Options, Repository, World, require};
use std::io::Write as _;

#[test]
fn clients_install_through_a_front_and_again_when_upstream_is_gone() {
    require!(BUILDING, NGINX, Client::Dnf5.needs(), Client::Dnf4.needs());
    let story = &*STORY;
    let upstream = story.world.dir().join("fronted");
    story.world.hallmark_ok(&["export", text(&upstream)]);
    let nginx = Nginx::serve(&upstream);

    let front = World::start(&Options::no_rebuilds());
    let _watch = front.watch();
    assert!(front.process(SERVER).stop().success(), "a clean end");
    let mut config = std::fs::File::options()
        .append(true)
        .open(front.config_file())
        .expect("it was written");
    let url = format!("{}{BASE}", nginx.url());
    write!(
        config,
        "\n[[upstream]]\nname = \"fronted\"\nurls = [\"{url}\"]\nkeys = [\"{}\"]\nfresh_secs = 0\n",
        text(&story.keys)
    )
    .expect("likewise");
    front.start_process(SERVER);
    front.until_ready();

    let base = format!("{}/upstream/fronted", front.url());
    for client in clients() {
        story.installs(client, &base, true);
    }
    let package = Repository::new(&story.world.http, BASE)
        .package(PACKAGE)
        .expect("it is published");
    let path = format!("/upstream/fronted/{}", package.href);
    let fetched: Vec<_> = nginx.take_requests();
    let packages = fetched
        .iter()
        .filter(|(path, _)| path.ends_with(&package.href));
    assert_eq!(packages.count(), 1, "{fetched:?}");
    assert_eq!(
        front.http.get("/upstream/fronted/Packages/no.rpm").status,
        404
    );
    assert_eq!(
        front.http.get("/upstream/other/repodata/repomd.xml").status,
        404
    );
    let part = front
        .http
        .send("GET", &path, &[("range", "bytes=0-9")], b"");
    assert_eq!((part.status, part.body.len()), (206, 10));

    drop(nginx);
    let served = front.http.fetch(&path);
    let wanted = std::fs::read(format!("{}{BASE}/{}", upstream.display(), package.href));
    assert!(served == wanted.expect("it was exported"));
    story.installs(Client::Dnf5, &base, true);
    // And after a restart, without upstream all the while.
    assert!(front.process(SERVER).stop().success(), "a clean end");
    front.start_process(SERVER);
    front.until_ready();
    story.installs(Client::Dnf5, &base, true);
}
