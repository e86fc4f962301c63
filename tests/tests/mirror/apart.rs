//! `hallmark bundle`: an export is carried to a machine without a network, and clients install there; and `mirror
//! sync-all` from a file.

use crate::{BASE, STORY, clients, text};
use hallmark_tests::clients::Client;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::require;
use hallmark_tests::tools::BUILDING;

#[test]
fn a_bundle_is_applied_where_there_is_no_network_and_clients_install_from_it() {
    require!(BUILDING, NGINX, Client::Dnf5.needs(), Client::Dnf4.needs());
    let story = &*STORY;
    let world = &story.world;
    let _watch = world.watch();
    let dir = world.new_dir("bundles");
    let [key, public, list, bundle] =
        ["key", "key.pub", "have.txt", "a.bundle"].map(|name| dir.join(name));
    let (tree, apart) = (dir.join("tree"), dir.join("apart"));
    let pem = world.hallmark_ok(&["bundle", "keygen", text(&key)]);
    std::fs::write(&public, pem).expect("the folder is ours");
    world.hallmark_ok(&["export", text(&tree)]);
    let create = |more: &[&str], bundle: &std::path::Path| {
        let fixed = ["bundle", "create", "--key", text(&key), "-o", text(bundle)];
        world.hallmark_ok(&[&fixed, more, &[text(&tree)]].concat())
    };
    create(&[], &bundle);
    let apply = |bundle: &std::path::Path, trusted: &std::path::Path| {
        let output = world.hallmark(&[
            "bundle",
            "apply",
            "--trust",
            text(trusted),
            text(bundle),
            text(&apart),
        ]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };

    // Cut short, changed, and signed by somebody else: refused by name, and nothing is to be seen.
    let bytes = std::fs::read(&bundle).expect("it was written");
    let cut = dir.join("cut.bundle");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).expect("the folder is ours");
    let (code, said) = apply(&cut, &public);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cut short"), "{said}");
    let other = dir.join("other.pub");
    let pem = world.hallmark_ok(&["bundle", "keygen", text(&dir.join("other.key"))]);
    std::fs::write(&other, pem).expect("the folder is ours");
    let (code, said) = apply(&bundle, &other);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no trusted key signed the bundle"), "{said}");
    assert!(!apart.join("preview").exists());

    let (code, said) = apply(&bundle, &public);
    assert_eq!(code, Some(0), "{said}");
    world.hallmark_ok(&["mirror", "verify", "--key", text(&story.keys), text(&apart)]);
    let nginx = Nginx::serve(&apart);
    for client in clients() {
        story.installs(client, &format!("{}{BASE}", nginx.url()), true);
    }

    // The next one has only what is new: nothing.
    let have = world.hallmark_ok(&["bundle", "have", text(&apart)]);
    std::fs::write(&list, have).expect("the folder is ours");
    let next = dir.join("b.bundle");
    create(&["--have", text(&list)], &next);
    let size = |path| std::fs::metadata(path).expect("it was written").len();
    assert!(size(&next) * 10 < size(&bundle));
    let (code, said) = apply(&next, &public);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = apply(&bundle, &public);
    let is_older = said.contains("before the last one applied");
    assert!(
        code == Some(0) || is_older,
        "made in the same second, or refused: {said}"
    );
    let third = dir.join("c.bundle");
    create(&["--name", "other"], &third);
    let (code, said) = apply(&third, &public);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("is of the tree `other`") && said.contains("--other-tree"),
        "{said}"
    );
}

#[test]
fn repositories_that_a_file_names_are_copied_and_one_that_fails_does_not_stop_the_others() {
    require!(BUILDING);
    let story = &*STORY;
    let world = &story.world;
    let _watch = world.watch();
    let dir = world.new_dir("many");
    let url = world.url();
    let repo = |name: &str, url: &str| {
        let copy = dir.join(name);
        format!(
            "[[repo]]\nname = \"{name}\"\nurl = \"{url}\"\ndirectory = \"{}\"\n",
            text(&copy)
        )
    };
    let file = dir.join("mirrors.toml");
    let defaults = format!(
        "[defaults]\nkey = \"{}\"\nstore = \"{}\"\n",
        text(&story.keys),
        text(&dir.join("store"))
    );
    let all = [
        defaults,
        repo("a", &format!("{url}{BASE}")),
        repo("lost", &format!("{url}/nowhere")),
        repo("b", &format!("{url}{BASE}")),
    ];
    std::fs::write(&file, all.concat()).expect("the folder is ours");
    let output = world.hallmark(&["mirror", "sync-all", text(&file)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{complained}");
    assert!(complained.contains("lost: error: "), "{complained}");
    assert!(
        said.contains("a: revision ") && said.contains("b: revision "),
        "{said}"
    );
    assert!(
        said.contains(" 0 files fetched"),
        "the second shares the store: {said}"
    );
    let again = world.hallmark_ok(&["mirror", "sync-all", "--only", "b", text(&file)]);
    assert!(again.starts_with("b: nothing new"), "{again}");
    world.hallmark_ok(&["mirror", "verify", "--key", text(&story.keys), text(&dir)]);
}
