//! Several repositories become one: the choice of packages as mergerepo_c makes it, elements word for
//! word, further records merged, and nothing hostile or damaged taken over.

mod createrepo_support;
mod repodata_support;

use createrepo_support::*;
use mirrors::sync::Rewrite;
use repo_model::Timestamp;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_server::createrepo::{
    Addition, Change, Conflicts, CreaterepoError, FileNames, MergeInput, MergeRequest,
    MergeSummary, Method, ModifyRequest, mergerepo, modifyrepo,
};
use repo_server::mirroring::MetadataWriter;
use repo_server::repocheck::Directory;
use repo_server::repodata::{ChecksumType, Codec, Options};
use repodata_support::decompressed;
use repodata_support::reference::Reference;
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

fn versioned(name: &str, version: &str, summary: &str) -> Vec<u8> {
    Rpm::binary(name)
        .set(tag::VERSION, Field::str(version))
        .set(tag::SUMMARY, Field::I18n(vec![summary.as_bytes().to_vec()]))
        .file(&format!("/usr/bin/{name}"), b"x")
        .bytes()
}

/// Repositories `a` and `b` below `root`, with several versions, and one NEVRA with two contents.
fn two(root: &Path) {
    for (repository, name, version) in [
        ("a", "both", "1"),
        ("a", "both", "2"),
        ("a", "clash", "1"),
        ("a", "only-a", "1"),
        ("b", "both", "3"),
        ("b", "clash", "1"),
        ("b", "clash", "2"),
        ("b", "only-b", "1"),
    ] {
        let directory = root.join(repository);
        fs::create_dir_all(&directory).unwrap();
        fs::write(
            directory.join(format!("{name}-{version}.rpm")),
            versioned(name, version, &format!("{repository} <&> \"x\"")),
        )
        .unwrap();
    }
    for repository in ["a", "b"] {
        run(&request(&root.join(repository))).unwrap();
    }
}

fn input(root: &Path, name: &str) -> MergeInput {
    MergeInput {
        label: name.to_owned(),
        base: Some(format!("file:///mnt/t/{name}")),
        source: Box::new(Directory::new(root.join(name))),
    }
}

fn merge_of(root: &Path, names: &[&str]) -> MergeRequest {
    MergeRequest {
        inputs: names.iter().map(|name| input(root, name)).collect(),
        output: root.join("merged"),
        method: Method::First,
        conflicts: Conflicts::First,
        architectures: None,
        packages: None,
        groups: true,
        advisories: true,
        metadata: Options::default(),
        database: false,
        names: FileNames::Unique,
        at: Timestamp::from_unix_secs(1_763_632_800),
    }
}

fn merged(request: &MergeRequest) -> MergeSummary {
    mergerepo(request).unwrap()
}

/// The open text of a list of the only metadata below `directory`.
fn text(directory: &Path, list: &str) -> String {
    let path = fs::read_dir(directory.join("repodata"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.to_str().unwrap();
            name.contains(&format!("{list}."))
                && !name.ends_with(".zck")
                && !name.contains("sqlite")
        })
        .unwrap_or_else(|| panic!("no {list}"));
    let bytes = decompressed(path.to_str().unwrap(), &fs::read(&path).unwrap());
    String::from_utf8(bytes).unwrap()
}

/// Name, version and location of each package.
fn packages(primary: &str) -> BTreeSet<Vec<String>> {
    let fields = ["<name>", "<version ", "<location "];
    primary
        .split("<package ")
        .skip(1)
        .map(|package| {
            let lines = package.lines().map(str::trim);
            lines
                .filter(|line| fields.iter().any(|field| line.starts_with(field)))
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

#[test]
fn packages_are_chosen_as_mergerepo_c_chooses_them() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    for (method, options) in [
        (Method::First, &["--method=repo"][..]),
        (Method::Highest, &["--method=nvr"]),
        (Method::All, &["--all"]),
    ] {
        let mut request = merge_of(root.path(), &["a", "b"]);
        request.method = method;
        let summary = merged(&request);
        let ours = packages(&text(&request.output, "primary"));
        assert_eq!(summary.packages, ours.len());
        assert_eq!(summary.conflicts.len(), 1, "{:?}", summary.conflicts);
        for reference in Reference::all()
            .into_iter()
            .filter(Reference::writes_as_1_2)
        {
            let _ = fs::remove_dir_all(root.path().join("theirs"));
            let mut all = vec![
                "--no-database",
                "--repo=@/a",
                "--repo=@/b",
                "-o",
                "@/theirs",
            ];
            all.extend(options);
            let mut command = reference.command("mergerepo_c", root.path(), &all);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", reference.label);
            let place = format!("file://{}", root.path().display());
            let theirs =
                text(&root.path().join("theirs"), "primary").replace(&place, "file:///mnt/t");
            assert_eq!(ours, packages(&theirs), "{method:?} {}", reference.label);
        }
    }
}

#[test]
fn a_merged_repository_passes_the_check_and_its_elements_are_word_for_word() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    for (codec, zchunk) in [(Codec::ZSTD, true), (Codec::Gzip, false), (Codec::Xz, true)] {
        let mut request = merge_of(root.path(), &["b", "a"]);
        request.method = Method::All;
        request.conflicts = Conflicts::All;
        request.database = true;
        request.metadata.codec = codec;
        request.metadata.zchunk = zchunk;
        assert_eq!(merged(&request).packages, 8);
        let report = checked(&request.output);
        assert_eq!(
            codes(&report),
            ["package-duplicate-nevra", "package-elsewhere"].into()
        );
        assert!(report.passed, "{:#?}", report.findings);
        assert_eq!(report.files.len(), 6 + if zchunk { 3 } else { 0 });
        for list in ["filelists", "other"] {
            let whole = text(&request.output, list);
            for repository in ["a", "b"] {
                for element in text(&root.path().join(repository), list)
                    .split("<package ")
                    .skip(1)
                {
                    let element = element.split("</package>").next().unwrap();
                    assert!(whole.contains(element), "{list}: {element}");
                }
            }
        }
    }
    // Served from the directory above, without places written: every package is found.
    let mut request = merge_of(root.path(), &["a"]);
    request.inputs[0].base = None;
    request.method = Method::All;
    request.output = root.path().join("a");
    merged(&request);
    let report = checked(&root.path().join("a"));
    assert!(
        report.passed && report.packages_read == 4,
        "{:#?}",
        report.findings
    );
}

#[test]
fn the_order_of_the_packages_is_not_that_of_the_repositories() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    let made = |names: &[&str]| {
        let mut request = merge_of(root.path(), names);
        request.method = Method::All;
        request.conflicts = Conflicts::All;
        merged(&request);
        repomd(&request.output)
    };
    assert_eq!(made(&["a", "b"]), made(&["b", "a"]));
}

#[test]
fn packages_of_one_nevra_and_two_contents_stop_the_merge_when_asked() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    let mut request = merge_of(root.path(), &["a", "b"]);
    request.conflicts = Conflicts::Refuse;
    let Err(CreaterepoError::Duplicates(found)) = mergerepo(&request) else {
        panic!("not refused");
    };
    assert_eq!(
        (&*found[0].first, &*found[0].second),
        ("a/clash-1.rpm", "b/clash-1.rpm")
    );
    assert!(!request.output.join("repodata").exists());
    request.architectures = Some(vec!["x86_64".to_owned()]);
    assert_eq!(mergerepo(&request).unwrap().packages, 0);
}

fn add(root: &Path, record_type: &str, name: &str, text: &str) {
    let request = ModifyRequest {
        repository: root.to_owned(),
        at: now(),
    };
    let addition = Addition {
        record_type: record_type.to_owned(),
        file_name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
        codec: Codec::Gzip,
        checksum: ChecksumType::Sha256,
        names: FileNames::Unique,
        zchunk: false,
    };
    modifyrepo(&request, vec![Change::Add(addition)]).unwrap();
}

#[test]
fn groups_advisories_and_modules_are_merged_and_other_records_named() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    let doctype = "<?xml version=\"1.0\"?>\n<!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n";
    add(
        &a,
        "group",
        "comps.xml",
        &format!("{doctype}<comps><group><id>core</id><name>A</name></group></comps>"),
    );
    add(
        &b,
        "group",
        "comps.xml",
        "<comps><group><id>core</id><name>B</name></group><category><id>core</id></category></comps>",
    );
    add(
        &a,
        "updateinfo",
        "updateinfo.xml",
        "<updates><update><id>X-1</id></update></updates>",
    );
    add(
        &b,
        "updateinfo",
        "updateinfo.xml",
        "<updates><update><id>X-1</id></update><update><id>X-1</id><n/></update></updates>",
    );
    add(
        &a,
        "modules",
        "modules.yaml",
        "---\ndocument: modulemd\ndata:\n  stream: 2.10\n...\n",
    );
    add(
        &b,
        "modules",
        "modules.yaml",
        "---\ndocument: modulemd\ndata:\n  stream: 2.10\n...\n---\ndocument: modulemd-defaults\n...\n",
    );
    add(&b, "productid", "productid", "x");
    assert!(
        checked(&a).passed,
        "a comps file with a document type is no fault"
    );

    let summary = merged(&merge_of(root.path(), &["a", "b"]));
    assert_eq!(summary.left_out, [("b".to_owned(), "productid".to_owned())]);
    let merged_directory = root.path().join("merged");
    let comps = text(&merged_directory, "comps.xml");
    assert!(
        comps.contains("<name>A</name>") && !comps.contains("<name>B</name>"),
        "{comps}"
    );
    assert_eq!(comps.matches("<id>core</id>").count(), 2);
    let advisories = text(&merged_directory, "updateinfo.xml");
    assert_eq!(advisories.matches("<update>").count(), 2, "{advisories}");
    let modules = text(&merged_directory, "modules.yaml");
    assert_eq!(modules.matches("stream: 2.10\n").count(), 1, "{modules}");
    assert_eq!(modules.matches("\n...\n").count(), 2, "{modules}");
    let report = checked(&merged_directory);
    assert!(report.passed, "{:#?}", report.findings);

    let mut request = merge_of(root.path(), &["a", "b"]);
    (request.groups, request.advisories) = (false, false);
    merged(&request);
    let repomd = repomd(&merged_directory);
    assert!(!repomd.contains("\"group\"") && !repomd.contains("\"updateinfo\""));
    assert!(repomd.contains("\"modules\""));
}

/// Packages of a merged repository, as `name-version`.
fn versions_in(root: &Path) -> BTreeSet<String> {
    let primary = text(root, "primary.xml");
    let packages = primary.split("<package ").skip(1);
    let part = |package: &str, from: &str, to: &str| {
        let (_, rest) = package.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    };
    packages
        .map(|package| {
            let name = part(package, "<name>", "<");
            format!("{name}-{}", part(package, " ver=\"", "\""))
        })
        .collect()
}

/// Two streams: one of `both` in the first repository, one of `both` and `clash` in the second.
const STREAMS: [&str; 2] = [
    "---\ndocument: modulemd\ndata:\n  stream: 2.10\n  artifacts:\n    rpms:\n    - both-0:1-1.noarch\n...\n",
    "---\ndocument: modulemd\ndata:\n  stream: \"3\"\n  artifacts:\n    rpms:\n    - both-0:3-1.noarch\n    - clash-0:1-1.noarch\n...\n",
];

#[test]
fn case_41_a_merge_that_chooses_keeps_every_stream_of_a_module() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    for (name, modules) in ["a", "b"].into_iter().zip(STREAMS) {
        add(&root.path().join(name), "modules", "modules.yaml", modules);
    }
    // Of each stream all; of the others `both-2` of the first repository, and `clash-2`, which no stream has.
    for method in [Method::First, Method::Youngest, Method::Highest] {
        let mut request = merge_of(root.path(), &["a", "b"]);
        request.method = method;
        let summary = merged(&request);
        assert_eq!(
            versions_in(&request.output),
            [
                "both-1", "both-2", "both-3", "clash-1", "clash-2", "only-a-1", "only-b-1"
            ]
            .map(str::to_owned)
            .into(),
            "{method:?}"
        );
        // Of one NEVRA the first repository's, and that is told.
        assert_eq!(summary.conflicts.len(), 1, "{method:?}");
        let modules = text(&request.output, "modules.yaml");
        assert_eq!(modules, STREAMS.concat(), "{method:?}");
    }
}

#[test]
fn case_41_a_filtered_copy_keeps_the_modules_of_its_packages_to_the_byte() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    let upstream = root.path().join("b");
    add(&upstream, "modules", "modules.yaml", STREAMS[1]);
    let kept = fs::read(upstream.join("both-3.rpm")).unwrap();
    let kept = HashSet::from([repo_model::FileDigest::of(&kept).to_hex()]);
    let copy = root.path().join("copy");
    fs::create_dir(&copy).unwrap();
    MetadataWriter.rewrite(&upstream, &copy, &kept).unwrap();
    assert_eq!(versions_in(&copy), ["both-3".to_owned()].into());
    assert_eq!(text(&copy, "modules.yaml"), STREAMS[1]);
}

#[test]
fn a_repository_without_filelists_merges_and_the_lists_agree() {
    let root = tempfile::tempdir().unwrap();
    two(root.path());
    let path = root.path().join("a/repodata/repomd.xml");
    let repomd = fs::read_to_string(&path).unwrap();
    let start = repomd.find("  <data type=\"filelists\">").unwrap();
    let end = start + repomd[start..].find("</data>\n").unwrap() + "</data>\n".len();
    fs::write(&path, format!("{}{}", &repomd[..start], &repomd[end..])).unwrap();
    let request = merge_of(root.path(), &["a", "b"]);
    merged(&request);
    let report = checked(&request.output);
    assert!(report.passed, "{:#?}", report.findings);
}

#[test]
fn what_is_damaged_or_hostile_is_refused_with_repository_and_file() {
    let root = tempfile::tempdir().unwrap();
    for (name, what, wanted) in [
        ("href", "p00-1.noarch.rpm", "does not stay below the root"),
        ("epoch", "epoch=\"0\" ver", "the epoch `x` is no number"),
        ("checksum", "summary>", "checksum"),
        ("namespace", "metadata/rpm\"", "unknown namespace"),
    ] {
        let directory = root.path().join(name);
        fs::create_dir_all(&directory).unwrap();
        fill(&directory, 1);
        run(&with_codec(&directory, Codec::None)).unwrap();
        let path = file(&directory, "-primary.xml");
        let old = fs::read_to_string(&path).unwrap();
        assert!(old.contains(what), "{name}: {old}");
        let to = match name {
            "href" => "../../../p00-1.noarch.rpm",
            "epoch" => "epoch=\"x\" ver",
            "checksum" => "summarY>",
            _ => "metadata/bad\"",
        };
        let new = old.replace(what, to);
        fs::write(&path, &new).unwrap();
        if name != "checksum" {
            // All sums are right: only the text is bad.
            let digest = |text: &str| repo_model::FileDigest::of(text.as_bytes()).to_hex();
            let repomd = repomd(&directory)
                .replace(
                    &format!(">{}<", digest(&old)),
                    &format!(">{}<", digest(&new)),
                )
                .replace(
                    &format!("<size>{}<", old.len()),
                    &format!("<size>{}<", new.len()),
                );
            fs::write(directory.join("repodata/repomd.xml"), repomd).unwrap();
        }
        let request = merge_of(root.path(), &[name]);
        let error = mergerepo(&request).unwrap_err();
        let mut chain = error.to_string();
        let mut next = std::error::Error::source(&error);
        while let Some(cause) = next {
            chain.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        assert!(
            chain.contains(wanted) && chain.contains("primary.xml"),
            "{name}: {chain}"
        );
        assert!(chain.contains(&format!("cannot merge {name}")), "{chain}");
        assert!(!request.output.join("repodata").exists());
    }
}
