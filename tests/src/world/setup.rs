//! What a world is made of: address, keys, policy, configuration, processes, token.

use super::{Options, SERVER, SIGNER};
use crate::packages;
use crate::process::{self, Process};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;

/// A port that nobody listens on now. The system gives numbers out in turn, so nobody else gets it soon.
pub(super) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("it has an address")
        .to_string()
}

pub(super) fn processes(dir: &Path, options: &Options) -> BTreeMap<String, Mutex<Process>> {
    let config = |name: &str| {
        dir.join(name)
            .to_str()
            .expect("paths here are UTF-8")
            .to_owned()
    };
    let main = config("hallmark.toml");
    let new = |name: &str, binary: &str, arguments: &[&str]| {
        let log = dir.join(format!("{name}.log"));
        (
            name.to_owned(),
            Mutex::new(Process::new(name, process::binary(binary), arguments, log)),
        )
    };
    let mut all = BTreeMap::from([
        new(SERVER, "hallmark", &["serve", "--config", &main]),
        new(SIGNER, "hallmark-signer", &["serve", "--config", &main]),
    ]);
    for n in 1..=options.witnesses {
        let (name, dir) = (format!("witness-{n}"), config(&format!("witness-{n}")));
        let address = std::fs::read_to_string(format!("{dir}.address"));
        let address = address.expect("the policy is written first");
        let arguments = ["witness", "serve", "--dir", &dir, "--listen", &address];
        all.extend([new(&name, "hallmark", &arguments)]);
    }
    for name in &options.rebuilders {
        let own = config(&format!("{name}.toml"));
        all.extend([new(name, "hallmark-rebuilder", &["run", "--config", &own])]);
    }
    all
}

/// Makes the rebuilders' keys and writes the policy that lists them.
pub(super) fn write_policy(dir: &Path, options: &Options, address: &str) -> String {
    let k = options.min_rebuilders;
    let mut text = format!(
        "version = 1\nmin_rebuilders = {k}\nmin_operators = {k}\nrequire_provenance = {}\n\
         sbom_formats = [\"cyclonedx-1.6\", \"spdx-2.3\"]\n{}\n{}\n",
        options.require_provenance,
        options.more_policy,
        witnesses(dir, options)
    );
    if options.require_provenance {
        text.push_str(&packages::builder_policy());
    }
    for name in &options.rebuilders {
        let config = dir.join(format!("{name}.toml"));
        let work_dir = dir.join(format!("{name}.work"));
        let key_file = dir.join(format!("{name}.key"));
        let section = format!(
            "[rebuilder]\nserver_url = \"http://{address}\"\nname = \"{name}\"\noperator = \"operator-of-{name}\"\n\
             key_file = \"{}\"\nwork_dir = \"{}\"\n",
            key_file.display(),
            work_dir.display()
        );
        std::fs::write(&config, section).expect("the rebuilder's configuration is written");
        let mut keygen = process::command(process::binary("hallmark-rebuilder"));
        keygen
            .args(["keygen", "--config"])
            .arg(&config)
            .arg("--out")
            .arg(&key_file);
        text.push_str(&process::run(&mut keygen));
    }
    std::fs::write(dir.join("policy.toml"), &text).expect("the policy is written");
    text
}

/// Makes the witnesses' keys and addresses; gives the policy's line about them. Every other one is known by its
/// post-quantum key.
fn witnesses(dir: &Path, options: &Options) -> String {
    if options.witnesses == 0 {
        return String::new();
    }
    let (mut lines, mut names) = (String::new(), String::new());
    for n in 1..=options.witnesses {
        let own = dir.join(format!("witness-{n}"));
        let mut init = process::command(process::binary("hallmark"));
        init.args([
            "witness",
            "init",
            "--name",
            &format!("w{n}.example"),
            "--dir",
        ])
        .arg(&own);
        let keys = process::run(&mut init);
        let key = keys.lines().nth((n as usize + 1) % 2).expect("two keys");
        let address = free_address();
        lines.push_str(&format!("witness w{n} {key} http://{address}\n"));
        names.push_str(&format!(" w{n}"));
        std::fs::write(own.with_extension("address"), address).expect("written");
    }
    let quorum = options.witness_quorum;
    format!("witnesses = \"\"\"\n{lines}group enough {quorum}{names}\nquorum enough\n\"\"\"\n")
}

/// Tells the witnesses of the log, whose key the signer has made.
pub(super) fn watch_log(dir: &Path, options: &Options) {
    for n in 1..=options.witnesses {
        let mut add = process::command(process::binary("hallmark"));
        add.args(["witness", "add-log", "--dir"])
            .arg(dir.join(format!("witness-{n}")))
            .arg(dir.join("signer-state/log.pub"));
        process::run(&mut add);
    }
}

/// What the repository `old` lists beside its packages.
pub const GROUPS: &str =
    "<?xml version=\"1.0\"?>\n<comps><group><id>all</id><name>All</name></group></comps>\n";
/// And its advisories.
const ADVISORIES: &str =
    "<?xml version=\"1.0\"?>\n<updates><update type=\"security\"><id>X-1</id></update></updates>\n";

pub(super) fn write_config(dir: &Path, options: &Options, address: &str) {
    let path = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "[server]\nlisten = \"{address}\"\npublic_url = \"http://{address}\"\ntitle = \"Test world\"\n\
         data_dir = \"{data}\"\nsigner_socket = \"{socket}\"\npolicy_file = \"{policy}\"\n\
         lease_secs = {lease}\npublish_delay_millis = {delay}\n{more}\n\
         [[repo]]\nname = \"base\"\narches = [\"x86_64\"]\n\n\
         [[repo]]\nname = \"old\"\narches = [\"x86_64\"]\nprofile = \"el7\"\n\
         groups = \"{groups}\"\nupdateinfo = \"{updateinfo}\"\n\n\
         [signer]\nsocket = \"{socket}\"\nstate_dir = \"{state}\"\npolicy_file = \"{policy}\"\nunsigned_policy = true\n",
        data = path("data"),
        groups = path("comps.xml"),
        updateinfo = path("updateinfo.xml"),
        socket = path("signer.sock"),
        policy = path("policy.toml"),
        state = path("signer-state"),
        lease = options.lease_secs,
        delay = options.publish_delay_millis,
        more = options.server_settings,
    );
    std::fs::write(dir.join("hallmark.toml"), text).expect("the configuration is written");
    for (name, text) in [("comps.xml", GROUPS), ("updateinfo.xml", ADVISORIES)] {
        std::fs::write(dir.join(name), text).expect("a further record is written");
    }
}

pub(super) fn create_token(dir: &Path, name: &str, arguments: &[&str]) -> String {
    let mut command = process::command(process::binary("hallmark"));
    command
        .args(["token", "create", "--name", name, "--config"])
        .arg(dir.join("hallmark.toml"))
        .args(arguments);
    process::run(&mut command).trim().to_owned()
}
