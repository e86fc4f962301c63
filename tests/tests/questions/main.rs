//! What is inside the packages: published beside them, and asked about.
//!
//! `carrier` is built by rpmbuild in two versions. It holds a program with the dependency list that
//! cargo-auditable leaves in binaries, a Python distribution, and a declared `bundled()` library.
//! The stories of [`whole`] have packages of their own.

mod answers;
mod builds;
mod published;
mod vulnerabilities;
mod whole;

use hallmark_tests::{Options, World, packages};
use repo_model::wire::status::BuildStatus;
use std::fmt::Write as _;
use std::sync::LazyLock;

const BASE: &str = "/preview/base/x86_64";

/// A world with both versions, each in a release of its own.
struct Story {
    world: World,
    /// Version 1.0, version 2.0.
    builds: [BuildStatus; 2],
    /// The releases that they came out with.
    releases: [u64; 2],
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let world = World::start(&Options::no_rebuilds());
    let watch = world.watch();
    let publish = |version: &str, crate_version: &str, python: &str| {
        let folder = packages::of_spec("carrier", &spec(version, crate_version, python));
        let build = world.publish(&[&folder])[0].build;
        let status = world.until_published(build);
        (status, world.channel("preview"))
    };
    let (one, first) = publish("1.0", "0.10.50", "2.31.0");
    let (two, second) = publish("2.0", "0.10.72", "2.31.0");
    drop(watch);
    Story {
        world,
        builds: [one, two],
        releases: [first, second],
    }
});

/// What the Python distribution's METADATA says: the file that is asked for by digest.
fn metadata(version: &str) -> String {
    format!("Metadata-Version: 2.1\nName: requests\nVersion: {version}\n")
}

fn spec(version: &str, openssl: &str, requests: &str) -> String {
    let list = format!(
        r#"{{"packages":[{{"name":"carrier","version":"{version}.0","source":"local","dependencies":[1],"root":true}},
           {{"name":"openssl","version":"{openssl}","source":"crates.io"}}]}}"#
    );
    let mut bytes = String::new();
    for byte in zlib_stored(list.as_bytes()) {
        // Writing into a String cannot fail.
        let _ = write!(bytes, "{byte},");
    }
    let site = format!("usr/lib/carrier/requests-{requests}.dist-info");
    let metadata = metadata(requests);
    format!(
        "Name: carrier\nVersion: {version}\nRelease: 1\nSummary: Carries parts\nLicense: BSD\n\
         Provides: bundled(zlib) = 1.2.11\n%global debug_package %{{nil}}\n\
         %global __requires_exclude ^(libc[.]so|ld-linux|rtld[(])\n\
         \n%description\nMade for a test.\n\n%prep\n\n%build\ncat > main.c <<'END'\n\
         __attribute__((section(\".dep-v0\"), used)) const unsigned char list[] = {{{bytes}}};\n\
         int main(void) {{ return list[0] == 0; }}\nEND\ngcc -o carrier main.c\n\
         \n%install\ninstall -D -m 0755 carrier %{{buildroot}}/usr/bin/carrier\nmkdir -p %{{buildroot}}/{site}\n\
         cat > %{{buildroot}}/{site}/METADATA <<'END'\n{metadata}END\n\
         \n%files\n/usr/bin/carrier\n/usr/lib/carrier\n\
         \n%changelog\n* Fri Jan 10 2025 Hallmark tests <tests@hallmark.invalid> - {version}-1\n- Parts\n"
    )
}

/// zlib's format around bytes that are not compressed.
fn zlib_stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short list");
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let mut out = vec![0x78, 0x01, 0x01];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(bytes);
    out.extend(((b << 16) | a).to_be_bytes());
    out
}
