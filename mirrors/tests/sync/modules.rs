//! Copies of a part of a repository that has modules.

use crate::copies::Lab;
use crate::kit::*;
use crate::server::Server;
use mirrors::sync::{Unwatched, Verify, survey};

#[test]
fn case_41_the_newest_only_and_every_stream_of_a_module() {
    let lab = Lab::new();
    let all = [
        ("plain", 1),
        ("plain", 2),
        ("both", 1),
        ("both", 2),
        ("both", 3),
        ("stream", 1),
        ("stream", 2),
    ];
    let all: Vec<Package> = all
        .map(|(name, version)| Package::of_version(name, version))
        .into();
    write_repository(&lab.upstream(), &all, 100);
    // Nothing in their releases says that they are of a module.
    let modules = "---\ndocument: modulemd\ndata:\n  stream: \"1\"\n  artifacts:\n    rpms:\n    - stream-0:1-1.noarch\n...\n\
                   ---\ndocument: modulemd\ndata:\n  stream: \"2\"\n  artifacts:\n    rpms:\n    - stream-0:2-1.noarch\n    - both-0:3-1.noarch\n...\n";
    add_record(
        &lab.upstream(),
        "modules",
        "modules.yaml",
        modules.as_bytes(),
    );
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    request.filters.newest_only = true;
    let seen = survey(&request, Verify::Nothing, &Unwatched).unwrap();
    let done = run(&request).unwrap();
    assert_eq!((done.listed, done.taken, seen.taken), (7, 5, 5));
    let here = |name: &str| {
        lab.copy()
            .join(format!("Packages/{name}-1.noarch.rpm"))
            .exists()
    };
    for (name, stays) in [
        ("plain-1", false),
        ("plain-2", true),
        // The package of the module pushes nothing else out.
        ("both-1", false),
        ("both-2", true),
        ("both-3", true),
        ("stream-1", true),
        ("stream-2", true),
    ] {
        assert_eq!(here(name), stays, "{name}");
    }

    // The same with a list that is torn: what can be found in it stays.
    let torn = modules
        .replace("stream: \"2\"", "stream: [2")
        .replace("...\n", "");
    write_repository(&lab.upstream(), &all, 200);
    add_record(&lab.upstream(), "modules", "modules.yaml", torn.as_bytes());
    assert_eq!(run(&request).unwrap().taken, 5);
}
