//! Every setting with its value, as a configuration file could say it.

use repo_model::FileDigest;
use repo_model::config::{
    Config, KeyAlgorithm, KeyBackendName, MetadataCodec, MirrorsConfig, Pkcs11Config, PostQuantum,
    RepoConfig, UpstreamConfig,
};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Every setting, as the file could say it. Settings without a value are left out.
pub fn all(config: &Config) -> Table {
    let mut all = Table::new();
    all.insert("server".to_owned(), server(config).into());
    let repos: Vec<Value> = config
        .repo
        .iter()
        .map(|repo| Value::Table(repo_table(repo)))
        .collect();
    if !repos.is_empty() {
        all.insert("repo".to_owned(), repos.into());
    }
    let upstreams: Vec<Value> = config.upstream.iter().map(upstream).collect();
    if !upstreams.is_empty() {
        all.insert("upstream".to_owned(), upstreams.into());
    }
    all.insert("mirrors".to_owned(), mirrors(&config.mirrors).into());
    all.insert("sbom".to_owned(), sbom(config).into());
    all.insert("signer".to_owned(), signer(config).into());
    if let Some(gate) = &config.gate {
        let ends = [("listen", text(&gate.listen))];
        let tls = tls(
            [&gate.certificate, &gate.private_key, &gate.authority],
            &gate.peer_sha256,
        );
        all.insert("gate".to_owned(), table(ends.into_iter().chain(tls)).into());
    }
    all.insert("rebuilder".to_owned(), rebuilder(config).into());
    all
}

/// Settings of both ends of the way to a signer elsewhere.
fn tls(files: [&PathBuf; 3], peers: &[FileDigest]) -> [(&'static str, Value); 4] {
    let [certificate, private_key, authority] = files.map(|file| path(file));
    let peers = peers.iter().map(text).collect::<Vec<_>>();
    [
        ("certificate", certificate),
        ("private_key", private_key),
        ("authority", authority),
        ("peer_sha256", peers.into()),
    ]
}

fn table(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn text(value: impl std::fmt::Display) -> Value {
    Value::String(value.to_string())
}

fn list<T: std::fmt::Display>(values: &[T]) -> Value {
    values.iter().map(text).collect::<Vec<_>>().into()
}

fn path(value: &Path) -> Value {
    text(value.display())
}

/// TOML has no numbers over 2^63; such a limit is no limit.
fn number(value: impl TryInto<i64>) -> Value {
    Value::Integer(value.try_into().unwrap_or(i64::MAX))
}

fn server(config: &Config) -> Table {
    let server = &config.server;
    let mut out = table([
        ("listen", text(&server.listen)),
        ("public_url", text(&server.public_url)),
        ("title", text(&server.title)),
        ("data_dir", path(&server.data_dir)),
        ("signer_socket", path(&server.signer_socket)),
        ("policy_file", path(&server.policy_file)),
        ("channels", list(&server.channels)),
        ("worker_urls", list(&server.worker_urls)),
        ("trusted_proxies", list(&server.trusted_proxies)),
        ("max_connections", number(server.max_connections)),
        ("max_blob_bytes", number(server.max_blob_bytes)),
        ("upload_expiry_secs", number(server.upload_expiry_secs)),
        ("lease_secs", number(server.lease_secs)),
        ("max_rebuild_attempts", number(server.max_rebuild_attempts)),
        ("publish_delay_millis", number(server.publish_delay_millis)),
        ("changelog_limit", number(server.changelog_limit)),
        ("witness_renewal_secs", number(server.witness_renewal_secs)),
        ("shutdown_secs", number(server.shutdown_secs)),
        ("reveal_wait_secs", number(server.reveal_wait_secs)),
        ("rebuild_wait_secs", number(server.rebuild_wait_secs)),
    ]);
    if let Some(gate) = &server.signer_tls {
        let ends = [("address", text(&gate.address))];
        let tls = tls(
            [&gate.certificate, &gate.private_key, &gate.authority],
            &gate.peer_sha256,
        );
        out.insert(
            "signer_tls".to_owned(),
            table(ends.into_iter().chain(tls)).into(),
        );
    }
    out
}

fn repo_table(repo: &RepoConfig) -> Table {
    let codec = match repo.codec() {
        MetadataCodec::Zstd => "zstd",
        MetadataCodec::Gzip => "gzip",
    };
    let mut out = table([
        ("name", text(&repo.name)),
        ("arches", list(&repo.arches)),
        ("profile", text(repo.profile.name())),
        ("metadata_codec", text(codec)),
        ("zchunk", Value::Boolean(repo.zchunk)),
    ]);
    for (name, file) in [
        ("groups", &repo.groups),
        ("updateinfo", &repo.updateinfo),
        ("modules", &repo.modules),
    ] {
        out.extend(file.iter().map(|file| (name.to_owned(), path(file))));
    }
    out
}

fn upstream(upstream: &UpstreamConfig) -> Value {
    Value::Table(table([
        ("name", text(&upstream.name)),
        ("urls", list(&upstream.urls)),
        (
            "keys",
            upstream
                .keys
                .iter()
                .map(|key| path(key))
                .collect::<Vec<_>>()
                .into(),
        ),
        ("verify_signature", upstream.verify_signature.into()),
        ("keep_bytes", number(upstream.keep_bytes)),
        ("keep_days", number(upstream.keep_days)),
        ("fresh_secs", number(upstream.fresh_secs)),
    ]))
}

fn mirrors(mirrors: &MirrorsConfig) -> Table {
    let files = [
        ("country_db", &mirrors.country_db),
        ("asn_db", &mirrors.asn_db),
    ];
    let files = files
        .into_iter()
        .filter_map(|(key, file)| Some((key, path(file.as_deref()?))));
    let numbers = [
        ("probe_secs", number(mirrors.probe_secs)),
        ("probes_at_once", number(mirrors.probes_at_once)),
        ("packages_per_probe", number(mirrors.packages_per_probe)),
        ("probe_bytes", number(mirrors.probe_bytes)),
        (
            "slowest_bytes_per_sec",
            number(mirrors.slowest_bytes_per_sec),
        ),
        ("behind_secs", number(mirrors.behind_secs)),
        ("alternates", number(mirrors.alternates)),
        ("alternates_secs", number(mirrors.alternates_secs)),
        ("answer_mirrors", number(mirrors.answer_mirrors)),
        ("freshness_secs", number(mirrors.freshness_secs)),
        ("history_days", number(mirrors.history_days)),
        ("max_pending", number(mirrors.max_pending)),
        (
            "allow_private_addresses",
            mirrors.allow_private_addresses.into(),
        ),
    ];
    table(numbers.into_iter().chain(files))
}

fn sbom(config: &Config) -> Table {
    let sbom = &config.sbom;
    table([
        ("namespace", text(&sbom.namespace)),
        ("supplier_name", text(&sbom.supplier_name)),
        ("supplier_url", text(&sbom.supplier_url)),
        ("supplier_email", text(&sbom.supplier_email)),
    ])
}

fn signer(config: &Config) -> Table {
    let signer = &config.signer;
    let algorithm = match signer.key_algorithm {
        KeyAlgorithm::Ed25519 => "ed25519",
        KeyAlgorithm::Rsa3072 => "rsa3072",
        KeyAlgorithm::Rsa4096 => "rsa4096",
    };
    let post_quantum = match signer.post_quantum {
        PostQuantum::Off => "off",
        PostQuantum::Detached => "detached",
        PostQuantum::Embedded => "embedded",
    };
    let backend = match signer.key_backend {
        KeyBackendName::File => "file",
        KeyBackendName::EncryptedFile => "encrypted-file",
        KeyBackendName::Credential => "credential",
        KeyBackendName::Pkcs11 => "pkcs11",
    };
    let mut out = table([
        ("socket", path(&signer.socket)),
        ("state_dir", path(&signer.state_dir)),
        ("policy_file", path(&signer.policy_file)),
        ("unsigned_policy", signer.unsigned_policy.into()),
        ("freshness_max_secs", number(signer.freshness_max_secs)),
        ("post_quantum", text(post_quantum)),
        ("verifier_id", text(&signer.verifier_id)),
        ("log_origin", text(&signer.log_origin)),
        ("user_id", text(&signer.user_id)),
        ("key_algorithm", text(algorithm)),
        ("key_backend", text(backend)),
        (
            "allowed_uids",
            signer
                .allowed_uids
                .iter()
                .map(|uid| number(*uid))
                .collect::<Vec<_>>()
                .into(),
        ),
        (
            "package_requests_per_minute",
            number(signer.package_requests_per_minute),
        ),
        (
            "release_requests_per_minute",
            number(signer.release_requests_per_minute),
        ),
        ("sandbox", signer.sandbox.into()),
    ]);
    if let Some(file) = &signer.passphrase_file {
        out.insert("passphrase_file".to_owned(), path(file));
    }
    if let Some(token) = &signer.pkcs11 {
        out.insert("pkcs11".to_owned(), pkcs11(token).into());
    }
    out
}

fn pkcs11(token: &Pkcs11Config) -> Table {
    let paths = token.paths.iter().map(|dir| path(dir));
    let mut out = table([
        ("module", path(&token.module)),
        ("paths", paths.collect::<Vec<_>>().into()),
    ]);
    if let Some(label) = &token.token {
        out.insert("token".to_owned(), text(label));
    }
    if let Some(file) = &token.pin_file {
        out.insert("pin_file".to_owned(), path(file));
    }
    if !token.names.is_empty() {
        let names = token.names.iter();
        let names = names.map(|(label, name)| (label.clone(), text(name)));
        out.insert("names".to_owned(), names.collect::<Table>().into());
    }
    out
}

fn rebuilder(config: &Config) -> Table {
    let rebuilder = &config.rebuilder;
    let mut out = table([
        ("server_url", text(&rebuilder.server_url)),
        ("key_file", path(&rebuilder.key_file)),
        ("work_dir", path(&rebuilder.work_dir)),
        ("build_secs", number(rebuilder.build_secs)),
        ("memory_bytes", number(rebuilder.memory_bytes)),
        ("disk_bytes", number(rebuilder.disk_bytes)),
        ("max_processes", number(rebuilder.max_processes)),
        ("log_bytes", number(rebuilder.log_bytes)),
        ("build_uid", number(rebuilder.build_uid)),
        ("profiles", list(&rebuilder.profiles)),
        ("backend", text(&rebuilder.backend)),
        ("backend_command", list(&rebuilder.backend_command)),
        ("layers_dir", path(&rebuilder.layers_dir)),
        ("layers_bytes", number(rebuilder.layers_bytes)),
    ]);
    if let Some(name) = &rebuilder.name {
        out.insert("name".to_owned(), text(name));
    }
    if let Some(operator) = &rebuilder.operator {
        out.insert("operator".to_owned(), text(operator));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each setting once, and none with its default.
    const EVERY: &str = r#"
        [server]
        listen = "a:1"
        public_url = "http://b"
        title = "T"
        data_dir = "/d"
        signer_socket = "/s"
        policy_file = "/p"
        channels = ["x"]
        worker_urls = ["http://w"]
        trusted_proxies = ["10.0.0.1"]
        max_connections = 18
        reveal_wait_secs = 19
        rebuild_wait_secs = 20
        max_blob_bytes = 1
        upload_expiry_secs = 2
        lease_secs = 3
        max_rebuild_attempts = 4
        publish_delay_millis = 5
        changelog_limit = 6
        witness_renewal_secs = 22
        shutdown_secs = 7
        [server.signer_tls]
        address = "h:1"
        certificate = "/c"
        private_key = "/k"
        authority = "/a"
        peer_sha256 = ["0000000000000000000000000000000000000000000000000000000000000000"]
        [[repo]]
        name = "base"
        arches = ["x86_64", "aarch64"]
        profile = "el8"
        metadata_codec = "gzip"
        zchunk = true
        groups = "/g"
        updateinfo = "/i"
        modules = "/m"
        [[upstream]]
        name = "up"
        urls = ["https://u"]
        keys = ["/key"]
        verify_signature = true
        keep_bytes = 23
        keep_days = 24
        fresh_secs = 25
        [mirrors]
        country_db = "/geo"
        asn_db = "/asn"
        probe_secs = 160
        probes_at_once = 26
        packages_per_probe = 27
        probe_bytes = 28000000
        slowest_bytes_per_sec = 29
        behind_secs = 30
        alternates = 31
        alternates_secs = 32
        answer_mirrors = 33
        freshness_secs = 3400
        history_days = 35
        max_pending = 36
        allow_private_addresses = true
        [sbom]
        namespace = "n"
        supplier_name = "s"
        supplier_url = "u"
        supplier_email = "e"
        [signer]
        socket = "/k"
        state_dir = "/l"
        policy_file = "/m"
        unsigned_policy = true
        post_quantum = "embedded"
        verifier_id = "v"
        log_origin = "log.z"
        user_id = "w"
        key_algorithm = "rsa4096"
        key_backend = "pkcs11"
        passphrase_file = "/q"
        allowed_uids = [8, 9]
        package_requests_per_minute = 16
        release_requests_per_minute = 17
        freshness_max_secs = 3700
        sandbox = false
        [signer.pkcs11]
        module = "/m.so"
        token = "t"
        pin_file = "/pin"
        names = { package-key = "p" }
        paths = ["/t"]
        [gate]
        listen = "h:2"
        certificate = "/c"
        private_key = "/k"
        authority = "/a"
        peer_sha256 = ["0000000000000000000000000000000000000000000000000000000000000000"]
        [rebuilder]
        server_url = "http://c"
        name = "r"
        operator = "o"
        key_file = "/x"
        work_dir = "/y"
        build_secs = 10
        memory_bytes = 11
        disk_bytes = 12
        max_processes = 13
        log_bytes = 14
        build_uid = 15
        profiles = ["one-cpu"]
        backend = "exec"
        backend_command = ["/run"]
        layers_dir = "/z"
        layers_bytes = 21
    "#;

    /// A setting that is added to `Config` and forgotten here fails this test, because the values
    /// are not the defaults.
    #[test]
    fn every_setting_is_printed_and_reads_back() {
        let config = Config::read(EVERY, []).unwrap();
        let printed = toml::to_string(&all(&config)).unwrap();
        assert_eq!(
            format!("{:?}", Config::read(&printed, []).unwrap()),
            format!("{config:?}")
        );
        let lines = |text: &str| text.lines().filter(|line| line.contains(" = ")).count();
        assert_eq!(lines(&printed), lines(EVERY));
    }
}
