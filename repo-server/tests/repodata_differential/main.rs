//! Field by field against createrepo_c, on every real package it accepts, on packages that rpmbuild makes to be
//! difficult, and on made-up ones by the hundred (`generated`).
//!
//! Run against every createrepo_c there is: this machine's (`CREATEREPO_C` names another), PyPI's, and the
//! client root's.
//!
//! Deliberate differences, all asserted below:
//!
//! | what | createrepo_c | here |
//! |---|---|---|
//! | arch of a `.nosrc.rpm` | `src` | `nosrc`, as the file is named |
//! | changelog dates after 2038-01-19 on one day | all equal (32-bit arithmetic) | a second apart |
//! | text that is not UTF-8 | read as Latin-1, bytes 0x80-0xBF lost | read as Latin-1, nothing lost |
//! | archive size of rpm 6 packages | 0 | what the header says (PAYLOADSIZEALT) |
//! | provides of rpm 3 packages | librpm 4 adds the own one, librpm 6 loses those without a version | as in the header |
//! | dependency with an epoch that is no number | dropped with a warning | the package is refused |
//! | `pre` for %pretrans, %posttrans | since 1.0 | always |
//! | control characters | the package is dropped | the package is refused |
//! | `<time file=>` | mtime of the file | when a release first held the file |

mod generated;
#[path = "../repodata_support/mod.rs"]
mod repodata_support;

use quick_xml::events::{BytesStart, Event};
use repo_model::rpm::{Head, Package};
use repo_model::{FileDigest, Timestamp};
use repo_server::repodata::{Codec, Entry, NoFrameCache, build, sort};
use repodata_support::reference::{Reference, characters};
use repodata_support::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

const FILES: [&str; 3] = ["primary", "filelists", "other"];

/// A file's packages by pkgid, each as a list of lines: path, attributes, text.
type Flat = BTreeMap<String, Vec<String>>;

fn flatten(xml: &str) -> Flat {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut flat = Flat::new();
    let (mut path, mut texts, mut lines): (Vec<String>, Vec<String>, Vec<String>) =
        Default::default();
    let mut pkgid = String::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                open(&start, &mut path, &mut lines, &mut pkgid);
                texts.push(String::new());
            }
            Event::Empty(start) => {
                open(&start, &mut path, &mut lines, &mut pkgid);
                path.pop();
            }
            Event::Text(text) => {
                if let Some(content) = texts.last_mut() {
                    content.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref().unwrap() {
                    Some(character) => character.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&reference)
                        .unwrap()
                        .to_owned(),
                };
                texts.last_mut().unwrap().push_str(&resolved);
            }
            Event::End(_) => {
                let text = texts.pop().unwrap();
                if !text.trim().is_empty() {
                    lines.push(format!("{} = {text}", path.join("/")));
                    if path.last().is_some_and(|name| name == "checksum") {
                        pkgid = text;
                    }
                }
                if path.pop().is_some_and(|name| name == "package") {
                    let duplicate =
                        flat.insert(std::mem::take(&mut pkgid), std::mem::take(&mut lines));
                    assert!(duplicate.is_none());
                }
            }
            Event::Eof => return flat,
            _ => {}
        }
    }
}

fn open(
    start: &BytesStart<'_>,
    path: &mut Vec<String>,
    lines: &mut Vec<String>,
    pkgid: &mut String,
) {
    path.push(start.name().as_ref().to_owned());
    let attributes: Vec<(String, String)> = start
        .attributes()
        .map(|attribute| {
            let attribute = attribute.unwrap();
            let value = quick_xml::escape::unescape(&attribute.value)
                .unwrap()
                .into_owned();
            (attribute.key.as_ref().to_owned(), value)
        })
        .collect();
    if path.len() == 1 {
        return;
    }
    if let Some((_, id)) = attributes
        .iter()
        .find(|(name, _)| name == "pkgid")
        .filter(|(_, id)| id != "YES")
    {
        *pkgid = id.clone();
    }
    lines.push(format!("{} {attributes:?}", path.join("/")));
}

/// Runs createrepo_c over a directory and returns its three files.
fn createrepo_c(tool: &Reference, directory: &Path) -> [String; 3] {
    let output = tool
        .command(
            "createrepo_c",
            directory,
            &["--quiet", "--no-database", "--simple-md-filenames", "@"],
        )
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    FILES.map(|file| {
        let found = ["zst", "gz"].into_iter().find_map(|suffix| {
            let name = format!("{file}.xml.{suffix}");
            let bytes = fs::read(directory.join("repodata").join(&name)).ok()?;
            Some(decompressed(&name, &bytes))
        });
        String::from_utf8(found.unwrap_or_else(|| panic!("no {file}"))).unwrap()
    })
}

/// Our metadata of all packages under a directory that createrepo_c accepted.
fn ours(directory: &Path, accepted: &str) -> [String; 3] {
    let mut entries = Vec::new();
    let mut packages = Packages::new();
    for path in rpms_below(directory) {
        let bytes = fs::read(&path).unwrap();
        let file_digest = FileDigest::of(&bytes);
        if !accepted.contains(&file_digest.to_hex()) {
            eprintln!("not accepted by createrepo_c: {}", path.display());
            continue;
        }
        let head =
            Head::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let package =
            Package::from_head(&head).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.push(Entry {
            nevra: package.nevra.clone().into(),
            file_digest,
            sha512: None,
            file_size_bytes: bytes.len() as u64,
            href: path
                .strip_prefix(directory)
                .unwrap()
                .to_str()
                .unwrap()
                .parse()
                .unwrap(),
            added_at: Timestamp::from_unix_secs(PUBLISHED),
        });
        packages.insert(file_digest, package);
    }
    sort(&mut entries);
    let repodata = build(
        &inputs(&entries, &packages, &NoFrameCache, 2),
        &options(Codec::None),
        Timestamp::from_unix_secs(PUBLISHED),
    )
    .unwrap();
    FILES.map(|file| String::from_utf8(file_of(&repodata, file).to_vec()).unwrap())
}

fn rpms_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rpms_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies packages into `into` with the mtime that our entries say, so that `<time file=>` agrees.
fn copy_rpms(from: &Path, into: &Path) {
    for path in rpms_below(from) {
        let target = into.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
        let mtime = UNIX_EPOCH + Duration::from_secs(PUBLISHED as u64);
        File::options()
            .write(true)
            .open(&target)
            .unwrap()
            .set_modified(mtime)
            .unwrap();
    }
}

/// Compares line by line; `allowed` says whether a differing pair is a deliberate difference, `alone` whether a line of
/// a package (all of its lines) may be on one side only. Returns the deliberate ones met.
fn compare(
    theirs: &[String; 3],
    ours: &[String; 3],
    allowed: impl Fn(&str, &str) -> bool,
    alone: impl Fn(&[String], &str) -> bool,
) -> Vec<(String, String)> {
    let mut deliberate = Vec::new();
    let mut faults = Vec::new();
    for ((file, theirs), ours) in FILES.iter().zip(theirs).zip(ours) {
        let (theirs, ours) = (flatten(theirs), flatten(ours));
        assert!(theirs.keys().eq(ours.keys()), "{file}: other packages");
        for (pkgid, theirs) in &theirs {
            let ours = &ours[pkgid];
            if theirs.len() != ours.len() {
                let missing = theirs.iter().filter(|line| !ours.contains(line));
                let extra = ours.iter().filter(|line| !theirs.contains(line));
                let told = |line: &&String| alone(ours, line);
                let (told_missing, missing): (Vec<_>, Vec<_>) = missing.partition(told);
                let (told_extra, extra): (Vec<_>, Vec<_>) = extra.partition(told);
                let met = told_missing
                    .into_iter()
                    .map(|line| (line.clone(), String::new()));
                deliberate.extend(met);
                let met = told_extra
                    .into_iter()
                    .map(|line| (String::new(), line.clone()));
                deliberate.extend(met);
                if missing.is_empty() && extra.is_empty() {
                    continue;
                }
                faults.push(format!(
                    "{file} {pkgid}: only createrepo_c: {missing:#?}, only we: {extra:#?}"
                ));
                continue;
            }
            for (theirs, ours) in theirs
                .iter()
                .zip(ours)
                .filter(|(theirs, ours)| theirs != ours)
            {
                if allowed(theirs, ours) {
                    deliberate.push((theirs.clone(), ours.clone()));
                } else {
                    faults.push(format!(
                        "{file} {pkgid}:\n  createrepo_c: {theirs}\n  we:           {ours}"
                    ));
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} differences:\n{}",
        faults.len(),
        faults.join("\n")
    );
    deliberate
}

fn lost_latin1(theirs: &str, ours: &str) -> bool {
    let kept: String = ours
        .chars()
        .filter(|c| !('\u{80}'..='\u{bf}').contains(c))
        .collect();
    kept == theirs
}

fn is_archive_size_of_v6(theirs: &str, ours: &str) -> bool {
    let without = |line: &str| line.split(" (\"archive\"").next().map(str::to_owned);
    theirs.contains("package/size ")
        && theirs.ends_with("(\"archive\", \"0\")]")
        && without(theirs) == without(ours)
}

/// Below createrepo_c, librpm 4 adds a package's own provide where an rpm 3 package has none, and librpm 6 loses provides
/// without a version.
fn is_provide_of_v3(package: &[String], line: &str) -> bool {
    package.iter().any(|line| line == "metadata/package/name = popt")
        && line.starts_with("metadata/package/format/rpm:provides")
        && [
            "rpm:provides []",
            "[(\"name\", \"libpopt.so.0\")]",
            "[(\"name\", \"popt\"), (\"flags\", \"EQ\"), (\"epoch\", \"0\"), (\"ver\", \"1.5\"), (\"rel\", \"4x\")]",
        ]
        .iter()
        .any(|end| line.ends_with(end))
}

/// createrepo_c before 1.0 marks no requirement of %pretrans and %posttrans.
fn is_pre_of_trans(tool: &Reference, theirs: &str, ours: &str) -> bool {
    !tool.writes_as_1_2()
        && ["at-pretrans", "at-posttrans", "foog", "fooh"]
            .iter()
            .any(|name| theirs.contains(name))
        && ours.replace(", (\"pre\", \"1\")", "") == theirs
}

#[test]
fn every_real_package_gets_the_metadata_that_createrepo_c_gives_it() {
    let Some(rpms) = real_packages() else { return };
    for tool in Reference::all() {
        compare_real_packages(&tool, &rpms);
    }
}

fn compare_real_packages(tool: &Reference, rpms: &Path) {
    let directory = tempfile::tempdir().unwrap();
    for format in ["v3", "v4", "v6"] {
        copy_rpms(&rpms.join(format), &directory.path().join(format));
    }
    let theirs = createrepo_c(tool, directory.path());
    let ours = ours(directory.path(), &theirs[0]);
    let same = |theirs: &str, ours: &str| {
        lost_latin1(theirs, ours)
            || is_archive_size_of_v6(theirs, ours)
            || is_pre_of_trans(tool, theirs, ours)
    };
    let deliberate = compare(&theirs, &ours, same, is_provide_of_v3);
    assert!(
        ours[0].contains("<name>popt</name>") && ours[0].contains("<name>simplestRPMv3</name>")
    );
    let count = ours[0].matches("<package ").count();
    let label = &tool.label;
    eprintln!("{label}: {count} packages compared; deliberate differences: {deliberate:#?}");
    assert!(count >= 50, "only {count} packages were compared");
    if tool.writes_as_1_2() {
        let theirs = theirs.each_ref().map(|text| characters(text));
        let bytes_differ = differing_packages(&theirs, &ours);
        assert!(
            bytes_differ <= deliberate.len(),
            "{bytes_differ} packages differ in bytes"
        );
    }
}

/// How many pieces for one package differ in bytes, over all three files. The order of packages is
/// another, theirs being by path.
fn differing_packages(theirs: &[String; 3], ours: &[String; 3]) -> usize {
    fn pieces(xml: &str) -> BTreeSet<&str> {
        let body = xml.rsplit_once("</").map_or(xml, |(body, _)| body);
        body.split_inclusive("</package>\n")
            .map(|piece| piece.split_once("<package ").unwrap().1)
            .collect()
    }
    let differing = theirs
        .iter()
        .zip(ours)
        .map(|(theirs, ours)| pieces(theirs).difference(&pieces(ours)).count());
    differing.sum()
}

/// A package that has one of everything that the rules are about.
const DIFFICULT_SPEC: &str = r#"
Name: difficult
Epoch: 0
Version: 1.0~rc1
Release: 2^git
Summary: A <difficult> & "quoted" package's é
License: MIT
URL: https://example.org/?a=1&b=2
Source0: payload.bin
NoSource: 0
BuildArch: noarch
Provides: difficult(cap) = 7:1.0-3
Provides: difficult(low) < 2
Requires: difficult(cap) = 7:1.0-3
Requires: difficult(cap) >= 7:1.0-3
Requires: /usr/bin/difficult
Requires: /usr/share/difficult/data
Requires: /etc/foreign
Requires: libc.so.6(GLIBC_2.4)(64bit)
Requires: libc.so.6()(64bit)
Requires: libc.so.6(GLIBC_2.34)(64bit)
Requires: libm.so.6
Requires: (one >= 2 if two < 3 else (three and four))
Requires: plain, plain, plain >= 1, plain
Requires: epoched > 3:4.5-6
Requires(pre): at-pre
Requires(post): at-post
Requires(preun): at-preun
Requires(postun): at-postun
Requires(pretrans): at-pretrans
Requires(posttrans): at-posttrans
Requires(pre): plain
Conflicts: other < 1:2
Obsoletes: older <= 3-4
Suggests: suggested
Enhances: enhanced
Recommends: (recommended with rich)
Supplements: supplemented = 1
%description
  Indented, with a	tab, <markup> & an &amp;.

Last line.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/difficult %{buildroot}/etc/difficult %{buildroot}/usr/lib %{buildroot}/var/log
echo x > %{buildroot}/usr/bin/difficult
echo x > %{buildroot}/usr/share/difficult/data
echo x > "%{buildroot}/usr/share/difficult/a & b <c>.txt"
echo x > %{buildroot}/etc/difficult/difficult.conf
echo x > %{buildroot}/var/log/difficult.log
ln -s ../bin/difficult %{buildroot}/usr/lib/sendmail
%files
/usr/bin/difficult
%dir /usr/share/difficult
/usr/share/difficult/data
"/usr/share/difficult/a & b <c>.txt"
%ghost %dir /etc/difficult
%config /etc/difficult/difficult.conf
%ghost /var/log/difficult.log
/usr/lib/sendmail
%changelog
* Mon Jan 02 2040 Far <f@example.org> - 1.0-14
- same day, newest
* Mon Jan 02 2040 Far <f@example.org> - 1.0-13
- same day
* Mon Jan 02 2040 Far <f@example.org> - 1.0-12
- same day, oldest
* Wed Nov 05 2025 Jane <j@example.org>  - 1.0-11
- c
* Wed Nov 05 2025 Jane <j@example.org> - 1.0-10
- b
* Wed Nov 05 2025 Jane <j@example.org> - 1.0-9
- a "quoted" & <tagged>
  second line
* Tue Nov 04 2025 Jane <j@example.org> - 1.0-8
- 8
* Mon Nov 03 2025 Jane <j@example.org> - 1.0-7
- 7
* Mon Nov 03 2025 Jane <j@example.org> - 1.0-6
- 6
* Fri Oct 31 2025 Jane <j@example.org> - 1.0-5
- 5
* Fri Oct 31 2025 Jane <j@example.org> - 1.0-4
- 4, beyond the limit
* Thu Oct 30 2025 Jane <j@example.org> - 1.0-3
- 3, beyond the limit
"#;

#[test]
fn a_difficult_package_differs_from_createrepo_c_only_where_that_is_wrong() {
    if !has_tool("rpmbuild") {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let spec = top.path().join("difficult.spec");
    fs::write(&spec, DIFFICULT_SPEC).unwrap();
    fs::create_dir(top.path().join("SOURCES")).unwrap();
    fs::write(top.path().join("SOURCES/payload.bin"), "x").unwrap();
    let output = Command::new("rpmbuild")
        .args([
            "-ba",
            "--nodeps",
            "--define",
            &format!("_topdir {}", top.path().display()),
        ])
        .arg(&spec)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for tool in Reference::all() {
        compare_difficult_packages(&tool, top.path());
    }
}

fn compare_difficult_packages(tool: &Reference, top: &Path) {
    let directory = tempfile::tempdir().unwrap();
    for built in ["RPMS", "SRPMS"] {
        copy_rpms(&top.join(built), directory.path());
    }
    let theirs = createrepo_c(tool, directory.path());
    let ours = ours(directory.path(), &theirs[0]);
    assert_eq!(
        ours[0].matches("<package ").count(),
        2,
        "one noarch and one nosrc package"
    );
    let is_nosrc =
        |theirs: &str, ours: &str| ours.contains("nosrc") && ours.replace("nosrc", "src") == theirs;
    let is_beyond_2038 = |theirs: &str, ours: &str| {
        let without_date = |line: &str| line.split("\"date\"").next().map(str::to_owned);
        ours.contains("Far <f@example.org>") && without_date(theirs) == without_date(ours)
    };
    let same = |theirs: &str, ours: &str| {
        is_nosrc(theirs, ours)
            || is_beyond_2038(theirs, ours)
            || is_pre_of_trans(tool, theirs, ours)
    };
    let deliberate = compare(&theirs, &ours, same, |_, _| false);
    // nosrc: once in each file; 2038: the two newer entries of that day, in each package's changelog.
    let expected = 3 + 2 * 2 + if tool.writes_as_1_2() { 0 } else { 2 };
    assert_eq!(deliberate.len(), expected, "{deliberate:#?}");
}
