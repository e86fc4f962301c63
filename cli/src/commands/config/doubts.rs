//! What can be meant and hardly is: placeholders, and architectures that nobody builds for.

use repo_model::config::Config;

/// Architectures that RPM knows and somebody builds for.
const ARCHES: &[&str] = &[
    "aarch64",
    "armv7hl",
    "i386",
    "i586",
    "i686",
    "loongarch64",
    "noarch",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390x",
    "x86_64",
    "x86_64_v2",
    "x86_64_v3",
    "x86_64_v4",
];

/// What can be meant and hardly is, a warning each.
pub fn of(config: &Config) -> Vec<String> {
    let mut doubts = placeholders(config);
    for repo in &config.repo {
        let strange = repo
            .arches
            .iter()
            .filter(|arch| !ARCHES.contains(&arch.as_str()));
        doubts.extend(strange.map(|arch| {
            format!(
                "warning: [[repo]] {} has the architecture {arch}, which is none of the usual ones",
                repo.name
            )
        }));
    }
    doubts
}

/// Settings that everybody sees and that are as they come.
fn placeholders(config: &Config) -> Vec<String> {
    let defaults = Config::default();
    let (signer, sbom) = (&config.signer, &config.sbom);
    let (of_signer, of_sbom) = (&defaults.signer, &defaults.sbom);
    let in_keys = unset(&[
        ("verifier_id", &signer.verifier_id, &of_signer.verifier_id),
        ("log_origin", &signer.log_origin, &of_signer.log_origin),
        ("user_id", &signer.user_id, &of_signer.user_id),
    ]);
    let in_sboms = unset(&[
        ("namespace", &sbom.namespace, &of_sbom.namespace),
        ("supplier_name", &sbom.supplier_name, &of_sbom.supplier_name),
        ("supplier_url", &sbom.supplier_url, &of_sbom.supplier_url),
        (
            "supplier_email",
            &sbom.supplier_email,
            &of_sbom.supplier_email,
        ),
    ]);
    let in_keys = in_keys.map(|names| {
        format!(
            "warning: [signer] has placeholders for {names}: they go into keys and statements, so set them before \
             `hallmark-signer init`"
        )
    });
    let in_sboms = in_sboms.map(|names| {
        format!("warning: [sbom] has placeholders for {names}: they stand in every SBOM")
    });
    in_keys.into_iter().chain(in_sboms).collect()
}

/// Names of the settings whose value is the default, if there is any.
///
/// * `settings`: name, value, default.
fn unset(settings: &[(&str, &String, &String)]) -> Option<String> {
    let same = settings
        .iter()
        .filter(|(_, value, default)| value == default);
    let names: Vec<&str> = same.map(|(name, ..)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_strange_architectures_are_told() {
        let doubts = |text: &str| of(&Config::read(text, []).unwrap());
        let told = doubts("[signer]\nuser_id = 'Us'\n[[repo]]\nname = 'base'\narches = ['x86_46']");
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told[0].contains("for verifier_id, log_origin: "),
            "{told:?}"
        );
        assert!(told[1].contains("supplier_email"), "{told:?}");
        assert!(told[2].contains("x86_46"), "{told:?}");
        let own = "[signer]\nuser_id = 'Us'\nverifier_id = 'https://us.example'\nlog_origin = 'log.us.example'\n\
            [sbom]\nnamespace = 'us'\nsupplier_name = 'Us'\nsupplier_url = 'https://us.example'\n\
            supplier_email = 'us@us.example'\n[[repo]]\nname = 'base'\narches = ['x86_64', 'aarch64']";
        assert_eq!(doubts(own), Vec::<String>::new());
    }
}
