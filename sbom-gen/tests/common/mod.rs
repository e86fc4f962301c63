//! What the tests share: packages made on the spot with known contents, and options.
#![allow(dead_code)] // each test binary uses a part

pub mod elf;
pub mod validators;

use repo_model::Timestamp;
use repo_model::buildinfo::BuildInfo;
use rpm::{BuildConfig, Dependency, FileOptions, PackageBuilder};
use sbom_gen::{
    IndexFile, Inventory, Member, Options, Release, ReleaseBuilder, ReleaseInfo, SbomError,
    Supplier,
};
use std::path::PathBuf;

/// Build time of every package made here.
pub const BUILT: u32 = 1_700_000_000;

pub fn options() -> Options {
    let supplier = Supplier::new(
        "Example Linux",
        "https://linux.example",
        "security@linux.example",
    );
    Options::new("example", supplier, "https://repo.example/sbom")
}

pub fn inventory(rpm: &[u8]) -> Result<Inventory, SbomError> {
    sbom_gen::inventory(rpm, &options())
}

pub fn document(format: &str, inventory: &Inventory, options: &Options) -> String {
    let mut out = Vec::new();
    let format = sbom_gen::format_named(format).unwrap();
    format.write(inventory, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

pub fn bytes(builder: &mut PackageBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.build().unwrap().write(&mut bytes).unwrap();
    bytes
}

/// A builder with fixed time and uncompressed payload, so that bytes can be changed in place.
pub fn builder(name: &str, config: BuildConfig) -> PackageBuilder {
    let mut builder = PackageBuilder::new(name, "1.2.3", "GPLv2+ and BSD", "x86_64", "A fixture");
    builder.using_config(
        config
            .source_date(BUILT)
            .compression(rpm::CompressionWithLevel::None),
    );
    builder.release("4.el10").build_host("localhost");
    builder
}

/// One package that holds a component of every kind, in the version 4 format.
///
/// Its parts: Go modules `golang.org/x/net` v0.30.0 and `github.com/new/thing` v1.1.0 (replacing
/// another) and the standard library; crates `serde` and, for the build only, `cc`; the rpm
/// `musl`, linked in; crates `memchr` and `md-5`, of which only panic messages are left; maven
/// `slf4j-api` and, in a jar within, `inner`; gem `rack`; composer `monolog`; generic `libpng`,
/// says a wheel; what lists of vendored code name: `anyhow`, `local`, `golang.org/x/text`,
/// `a.example/c`; npm `left-pad`; pypi `vendored`; and what `bundled()` declares: zlib, and
/// golang.org/x/net in a version that is not the one seen. Itself it is npm `fixture`, pypi
/// `fixture`, Go module `example.com/fixture` and crate `fixture`.
pub fn fixture() -> Vec<u8> {
    let mut builder = builder("fixture", BuildConfig::v4());
    let site = "/usr/lib/python3.12/site-packages";
    let modules = "/usr/lib/node_modules/fixture";
    let files: Vec<(String, Vec<u8>)> = vec![
        ("/usr/bin/go-tool".into(), elf::go_since_1_18(GO_MODULES)),
        (
            "/usr/bin/old-go-tool".into(),
            elf::go_before_1_18("mod\texample.com/old\tv1.2.3\t\n"),
        ),
        (
            "/usr/bin/rust-tool".into(),
            elf::with_sections(&[(".dep-v0", elf::zlib(CRATES))]),
        ),
        (
            "/usr/lib64/libfixture.so.1".into(),
            elf::noted(MUSL_NOTE, &[0xab; 20]),
        ),
        (
            "/usr/lib64/libown.so.1".into(),
            elf::noted(OWN_NOTE, &[0xcd; 20]),
        ),
        (
            format!("{site}/fixture-1.2.3.dist-info/METADATA"),
            metadata("Fixture", "1.2.3"),
        ),
        (
            format!("{site}/_vendor/vendored-0.9.dist-info/METADATA"),
            metadata("Vendored", "0.9"),
        ),
        (format!("{modules}/package.json"), npm("fixture", "1.2.3")),
        (
            format!("{modules}/node_modules/left-pad/package.json"),
            npm("left-pad", "1.3.0"),
        ),
        ("/usr/bin/plain-rust-tool".into(), elf::with_sections(&[(".rodata", PANICS.to_vec())])),
        (
            format!("{site}/_vendor/vendored-0.9.dist-info/sboms/libs.cdx.json"),
            br#"{"bomFormat":"CycloneDX","components":[{"name":"a","components":[{"purl":"pkg:generic/libpng@1.6.43"}]}]}"#.to_vec(),
        ),
        ("/usr/share/java/app.jar".into(), elf::jar(&[
            ("META-INF/maven/org.slf4j/slf4j-api/pom.properties", b"#x\nversion=2.0.9\ngroupId=org.slf4j\nartifactId=slf4j-api\n".to_vec()),
            ("BOOT-INF/lib/inner.jar", elf::jar(&[(
                "META-INF/maven/com.acme/inner/pom.properties",
                b"groupId=com.acme\nartifactId=inner\nversion=3.1\n".to_vec(),
            )])),
        ])),
        (
            "/usr/share/gems/specifications/rack-3.0.8.gemspec".into(),
            b"Gem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"3.0.8\"\n  s.licenses = [\"MIT\".freeze]\nend\n".to_vec(),
        ),
        (
            "/usr/share/app/vendor/composer/installed.json".into(),
            br#"{"packages":[{"name":"monolog/monolog","version":"3.5.0","license":["MIT"]}]}"#.to_vec(),
        ),
        ("/usr/share/licenses/fixture/cargo-vendor.txt".into(), b"anyhow v1.0.80\nlocal v0.1.0 (/x)\n".to_vec()),
        (
            "/usr/share/licenses/fixture/modules.txt".into(),
            b"# golang.org/x/text v0.14.0\n## explicit\ngolang.org/x/text/unicode\n# a.example/b v1.0.0 => a.example/c v1.1.0\n".to_vec(),
        ),
        (
            "/usr/share/doc/fixture/README".into(),
            b"Read me.\n".to_vec(),
        ),
    ];
    add_files(&mut builder, files);
    builder
        .with_symlink(FileOptions::symlink(
            "/usr/lib64/libfixture.so",
            "libfixture.so.1",
        ))
        .unwrap();
    builder
        .with_ghost(FileOptions::ghost("/var/log/fixture.log"))
        .unwrap();
    builder.provides(Dependency::eq("bundled(zlib)", "1.3.1"));
    builder.provides(Dependency::eq(
        "bundled(golang(golang.org/x/net))",
        "0.29.0",
    ));
    builder.provides(Dependency::eq("python3dist(fixture)", "1.2.3"));
    builder.provides(Dependency::eq("npm(fixture)", "1.2.3"));
    builder.requires(Dependency::greater_eq("libc.so.6(GLIBC_2.34)(64bit)", "2"));
    builder
        .url("https://fixture.example/")
        .vendor("Example (Vendor)");
    bytes(&mut builder)
}

/// What is inside [`fixture`], sorted.
pub const KNOWN: &[&str] = &[
    "pkg:cargo/anyhow@1.0.80",
    "pkg:cargo/cc@1.0.1",
    "pkg:cargo/local@0.1.0",
    "pkg:cargo/md-5@0.10.6",
    "pkg:cargo/memchr@2.7.1",
    "pkg:cargo/serde@1.0.200",
    "pkg:composer/monolog/monolog@3.5.0",
    "pkg:gem/rack@3.0.8",
    "pkg:generic/libpng@1.6.43",
    "pkg:generic/zlib@1.3.1",
    "pkg:golang/a.example/c@v1.1.0",
    "pkg:golang/github.com/new/thing@v1.1.0",
    "pkg:golang/golang.org/x/net@v0.29.0",
    "pkg:golang/golang.org/x/net@v0.30.0",
    "pkg:golang/golang.org/x/text@v0.14.0",
    "pkg:golang/stdlib@1.15.15",
    "pkg:golang/stdlib@1.23.4",
    "pkg:maven/com.acme/inner@3.1",
    "pkg:maven/org.slf4j/slf4j-api@2.0.9",
    "pkg:npm/left-pad@1.3.0",
    "pkg:pypi/vendored@0.9",
    "pkg:rpm/fedora/musl@1.2.5-1.fc41",
];

fn add_files(builder: &mut PackageBuilder, files: Vec<(String, Vec<u8>)>) {
    for (path, content) in files {
        builder
            .with_file_contents(content, FileOptions::new(path).permissions(0o644))
            .unwrap();
    }
}

/// Further forms of what [`fixture`] has: archives in archives, shaded jars, wheels, eggs of every kind, default and
/// vendored gems, lists of older tools.
pub fn nested() -> Vec<u8> {
    let mut builder = builder("nested", BuildConfig::v6());
    let site = "/usr/lib/python3.9/site-packages";
    let modules = "/usr/lib/node_modules/nested/node_modules";
    let pom = |artifact: &str, version: &str| {
        format!("version={version}\ngroupId=com.acme\nartifactId={artifact}\n").into_bytes()
    };
    let shaded = elf::jar(&[
        (
            "META-INF/maven/com.acme/one/pom.properties",
            pom("one", "1.1"),
        ),
        (
            "META-INF/maven/com.acme/two/pom.properties",
            pom("two", "1.2"),
        ),
    ]);
    let deep = elf::jar(&[(
        "META-INF/maven/com.acme/deep/pom.properties",
        pom("deep", "1.0"),
    )]);
    let web = elf::jar(&[("WEB-INF/lib/deep.jar", deep)]);
    let gem = |name: &str, version: &str| {
        format!("Gem::Specification.new do |s|\n  s.name = \"{name}\"\n  s.version = \"{version}\"\nend\n")
            .into_bytes()
    };
    let files = [
        (
            "/usr/share/app/app.ear".to_owned(),
            elf::jar(&[("web.war", web), ("lib/shaded.jar", shaded), ("notes.rar", b"Rar!".to_vec())]),
        ),
        (format!("{site}/legacy-1.4-py3.9.egg-info"), metadata("Legacy", "1.4")),
        (format!("{site}/older-2.0.egg-info/PKG-INFO"), metadata("Older", "2.0")),
        (format!("{site}/opened-0.4-py3.9.egg/EGG-INFO/PKG-INFO"), metadata("Opened", "0.4")),
        (
            format!("{site}/zipped-0.3-py3.9.egg"),
            elf::jar(&[("EGG-INFO/PKG-INFO", metadata("Zipped", "0.3"))]),
        ),
        (
            "/usr/lib/python3.9/ensurepip/_bundled/pip-24.0-py3-none-any.whl".to_owned(),
            elf::jar(&[
                ("pip/__init__.py", b"".to_vec()),
                ("pip-24.0.dist-info/METADATA", metadata("pip", "24.0")),
            ]),
        ),
        (
            format!("{site}/crypt-1.0.dist-info/sboms/auditwheel.spdx.json"),
            br#"{"packages":[{"externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:generic/openssl@3.0.13"}]}]}"#
                .to_vec(),
        ),
        (format!("{modules}/@scope/inner/package.json"), npm("@scope/inner", "4.0.0")),
        (
            format!("{modules}/.package-lock.json"),
            br#"{"lockfileVersion":3,"packages":{
                "node_modules/@scope/inner":{"version":"4.0.0"},
                "node_modules/a/node_modules/alias":{"name":"listed","version":"5.0.0"},
                "node_modules/only-for-tests":{"version":"6.0.0","dev":true},
                "node_modules/elsewhere":{"resolved":"../elsewhere","link":true}}}"#
                .to_vec(),
        ),
        ("/usr/share/gems/specifications/default/json-2.7.1.gemspec".to_owned(), gem("json", "2.7.1")),
        (
            "/usr/share/app/vendor/bundle/ruby/3.2.0/specifications/rack-2.2.8.gemspec".to_owned(),
            gem("rack", "2.2.8"),
        ),
        (
            "/usr/share/app/vendor/composer/installed.json".to_owned(),
            br#"[{"name":"psr/log","version":"1.1.4"}]"#.to_vec(),
        ),
        (
            "/usr/lib64/app/App.deps.json".to_owned(),
            br#"{"runtimeTarget":{"name":".NETCoreApp,Version=v8.0"},"libraries":{
                "App/1.0.0":{"type":"project","serviceable":false,"sha512":""},
                "Newtonsoft.Json/13.0.3":{"type":"package","serviceable":true,"sha512":"sha512-x"}}}"#
                .to_vec(),
        ),
        (
            "/usr/bin/older-rust-tool".to_owned(),
            elf::with_sections(&[(
                ".rodata",
                b"/root/.cargo/registry/src/github.com-1ecc6299db9ec823/libc-0.2.100/src/unix.rs".to_vec(),
            )]),
        ),
    ];
    add_files(&mut builder, files.into());
    bytes(&mut builder)
}

/// What is inside [`nested`], sorted.
pub const NESTED: &[&str] = &[
    "pkg:cargo/libc@0.2.100",
    "pkg:composer/psr/log@1.1.4",
    "pkg:gem/json@2.7.1",
    "pkg:gem/rack@2.2.8",
    "pkg:generic/openssl@3.0.13",
    "pkg:maven/com.acme/deep@1.0",
    "pkg:maven/com.acme/one@1.1",
    "pkg:maven/com.acme/two@1.2",
    "pkg:npm/%40scope/inner@4.0.0",
    "pkg:npm/listed@5.0.0",
    "pkg:nuget/Newtonsoft.Json@13.0.3",
    "pkg:pypi/legacy@1.4",
    "pkg:pypi/older@2.0",
    "pkg:pypi/opened@0.4",
    "pkg:pypi/pip@24.0",
    "pkg:pypi/zipped@0.3",
];

/// One build, as read: its source package, and two packages that share parts.
pub fn build(options: &Options) -> (Inventory, Vec<Inventory>) {
    let read = |rpm: &[u8]| sbom_gen::inventory(rpm, options).unwrap();
    let mut source = builder("fixture", BuildConfig::v4());
    for name in ["/fixture.spec", "/fixture-1.2.3.tar.gz", "/fix.patch"] {
        source
            .with_file_contents(name, FileOptions::new(name))
            .unwrap();
    }
    let mut source = read(&bytes(&mut source));
    // What makes it a source package; the builder makes none.
    source.package.is_source = true;
    source.package.nevra.arch = "src".to_owned();
    source.package.source_rpm = None;
    source.package.sources = vec!["fixture-1.2.3.tar.gz".to_owned()];
    source.package.patches = vec!["fix.patch".to_owned()];
    let url = "https://fixture.example/releases/fixture-1.2.3.tar.gz".to_owned();
    let file = "fixture-1.2.3.tar.gz".to_owned();
    source.source_urls.insert(file, url);
    let mut library = builder("fixture-libs", BuildConfig::v4());
    library.provides(Dependency::eq("bundled(zlib)", "1.3.1"));
    let mut packages = vec![read(&fixture()), read(&bytes(&mut library))];
    for package in &mut packages {
        package.package.source_rpm = Some(source.package.nevra.file_name());
    }
    (source, packages)
}

/// How the build was made: the toolchain of a build root of rpm packages, one of which is locked.
pub fn build_info(source: &Inventory) -> BuildInfo {
    let digest = "ab".repeat(32);
    let package = &source.package;
    let info = serde_json::json!({
        "schema": repo_model::buildinfo::SCHEMA,
        "source": {
            "nevra": package.nevra.to_string(), "sha256": digest,
            "header_sha256": package.header_digest.to_hex(),
        },
        "rpmbuild": {"version": "4.18.0", "mode": "rebuild", "argv": ["--nodeps"], "target": "x86_64"},
        "macros": {"file_sha256": digest, "text": "", "evaluated": {}},
        "time": {"source_date_epoch": BUILT, "origin": "changelog", "mtime_policy": "clamp"},
        "env": {}, "machine": {"arch": "x86_64", "kernel": "6", "ncpu": 2, "page_size": 4096},
        "identity": {"hostname": "secret-host", "uid": 1, "gid": 1, "user": "u", "umask": "0022"},
        "buildroot": {
            "kind": "host", "lock_sha256": digest, "installer": "rpm", "packages": 3,
            "toolchain": ["gcc 14.2.1-3.el10 x86_64", "binutils 2.41-1.el10 x86_64", "perl 4:5.40-1 x86_64"],
            "locked": [{
                "nevra": "perl-4:5.40-1.x86_64", "sha256": "cd".repeat(32), "header_sha256": "ef".repeat(32),
                "size_bytes": 1, "signer": "0123abcd",
                "urls": ["cache:perl", "https://mirror.example/perl-5.40-1.x86_64.rpm"],
            }],
        },
        "sandbox": {"kind": "bwrap", "version": "0.8", "network": "none", "build_path": "/b", "limits": "weak"},
        "outputs": [],
    });
    BuildInfo::from_json(info.to_string().as_bytes()).unwrap()
}

/// A release of these.
pub fn release(members: Vec<Member>, options: &Options) -> Release {
    let info = ReleaseInfo {
        name: "Example Linux".to_owned(),
        version: Some("42".to_owned()),
        cpe: Some("cpe:/o:example:linux:42".to_owned()),
        repository_url: Some("https://repo.example/42/".to_owned()),
        created: None,
        index: Some(IndexFile::new("repodata/repomd.xml", b"<repomd/>")),
    };
    let mut builder = ReleaseBuilder::new(info, options);
    for member in members {
        builder.add(member).unwrap();
    }
    builder.finish()
}

const GO_MODULES: &str = "path\texample.com/fixture\nmod\texample.com/fixture\t(devel)\t\n\
    dep\tgolang.org/x/net\tv0.30.0\th1:AcW1SDZMkb8IpzCdQUaIq2sP4sZ4zw+55h6ynffypl4=\n\
    dep\tgithub.com/Old/Thing\tv1.0.0\n=>\tgithub.com/new/thing\tv1.1.0\th1:abc=\n";
const CRATES: &str = r#"{"packages":[
    {"name":"cc","version":"1.0.1","source":"crates.io","kind":"build"},
    {"name":"fixture","version":"1.2.3","source":"local","dependencies":[0,2],"root":true},
    {"name":"serde","version":"1.0.200","source":"crates.io"}]}"#;
const PANICS: &[u8] = b"\0/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/memchr-2.7.1/src/lib.rs\0/usr/share/cargo/registry/md-5-0.10.6/src/lib.rs";
const MUSL_NOTE: &str = r#"{"type":"rpm","name":"musl","version":"1.2.5-1.fc41","architecture":"x86_64","osCpe":"cpe:/o:fedoraproject:fedora:41"}"#;
const OWN_NOTE: &str =
    r#"{"type":"rpm","name":"fixture","version":"1.2.3-4.el10","architecture":"x86_64"}"#;

fn metadata(name: &str, version: &str) -> Vec<u8> {
    let head = format!("Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n");
    (head + "License-Expression: MIT\n\nName: not-this\n").into_bytes()
}

fn npm(name: &str, version: &str) -> Vec<u8> {
    format!(r#"{{"name":"{name}","version":"{version}","license":"WTFPL"}}"#).into_bytes()
}

/// The public set of real packages; `None`, said aloud, where it is not there.
pub fn real_packages(test: &str) -> Option<Vec<PathBuf>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/rpms");
    let mut found = Vec::new();
    for format in ["v3", "v4", "v6"] {
        let Ok(folder) = std::fs::read_dir(root.join(format)) else {
            continue;
        };
        found.extend(folder.flatten().map(|entry| entry.path()));
    }
    found.sort();
    if found.is_empty() {
        eprintln!("SKIP {test}: the shared set of real packages is not there");
        return None;
    }
    Some(found)
}

pub fn at(secs: i64) -> Option<Timestamp> {
    Some(Timestamp::from_unix_secs(secs))
}
