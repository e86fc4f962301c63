//! A machine whose package manager asks `hallmark` before it installs: an install root in the client root, with
//! the client package's plug-ins, configuration and trust folder in it.

use crate::clients::Client;
use crate::process::{self, binary};
use crate::tools::client_root;
use crate::world::World;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Longest that one run may take, seconds.
const LIMIT_SECS: &str = "120";
/// Where the machine's folder is inside the client root.
const PLACE: &str = "/mnt/client";
/// Where the verifier is inside the client root.
pub const VERIFIER: &str = "/mnt/hallmark/hallmark";
/// Where the plug-in of dnf 4 is put.
pub const DNF4_DIR: &str = "/usr/lib/python3/dist-packages/dnf-plugins";

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Said {
    /// Whether it ended well.
    pub succeeded: bool,
    /// Everything it printed.
    pub text: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        Self {
            succeeded: output.status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// # Panics
    /// When it did not end well, or does not say this.
    pub fn succeeds(&self, words: &[&str]) {
        assert!(self.succeeded, "{}", self.text);
        self.says(words);
    }

    /// # Panics
    /// When it ended well, or does not say this.
    pub fn refuses(&self, words: &[&str]) {
        assert!(!self.succeeded, "{}", self.text);
        self.says(words);
    }

    fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.text.contains(word), "no `{word}` in {}", self.text);
        }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    client: Client,
    dir: PathBuf,
    /// Whether the verifier is there.
    pub has_verifier: bool,
}

impl Machine {
    /// A machine with this package manager and nothing installed.
    ///
    /// * `client`: [`Client::Dnf5`] or [`Client::Dnf4`].
    pub fn new(world: &World, client: Client, name: &str) -> Self {
        let dir = world.new_dir(name);
        for inside in [
            "etc/yum.repos.d",
            "etc/dnf/libdnf5-plugins",
            "etc/hallmark",
            "var/lib/rpm",
            "var/log",
            "tmp",
            "dev",
        ] {
            std::fs::create_dir_all(dir.join("root").join(inside)).expect("the folder is ours");
        }
        let machine = Self {
            client,
            dir,
            has_verifier: true,
        };
        machine.write(
            "root/etc/dnf/libdnf5-plugins/actions.conf",
            "[main]\nname = actions\nenabled = 1\n",
        );
        // libdnf5's own plug-ins stay where they are; only what they read is the machine's.
        let plugins = match client {
            Client::Dnf5 => format!("pluginconfpath={PLACE}/root/etc/dnf/libdnf5-plugins"),
            _ => format!("pluginpath={PLACE}/root{DNF4_DIR}"),
        };
        machine.write(
            "root/etc/dnf.conf",
            &format!(
                "[main]\ngpgcheck=1\nlocalpkg_gpgcheck=0\nretries=1\ntimeout=20\nbest=1\nplugins=1\nkeepcache=1\n\
                 skip_if_unavailable=0\n{plugins}\n"
            ),
        );
        machine
    }

    /// Its folder; `root` in it is the install root.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path of this machine as its programs see it.
    pub fn inside(&self, path: &str) -> String {
        format!("{PLACE}/{path}")
    }

    /// Writes a file below the machine's folder.
    ///
    /// # Panics
    /// When that does not work.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.dir.join(path);
        std::fs::write(&path, content)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A repository of this name: a URL and the key file of its packages.
    pub fn repository(&self, name: &str, base_url: &str, key: Option<&[u8]>) {
        let check = u8::from(key.is_some());
        let mut text = format!(
            "[{name}]\nname={name}\nbaseurl={base_url}\nenabled=1\nmetadata_expire=0\ngpgcheck={check}\n"
        );
        if let Some(key) = key {
            std::fs::write(self.dir.join(format!("{name}.asc")), key).expect("the folder is ours");
            // Writing into a String cannot fail.
            let _ = writeln!(text, "gpgkey=file://{PLACE}/{name}.asc");
        }
        self.write(&format!("root/etc/yum.repos.d/{name}.repo"), &text);
    }

    /// `client.toml`, with what comes before the repositories and what belongs to this world's repository.
    pub fn configure(&self, world: &World, before: &str, repository: &str) {
        self.write(
            "root/etc/hallmark/client.toml",
            &format!(
                "cache_dir = \"{PLACE}/evidence\"\n{before}\n[[repository]]\nserver_url = \"{}\"\n\
                 trust_dir = \"{PLACE}/root/etc/hallmark/trust\"\n{repository}\n",
                world.url()
            ),
        );
    }

    /// Runs a command on the machine.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/in-forky.sh");
        let mut command: Command = process::command("timeout");
        command.args(["-k", "5", LIMIT_SECS]).arg(script);
        command.arg("--bind").arg(&self.dir).arg(PLACE);
        if self.has_verifier {
            let dir = binary("hallmark");
            command
                .arg("--bind")
                .arg(dir.parent().expect("a file is in a folder"));
            command.arg("/mnt/hallmark");
        }
        let config = format!("HALLMARK_CLIENT_CONFIG={PLACE}/root/etc/hallmark/client.toml");
        command
            .arg(client_root())
            .args(["env", &config])
            .args(arguments);
        Said::of(&command.output().expect("timeout runs"))
    }

    /// Runs its package manager, which answers `y` to all.
    pub fn dnf(&self, arguments: &[&str]) -> Said {
        let root = format!("{PLACE}/root");
        let mut all = vec![
            if self.client == Client::Dnf5 {
                "dnf5"
            } else {
                "dnf"
            }
            .to_owned(),
            format!("--installroot={root}"),
            format!("--config={root}/etc/dnf.conf"),
            format!("--setopt=reposdir={root}/etc/yum.repos.d"),
            format!("--setopt=cachedir={PLACE}/cache"),
            format!("--setopt=logdir={root}/var/log"),
            "--releasever=1".to_owned(),
        ];
        if self.client == Client::Dnf5 {
            all.push(format!("--setopt=system_cachedir={PLACE}/cache"));
        }
        all.push("-y".to_owned());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self.run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Whether a package is installed.
    pub fn has(&self, package: &str) -> bool {
        let root = format!("{PLACE}/root");
        self.run(&["rpm", "--root", &root, "-q", package]).succeeded
    }
}
