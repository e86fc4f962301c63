//! A distribution made up of nothing but numbers: package `n` is the same bytes on every machine.
//!
//! Shaped after what the large RPM distributions publish: sources with several packages that share
//! a changelog, sonames and interpreter modules required by name, file lists with a long tail
//! (half of the packages have some twenty files, one in a hundred has over a thousand), build ids that
//! nothing compresses. A package comes to about 2.5 KB in primary, 6 KB in filelists and 1.5 KB in
//! other. Payloads are a few bytes: what costs here is metadata.

use super::words::WORDS;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Packages of the distribution, in an order that has nothing to do with their names.
pub struct Distribution {
    packages: Vec<Place>,
}

/// Which package of which source.
#[derive(Clone, Copy)]
struct Place {
    source: usize,
    part: usize,
}

/// What kind of project a source is, and so which packages it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Library,
    Application,
    Python,
    Rust,
    Perl,
    Tex,
}

const FAMILIES: [Family; 8] = [
    Family::Library,
    Family::Application,
    Family::Python,
    Family::Library,
    Family::Tex,
    Family::Rust,
    Family::Application,
    Family::Perl,
];

impl Family {
    fn of(source: usize) -> Self {
        FAMILIES[source % FAMILIES.len()]
    }

    fn names(self, stem: &str) -> Vec<String> {
        let forms: &[&str] = match self {
            Self::Library => &["lib@", "lib@-devel", "lib@-doc", "@-tools"],
            Self::Application => &["@", "@-data", "@-plugins"],
            Self::Python => &["python3-@", "python-@-doc"],
            Self::Rust => &["rust-@-devel", "rust-@+default-devel", "rust-@+std-devel"],
            Self::Perl => &["perl-@"],
            Self::Tex => &["texlive-@"],
        };
        forms.iter().map(|form| form.replace('@', stem)).collect()
    }
}

/// splitmix64: numbers that depend on the seed alone.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Small numbers more often than large ones, as words and requirements are distributed.
    fn often_small(&mut self, limit: usize) -> usize {
        self.below(limit) * self.below(limit) / limit.max(1)
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.often_small(WORDS.len())]
    }

    fn sentence(&mut self, words: usize) -> String {
        let words: Vec<&str> = (0..words).map(|_| self.word()).collect();
        words.join(" ")
    }

    /// How many files a package has.
    fn file_count(&mut self) -> usize {
        match self.below(100) {
            0..40 => 1 + self.below(8),
            40..75 => 8 + self.below(32),
            75..93 => 40 + self.below(110),
            93..99 => 150 + self.below(450),
            _ => 600 + self.below(2_400),
        }
    }
}

/// Two words, another pair for each of 65,536 sources.
fn stem(source: usize) -> String {
    let mixed = source.wrapping_mul(40_503) % 65_536;
    format!("{}-{}", WORDS[mixed / 256], WORDS[mixed % 256])
}

impl Distribution {
    /// Of so many packages.
    pub fn new(count: usize) -> Self {
        let mut packages = Vec::with_capacity(count);
        for source in 0.. {
            let parts = Family::of(source).names("").len();
            packages.extend((0..parts).map(|part| Place { source, part }));
            if packages.len() >= count {
                break;
            }
        }
        packages.truncate(count);
        Self { packages }
    }

    /// The file's name below the directory, as a distribution sorts its packages.
    pub fn file_name(&self, number: usize, release: u32) -> String {
        let made = self.recipe(number);
        let arch = made.arch;
        format!("{}-{}-{release}.{arch}.rpm", made.name, made.version)
    }

    /// Writes the packages that are not there yet.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("a folder");
        for number in 0..self.packages.len() {
            let path = directory.join(self.file_name(number, 1));
            if !path.exists() {
                fs::write(path, self.package(number, 1)).expect("write");
            }
        }
    }

    fn recipe(&self, number: usize) -> Recipe {
        let Place { source, part } = self.packages[number];
        let mut of_source = Numbers(source as u64);
        let version = format!(
            "{}.{}.{}",
            of_source.below(9),
            of_source.below(30),
            part % 2
        );
        let family = Family::of(source);
        let stem = stem(source);
        let names = family.names(&stem);
        let has_code = matches!(family, Family::Library | Family::Application) && part != 2;
        Recipe {
            source,
            family,
            part,
            name: names[part].clone(),
            stem,
            version,
            arch: if has_code { "x86_64" } else { "noarch" },
            has_code,
        }
    }

    /// The package's bytes.
    pub fn package(&self, number: usize, release: u32) -> Vec<u8> {
        let recipe = self.recipe(number);
        let mut numbers = Numbers(((recipe.source as u64) << 8) | recipe.part as u64 | 1 << 40);
        let mut rpm = recipe.described(&mut numbers, release);
        rpm = recipe.with_changes(rpm, release);
        let (mut files, mut build_ids) = recipe.files(&mut numbers);
        // As rpmbuild does.
        files.append(&mut build_ids);
        files.sort();
        files.dedup();
        rpm = recipe.with_dependencies(rpm, &mut numbers, release, self.packages.len());
        for path in &files {
            rpm = match path.strip_suffix('/') {
                Some(directory) => rpm.dir(directory),
                None => rpm.file(path, &path.as_bytes()[path.len() / 2..]),
            };
        }
        rpm.payload(recipe.name.as_bytes()).bytes()
    }
}

struct Recipe {
    source: usize,
    family: Family,
    part: usize,
    name: String,
    stem: String,
    version: String,
    arch: &'static str,
    has_code: bool,
}

impl Recipe {
    fn described(&self, numbers: &mut Numbers, release: u32) -> Rpm {
        let text = |text: String| Field::I18n(vec![text.into_bytes()]);
        let lines = 2 + numbers.below(6);
        let description: Vec<String> = (0..lines).map(|_| numbers.sentence(11)).collect();
        let licences = [
            "MIT",
            "GPL-2.0-or-later",
            "Apache-2.0",
            "BSD-3-Clause AND MIT",
            "LGPL-2.1-only",
        ];
        let source = format!("{}-{}-{release}.src.rpm", self.stem, self.version);
        Rpm::binary(&self.name)
            .set(tag::VERSION, Field::str(&self.version))
            .set(tag::RELEASE, Field::str(release.to_string()))
            .set(tag::ARCH, Field::str(self.arch))
            .set(tag::SOURCERPM, Field::str(source))
            .set(tag::SUMMARY, text(numbers.sentence(6)))
            .set(tag::DESCRIPTION, text(description.join(".\n")))
            .set(
                tag::LICENSE,
                Field::str(licences[self.source % licences.len()]),
            )
            .set(
                tag::URL,
                Field::str(format!("https://{}.example.org/", self.stem)),
            )
            .set(tag::VENDOR, Field::str("Example Linux"))
            .set(tag::PACKAGER, Field::str("Example Linux builders"))
            .set(
                tag::BUILDHOST,
                Field::str(format!("build-{:02}.example.org", numbers.below(40))),
            )
            .set(
                tag::BUILDTIME,
                Field::Int32(vec![1_700_000_000 + numbers.below(50_000_000) as u32]),
            )
    }

    /// A dozen entries, alike in all packages of a source.
    fn with_changes(&self, rpm: Rpm, release: u32) -> Rpm {
        let mut numbers = Numbers(self.source as u64 | 1 << 50);
        let count = 4 + numbers.below(12);
        let newest = 1_760_000_000 - numbers.below(30_000_000) as u32;
        let (mut times, mut authors, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for change in 0..count {
            times.push(newest - change as u32 * 4_000_000);
            let (first, last) = (
                WORDS[40 + numbers.below(60)],
                WORDS[100 + numbers.below(150)],
            );
            let version = format!("{}-{}", self.version, count - change);
            authors.push(format!("{first} {last} <{last}@example.org> - {version}"));
            texts.push(match numbers.below(3) {
                0 => format!(
                    "- Rebuilt for https://example.org/wiki/{}_Mass_Rebuild",
                    44 - change
                ),
                1 => format!(
                    "- Update to {} (#{})",
                    self.version,
                    1_000_000 + numbers.below(1_400_000)
                ),
                _ => {
                    let words = 5 + numbers.below(14);
                    format!("- {}\n- {}", numbers.sentence(words), numbers.sentence(6))
                }
            });
        }
        if release > 1 {
            times.insert(0, newest + 86_400);
            authors.insert(
                0,
                format!(
                    "Release Engineering <rel@example.org> - {}-{release}",
                    self.version
                ),
            );
            texts.insert(0, "- Rebuilt".to_owned());
        }
        rpm.set(tag::CHANGELOGTIME, Field::Int32(times))
            .set(tag::CHANGELOGNAME, Field::strings(authors))
            .set(tag::CHANGELOGTEXT, Field::strings(texts))
    }

    fn with_dependencies(
        &self,
        rpm: Rpm,
        numbers: &mut Numbers,
        release: u32,
        packages: usize,
    ) -> Rpm {
        const EQUAL: u32 = 8;
        const RPMLIB: u32 = (1 << 24) | 10;
        const FOUND: u32 = 1 << 14;
        let evr = format!("{}-{release}", self.version);
        let mut provides = vec![(self.name.clone(), EQUAL, evr.clone())];
        let mut requires: Vec<(String, u32, String)> = Vec::new();
        if self.has_code {
            provides.push((format!("{}(x86-64)", self.name), EQUAL, evr.clone()));
            for glibc in [
                "",
                "(GLIBC_2.14)",
                "(GLIBC_2.34)",
                "(GLIBC_2.38)",
                "(GLIBC_2.4)",
            ] {
                let plain = glibc.is_empty();
                let name = if plain {
                    "libc.so.6()(64bit)".to_owned()
                } else {
                    format!("libc.so.6{glibc}(64bit)")
                };
                requires.push((name, FOUND, String::new()));
            }
            requires.push(("rtld(GNU_HASH)".to_owned(), FOUND, String::new()));
        }
        // Most need what many need.
        for _ in 0..3 + numbers.often_small(24) {
            let other = stem(numbers.often_small(packages / 2) / 8 * 8);
            let (name, version) = match self.family {
                Family::Library | Family::Application if self.has_code => (
                    format!("lib{other}.so.{}()(64bit)", other.len() % 4),
                    String::new(),
                ),
                Family::Python => (format!("python3.13dist({other})"), "2.1".to_owned()),
                Family::Rust => (
                    format!("(crate({other}) >= 1.0.0 with crate({other}) < 2.0.0~)"),
                    String::new(),
                ),
                Family::Perl => (
                    format!("perl({}::{})", other.replace('-', "::"), numbers.word()),
                    "0.9".to_owned(),
                ),
                _ => (format!("lib{other}"), String::new()),
            };
            let flags = if version.is_empty() {
                FOUND
            } else {
                FOUND | 12
            };
            requires.push((name, flags, version));
        }
        for number in 0..match self.family {
            Family::Library if self.part == 0 => 1,
            Family::Library if self.part == 1 => 2,
            Family::Python => 3,
            Family::Perl | Family::Tex => 2 + numbers.below(20),
            _ => 0,
        } {
            let word = WORDS[number * 7 % 256];
            provides.push(match self.family {
                Family::Library if self.part == 0 => (
                    format!("lib{}.so.{}()(64bit)", self.stem, self.stem.len() % 4),
                    0,
                    String::new(),
                ),
                Family::Library => (
                    format!("pkgconfig({}-{word})", self.stem),
                    EQUAL,
                    self.version.clone(),
                ),
                Family::Python => (
                    format!("python3.13dist({}-{word})", self.stem),
                    EQUAL,
                    self.version.clone(),
                ),
                Family::Perl => (
                    format!("perl({}::{word})", self.stem.replace('-', "::")),
                    EQUAL,
                    self.version.clone(),
                ),
                _ => (format!("tex({}-{word}.sty)", self.stem), EQUAL, evr.clone()),
            });
        }
        if self.part > 0 {
            let base = &self.family.names(&self.stem)[0];
            requires.push((format!("{base}(x86-64)"), EQUAL, evr));
        }
        for feature in [
            "CompressedFileNames",
            "FileDigests",
            "PayloadFilesHavePrefix",
        ] {
            requires.push((format!("rpmlib({feature})"), RPMLIB, "3.0.4-1".to_owned()));
        }
        let names =
            |list: &[(String, u32, String)]| Field::strings(list.iter().map(|entry| &entry.0));
        let flags = |list: &[(String, u32, String)]| {
            Field::Int32(list.iter().map(|entry| entry.1).collect())
        };
        let versions =
            |list: &[(String, u32, String)]| Field::strings(list.iter().map(|entry| &entry.2));
        rpm.set(tag::PROVIDENAME, names(&provides))
            .set(tag::PROVIDEFLAGS, flags(&provides))
            .set(tag::PROVIDEVERSION, versions(&provides))
            .set(tag::REQUIRENAME, names(&requires))
            .set(tag::REQUIREFLAGS, flags(&requires))
            .set(tag::REQUIREVERSION, versions(&requires))
    }

    /// Paths, directories with a slash at the end; and those of build ids, which are random.
    fn files(&self, numbers: &mut Numbers) -> (Vec<String>, Vec<String>) {
        let mut build_ids = Vec::new();
        if self.has_code {
            build_ids.push("/usr/lib/.build-id/".to_owned());
            for _ in 0..1 + numbers.often_small(6) {
                let id = hex::encode(Sha256::digest(numbers.next().to_be_bytes()));
                build_ids.push(format!("/usr/lib/.build-id/{}/", &id[..2]));
                build_ids.push(format!("/usr/lib/.build-id/{}/{}", &id[..2], &id[2..40]));
            }
        }
        let root = match (self.family, self.part) {
            (Family::Library, 0) => "/usr/lib64".to_owned(),
            (Family::Library, 1) => format!("/usr/include/{}", self.stem),
            (Family::Library | Family::Application, 3) => "/usr/bin".to_owned(),
            (Family::Application, 0) => format!("/usr/share/{}", self.stem),
            (Family::Application, _) => format!("/usr/share/{}/{}", self.stem, self.part),
            (Family::Python, 0) => format!(
                "/usr/lib/python3.13/site-packages/{}",
                self.stem.replace('-', "_")
            ),
            (Family::Rust, _) => {
                format!("/usr/share/cargo/registry/{}-{}", self.stem, self.version)
            }
            (Family::Perl, _) => format!(
                "/usr/share/perl5/vendor_perl/{}",
                self.stem.replace('-', "/")
            ),
            (Family::Tex, _) => format!("/usr/share/texlive/texmf-dist/tex/latex/{}", self.stem),
            _ => format!("/usr/share/doc/{}/html", self.name),
        };
        let end = match self.family {
            Family::Library if self.part == 0 => ".so.1",
            Family::Library if self.part == 1 => ".h",
            Family::Python => ".py",
            Family::Rust => ".rs",
            Family::Perl => ".pm",
            Family::Tex => ".sty",
            _ => "",
        };
        let mut files = vec![format!("{root}/")];
        if self.family == Family::Application && self.part == 0 {
            files.push(format!("/usr/bin/{}", self.stem));
        }
        let count = numbers.file_count();
        let mut directory = root.clone();
        for number in 0..count {
            if number % 17 == 16 {
                directory = format!("{root}/{}", numbers.word());
                let _ = write!(directory, "-{number}");
                files.push(format!("{directory}/"));
            }
            files.push(format!(
                "{directory}/{}_{}{number}{end}",
                numbers.word(),
                numbers.word()
            ));
            if self.family == Family::Python && number % 2 == 0 {
                files.push(format!(
                    "{directory}/__pycache__/{}{number}.cpython-313.pyc",
                    numbers.word()
                ));
            }
        }
        files.push(format!("/usr/share/licenses/{}/", self.name));
        files.push(format!("/usr/share/licenses/{}/LICENSE", self.name));
        (files, build_ids)
    }
}
