//! Builds that mock made, made again with mock; a process builds with one backend, so apart from `mock.rs`.

mod common;

use common::Lab;
use common::in_mock::InMock;
use hallmark_rebuilder::build;
use hallmark_rebuilder::sandbox;
use repo_model::config::RebuilderConfig;
use repo_model::verdict::Verdict;
use std::fs;
use std::process::Command;

#[test]
fn what_was_built_comes_out_the_same_with_mock_whatever_built_it() {
    let test = "what_was_built_comes_out_the_same_with_mock_whatever_built_it";
    let Some(site) = InMock::new(test) else {
        return;
    };
    let (lab, store) = (&site.lab, &site.store);
    sandbox::choose(&RebuilderConfig {
        backend: "mock".to_owned(),
        backend_command: site.mock.clone(),
        ..RebuilderConfig::default()
    })
    .unwrap();
    let install = "gcc --version >data; printf 'int x;' >x.c; gcc -c x.c; rm x.c";
    let srpm = lab.srpm("again", &common::spec("again", install));
    let recorded = site.record(&srpm, "out", &site.config()).unwrap();
    let verified = site.checked("recorded in mock, again in mock", &recorded, &srpm, store);
    assert!(verified.confirmed);
    assert_eq!(verified.packages[0].comparison.verdict, Verdict::Identical);

    // Our own way of calling rpmbuild, in the same layer, with mock around it.
    let mut request = lab.request(&srpm, "own");
    request.root = Some(store.layer_of(&recorded.info.buildroot).unwrap());
    let own = build::record(&request).unwrap();
    assert_eq!(
        (
            own.info.sandbox.kind.as_str(),
            own.info.rpmbuild.mode.as_str()
        ),
        ("mock", "rebuild")
    );
    let verified = site.checked("our own call in mock, again in mock", &own, &srpm, store);
    assert!(verified.confirmed);

    let defect = common::spec("clock", "date +%s%N >data");
    let srpm = lab.srpm("clock", &defect);
    let mut request = lab.request(&srpm, "clock");
    request.root = Some(store.layer_of(&recorded.info.buildroot).unwrap());
    let clock = build::record(&request).unwrap();
    let verified = site.checked("our own call in mock, again in mock", &clock, &srpm, store);
    assert!(!verified.confirmed);
    doctor(lab, &site.mock);
}

/// `hallmark-rebuilder doctor` tries mock in a layer.
fn doctor(lab: &Lab, mock: &[String]) {
    let examine = |layers: &str| {
        let config = lab.path("hallmark.toml");
        let text = format!(
            "[rebuilder]\nbackend = \"mock\"\nbackend_command = {mock:?}\nlayers_dir = {:?}\nwork_dir = {:?}\n",
            lab.path(layers),
            lab.path("work")
        );
        fs::write(&config, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_hallmark-rebuilder"))
            .args(["doctor", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let table = examine("store");
    for name in [
        "mock",
        "build root",
        "sandbox",
        "network off",
        "scratch space",
        "macros",
    ] {
        let good = table
            .lines()
            .any(|line| line.starts_with(&format!("ok    {name:<15}")));
        assert!(good, "{name}: {table}");
    }
    let table = examine("nowhere");
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("bad   build root")),
        "{table}"
    );
}
