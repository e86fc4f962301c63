//! A real DNF against a repository that it reaches through our metalink only, on a loopback server.

use mirrors::metalink::{self, Metalink, MirrorUrl, Protocol, Repomd};
use repo_model::Timestamp;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether all `tools` are there; says which one is not. In CI a missing tool is a failure.
fn have(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = tools
        .iter()
        .find(|tool| !std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()));
    if let Some(tool) = missing {
        assert!(std::env::var_os("CI").is_none(), "{tool} is not installed");
        eprintln!("SKIPPED: {tool} is not installed");
    }
    missing.is_none()
}

struct World {
    dir: tempfile::TempDir,
    base: String,
}

impl World {
    /// An empty repository made by createrepo_c, served on a free port.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("www/repo");
        std::fs::create_dir_all(&repo).unwrap();
        let made = Command::new("createrepo_c").arg(&repo).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let www = dir.path().join("www");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let www = www.clone();
                std::thread::spawn(move || answer(stream, &www));
            }
        });
        Self { dir, base }
    }

    fn repomd(&self) -> PathBuf {
        self.dir.path().join("www/repo/repodata/repomd.xml")
    }

    fn write_metalink(&self, repomd: Repomd, alternates: Vec<Repomd>) {
        let mirror = |url: String, preference| MirrorUrl {
            protocol: Protocol::of_url(&url).unwrap(),
            url,
            location: Some("DE".to_owned()),
            preference,
        };
        let urls = vec![mirror(
            format!("{}/repo/repodata/repomd.xml", self.base),
            100,
        )];
        let xml = metalink::render(&Metalink {
            repomd,
            alternates,
            urls,
        });
        std::fs::write(self.dir.path().join("www/metalink.xml"), xml).unwrap();
    }

    /// `dnf makecache` from nothing.
    fn makecache(&self, name: &str) -> Output {
        let root = self.dir.path().join(name);
        let reposdir = root.join("repos.d");
        std::fs::create_dir_all(&reposdir).unwrap();
        std::fs::create_dir_all(root.join("log")).unwrap();
        let repo = format!(
            "[m]\nname=m\nmetalink={}/metalink.xml\ngpgcheck=0\n",
            self.base
        );
        std::fs::write(reposdir.join("m.repo"), repo).unwrap();
        std::fs::write(root.join("dnf.conf"), "[main]\nplugins=0\n").unwrap();
        let mut dnf = Command::new("dnf");
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy"))
        {
            dnf.env_remove(name);
        }
        dnf.arg("--config")
            .arg(root.join("dnf.conf"))
            .arg(format!("--installroot={}", root.join("root").display()))
            .arg(format!("--setopt=reposdir={}", reposdir.display()))
            .arg(format!(
                "--setopt=cachedir={}",
                root.join("cache").display()
            ))
            .arg(format!("--setopt=logdir={}", root.join("log").display()))
            .args(["--releasever=1", "--setopt=retries=1", "makecache"])
            .output()
            .unwrap()
    }
}

/// Serves one static file per connection.
fn answer(mut stream: TcpStream, www: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line
        .split(' ')
        .nth(1)
        .unwrap_or("/")
        .trim_start_matches('/')
        .to_owned();
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {}
    let (status, body) = match std::fs::read(www.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn dnf_takes_the_repomd_that_the_metalink_names_and_no_other() {
    if !have(&["dnf", "createrepo_c"]) {
        return;
    }
    let world = World::start();
    let served = std::fs::read(world.repomd()).unwrap();
    let at = Timestamp::from_unix_secs(1_763_600_000);
    let current = Repomd::of(&served, at);
    world.write_metalink(current.clone(), Vec::new());
    let good = world.makecache("good");
    assert!(good.status.success(), "{}", text(&good));

    // The mirror is one release behind, and the metalink says that this is fine.
    let newer = Repomd::of(b"<repomd>newer</repomd>", at.plus_secs(60));
    world.write_metalink(newer.clone(), vec![current]);
    let behind = world.makecache("behind");
    assert!(behind.status.success(), "{}", text(&behind));

    // The mirror serves what no release ever had.
    world.write_metalink(newer, Vec::new());
    let forged = world.makecache("forged");
    assert!(!forged.status.success(), "{}", text(&forged));
}
