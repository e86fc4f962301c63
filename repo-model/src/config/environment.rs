//! Settings that come from the environment.
//!
//! `HALLMARK_SERVER__LISTEN=0.0.0.0:80` sets `listen` in `[server]`: two underscores between section and key. A value
//! is read as TOML when it is TOML and as text otherwise, so `HALLMARK_REPO='[{name="base",arches=["x86_64"]}]'` works
//! too. Other variables with our prefix (`HALLMARK_LOG`, `HALLMARK_CACHE`, those of tests and benchmarks) are no
//! settings. One that begins with a section's name and goes on without two underscores is a mistake and is refused.

/// What settings in the environment begin with.
const PREFIX: &str = "HALLMARK_";
/// Sections of the file.
const SECTIONS: &[&str] = &[
    "server",
    "repo",
    "upstream",
    "sbom",
    "mirrors",
    "signer",
    "gate",
    "rebuilder",
];
/// Begins like a section and is none: the server that commands talk to.
const NOT_A_SETTING: &str = "HALLMARK_SERVER_URL";

/// Sets what the variable says in the `table` of the file. What is not a setting changes nothing.
///
/// Fails with a clause that says what is wrong with the variable: the operator's fault.
pub(super) fn apply(table: &mut toml::Table, name: &str, value: &str) -> Result<(), String> {
    let Some(path) = name.strip_prefix(PREFIX) else {
        return Ok(());
    };
    let path = path.to_lowercase();
    if let Some((section, key)) = path.split_once("__") {
        return set_key(table, section, key, parsed(value));
    }
    if SECTIONS.contains(&path.as_str()) {
        table.insert(path, parsed(value));
        return Ok(());
    }
    let slip = |section: &&&str| {
        let rest = path.strip_prefix(**section);
        rest.is_some_and(|rest| rest.starts_with('_') || rest == "s")
    };
    let Some(section) = SECTIONS.iter().find(slip) else {
        return Ok(());
    };
    if name == NOT_A_SETTING {
        return Ok(());
    }
    let upper = section.to_uppercase();
    Err(match *section {
        "repo" | "upstream" => format!("[[{section}]] is set as one list: {PREFIX}{upper}=[{{…}}]"),
        _ => {
            format!("settings of [{section}] are called {PREFIX}{upper}__KEY, with two underscores")
        }
    })
}

/// Sets `key` of a section that has one table.
fn set_key(
    table: &mut toml::Table,
    section: &str,
    key: &str,
    value: toml::Value,
) -> Result<(), String> {
    if !SECTIONS.contains(&section) {
        return Err(format!("there is no section [{section}]"));
    }
    let section = table
        .entry(section)
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let toml::Value::Table(section) = section else {
        return Err("its section is a list; set the whole list in one variable".to_owned());
    };
    section.insert(key.to_owned(), value);
    Ok(())
}

/// The value as TOML, or as text when it is none.
fn parsed(value: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError};

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(text, variables)
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = read(
            "[server]\nlisten = \"a:1\"\n",
            &[
                ("HALLMARK_SERVER__LISTEN", "b:2"),
                ("HALLMARK_SERVER__LEASE_SECS", "7"),
                ("HALLMARK_REPO", r#"[{name="base",arches=["x86_64"]}]"#),
            ],
        )
        .unwrap();
        assert_eq!(config.server.listen, "b:2");
        assert_eq!(config.server.lease_secs, 7);
        assert_eq!(config.repo[0].name.as_str(), "base");
    }

    #[test]
    fn variables_of_other_purpose_are_no_settings() {
        let others = [
            ("PATH", "/bin"),
            ("HALLMARK_LOG", "debug"),
            ("HALLMARK_SERVER_URL", "http://127.0.0.1:8080"),
            ("HALLMARK_FUZZ_SECS", "2"),
            ("HALLMARK_BENCH_DIR", "/tmp"),
        ];
        read("", &others).unwrap();
    }

    #[test]
    fn a_setting_with_a_slip_in_its_name_is_refused() {
        for (name, clause) in [
            ("HALLMARK_SERVR__LISTEN", "no section [servr]"),
            ("HALLMARK_SERVER_LISTEN", "HALLMARK_SERVER__KEY"),
            ("HALLMARK_REPOS", "one list: HALLMARK_REPO="),
        ] {
            let error = read("", &[(name, "x")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(clause), "{error}");
        }
        let unknown = read("", &[("HALLMARK_SERVER__LISTN", "x")]).unwrap_err();
        assert!(matches!(unknown, ConfigError::Toml(_)), "{unknown}");
    }

    #[test]
    fn every_section_of_the_file_can_be_set() {
        for section in super::SECTIONS {
            let text = format!("[{section}]\nno-such-key = 1");
            let ConfigError::Toml(source) = read(&text, &[]).unwrap_err() else {
                panic!("{section}");
            };
            assert!(!source.to_string().contains("unknown field `{section}`"));
        }
        let ConfigError::Toml(source) = read("[nothing]", &[]).unwrap_err() else {
            panic!("an unknown section is read");
        };
        let listed = source.to_string().matches('`').count() / 2 - 1;
        assert_eq!(listed, super::SECTIONS.len(), "{source}");
    }
}
