//! A release of a distribution's size: 12,000 packages, written as a stream in bounded memory.
//! Alone in its file, because it measures its own process.

mod common;

use repo_model::rpm::{Dependency, DependencyFlags};
use sbom_gen::{Member, ReleaseBuilder, ReleaseInfo, SBOM_FORMATS};
use std::io::{self, Write};

const PACKAGES: usize = 12_000;
/// The promise is 200 MB.
const LIMIT_KB: u64 = 200_000;

/// Package `i` needs eight others and one thing that nobody has; it has forty files.
fn member(i: usize) -> Member {
    let name = format!("package-number-{i}");
    let nevra = format!("{name}-{}.{}-{}.el10.x86_64", i % 7, i % 13, i % 3 + 1);
    let versioned = |name: String, version: &str| Dependency {
        name,
        version: Some((DependencyFlags::Eq, version.to_owned())),
        sense: 0,
    };
    let plain = |name: String| Dependency {
        name,
        version: None,
        sense: 0,
    };
    let soname = |i: usize| format!("libnumber{i}.so.1(LIBNUMBER_1.0)(64bit)");
    let mut requires: Vec<_> = (1..8)
        .map(|step| plain(soname((i * 31 + step * step * 17) % PACKAGES)))
        .collect();
    requires.push(plain(format!("/usr/bin/tool-{}", (i * 7) % PACKAGES)));
    requires.push(plain(format!("libabsent{}.so.9()(64bit)", i % 50)));
    let mut member = Member::named(nevra.parse().unwrap(), false);
    member.source_rpm = Some(format!("source-number-{}-1-1.src.rpm", i / 3));
    member.license = "GPL-2.0-or-later AND MIT".to_owned();
    member.vendor = Some("Example".to_owned());
    member.summary = format!("The package that has the number {i}, with a usual summary");
    member.url = Some(format!("https://example.org/projects/{name}"));
    member.build_time = common::at(i64::from(common::BUILT));
    member.digests = vec![(sbom_gen::Algorithm::Sha256, format!("{i:064x}"))];
    member.location = Some(format!("Packages/p/{name}.rpm"));
    member.provides = vec![
        plain(soname(i)),
        versioned(name.clone(), "1-1"),
        versioned(format!("{name}(x86-64)"), "1-1"),
    ];
    member.requires = requires;
    let files = (0..40).map(|file| match file {
        0 => format!("/usr/bin/tool-{i}"),
        file => format!("/usr/share/{name}/some/longer/path/file-{file}"),
    });
    member.files = files.collect();
    member
}

struct Counting(u64);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_release_of_twelve_thousand_packages_is_written_in_less_than_200_mb() {
    let options = common::options();
    let start = std::time::Instant::now();
    let info = ReleaseInfo {
        name: "Example Linux".to_owned(),
        repository_url: Some("https://repo.example/42".to_owned()),
        ..ReleaseInfo::default()
    };
    let mut builder = ReleaseBuilder::new(info, &options);
    for i in 0..PACKAGES {
        builder.add(member(i)).unwrap();
    }
    let release = builder.finish();
    assert_eq!(release.len(), PACKAGES);
    assert_eq!(release.unresolved().count(), PACKAGES);
    // Seven libraries and one tool each, but for those that are their own.
    assert!(
        release.resolved_count() > PACKAGES * 7,
        "{}",
        release.resolved_count()
    );
    eprintln!("resolved after {:?}, {} kB", start.elapsed(), peak_kb());
    for format in SBOM_FORMATS {
        let mut sink = Counting(0);
        format.write_release(&release, &options, &mut sink).unwrap();
        eprintln!(
            "{}: {} bytes after {:?}, {} kB",
            format.name,
            sink.0,
            start.elapsed(),
            peak_kb()
        );
        assert!(sink.0 > 10_000_000);
    }
    let peak = peak_kb();
    assert!(peak < LIMIT_KB, "{peak} kB at the most");
}
