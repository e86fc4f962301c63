//! `hallmark in-toto`: a layout and the rebuilders' links, for `in-toto-verify`.

use super::rebuild;
use crate::api::{Client, ServerArgs};
use crate::failure::Failure;
use crate::output;
use hallmark_rebuilder::keys;
use repo_model::FileDigest;
use repo_model::Timestamp;
use repo_model::dsse::{Envelope, StatementKey};
use repo_model::in_toto::{self, Artifacts, Demands};
use repo_model::policy::Policy;
use repo_model::rpm::{Head, signature};
use repo_model::statement::{REBUILD, Rebuild, Statement};
use repo_model::wire::status::BuildStatus;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest link or statement that is read, bytes.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// Subcommands of `hallmark in-toto`.
#[derive(Debug, clap::Subcommand)]
pub enum InToto {
    /// Make the key of the one who says which rebuilders count
    #[command(after_help = "\
Writes FILE (P-256, PKCS #8 PEM, mode 0600; never overwritten) and FILE.pub. Keep FILE off the machines that
serve packages: whoever has it says which rebuilders count.

EXAMPLES:
  hallmark in-toto keygen --out owner.key")]
    Keygen {
        /// The new key
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write layout, links and unsigned packages into a folder that `in-toto-verify` accepts
    #[command(after_help = "\
The layout demands links of `min_rebuilders` of the policy's rebuilders that made the same packages, and that
what lies in the folder is what they made. Links are about packages as they were built, so the signatures are
taken off the copies, byte for byte.

EXAMPLES:
  hallmark in-toto export hello-2.12-1.x86_64.rpm --policy policy.toml --owner-key owner.key -o evidence/
  cd evidence && in-toto-verify --layout root.layout --verification-keys owner.pub")]
    Export(ExportArgs),
}

/// Arguments of `hallmark in-toto export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Packages of one build, as they were published
    #[arg(required = true, value_name = "RPM")]
    packages: Vec<PathBuf>,
    /// Rebuilders with their keys, and how many must agree
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Sign the layout with this key
    #[arg(long, value_name = "FILE")]
    owner_key: PathBuf,
    /// The layout holds for so many days
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    expires_days: u32,
    /// The new folder
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(command: &InToto) -> Result<(), Failure> {
    match command {
        InToto::Keygen { out } => keygen(out),
        InToto::Export(args) => export(args),
    }
}

fn keygen(out: &Path) -> Result<(), Failure> {
    let key = keys::new_statement_key().map_err(Failure::failed)?;
    keys::write_new_builder_key(&key, out).map_err(Failure::failed)?;
    let mut public = out.as_os_str().to_owned();
    public.push(".pub");
    write(Path::new(&public), key.public().to_pem().as_bytes())?;
    output::line(Path::new(&public).display())
}

fn export(args: &ExportArgs) -> Result<(), Failure> {
    let policy = Policy::from_toml(&read_text(&args.policy)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.policy.display())))?;
    let owner = StatementKey::from_pem(&read_text(&args.owner_key)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.owner_key.display())))?;
    let client = args.server.client()?;
    let Some(first) = args.packages.first() else {
        return Err(Failure::usage("no package is given"));
    };
    let build = rebuild::build_of(&client, first)?;
    std::fs::create_dir(&args.output).map_err(|error| {
        Failure::usage(format!(
            "cannot make the folder {}: {error}",
            args.output.display()
        ))
    })?;
    for package in &args.packages {
        let (name, bytes) = unsigned(package)?;
        write(&args.output.join(name), &bytes)?;
    }
    let mut products = BTreeSet::new();
    let links = links(&client, &build, &policy, &mut products)?;
    for (name, text) in &links {
        write(&args.output.join(name), text)?;
    }
    let rebuilders: Vec<_> = policy
        .rebuilders
        .iter()
        .map(|holder| holder.statement_key.clone())
        .collect();
    let layout = in_toto::layout(
        &Demands {
            rebuilders: &rebuilders,
            threshold: policy.min_rebuilders,
            source: &build.source.file_name(),
            packages: &products.into_iter().collect::<Vec<_>>(),
            expires: in_days(args.expires_days),
        },
        &owner,
    )
    .map_err(Failure::failed)?;
    write(&args.output.join(in_toto::LAYOUT_FILE), &layout)?;
    write(
        &args.output.join("owner.pub"),
        owner.public().to_pem().as_bytes(),
    )?;
    output::note(format!(
        "{} of {} rebuilders have signed a link; {} are needed",
        links.len(),
        rebuilders.len(),
        policy.min_rebuilders
    ));
    output::line(format!(
        "cd {} && in-toto-verify --layout {} --verification-keys owner.pub",
        args.output.display(),
        in_toto::LAYOUT_FILE
    ))
}

/// The links that the policy's rebuilders have signed, under the names that verifiers look for, and the
/// names of all packages in them. Links that do not verify are passed over: they would count for nothing.
fn links(
    client: &Client,
    build: &BuildStatus,
    policy: &Policy,
    products: &mut BTreeSet<String>,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let statements: BTreeSet<FileDigest> = build
        .packages
        .iter()
        .flat_map(|package| &package.evidence)
        .filter(|link| link.kind == "rebuild")
        .map(|link| link.digest)
        .collect();
    let mut digests = BTreeSet::new();
    for statement in statements {
        let envelope =
            Envelope::from_json(&document(client, statement)?).map_err(Failure::failed)?;
        // What it names is verified below; the statement itself decides nothing here.
        let Ok(statement) = Statement::<Rebuild>::open_unverified(&envelope, REBUILD) else {
            continue;
        };
        let attachments = statement.predicate.attachments.into_iter();
        let named = attachments.filter(|item| item.name.as_deref() == Some(in_toto::ATTACHMENT));
        digests
            .extend(named.filter_map(|item| item.digest.get("sha256")?.parse::<FileDigest>().ok()));
    }
    let mut links = Vec::new();
    for digest in digests {
        let text = document(client, digest)?;
        for holder in &policy.rebuilders {
            let opened: Result<Artifacts, _> = in_toto::open_link(&text, &holder.statement_key);
            if let Ok(made) = opened {
                products.extend(made.into_keys());
                links.push((in_toto::link_file(&holder.statement_key), text.clone()));
            }
        }
    }
    Ok(links)
}

fn document(client: &Client, digest: FileDigest) -> Result<Vec<u8>, Failure> {
    let mut answer = client.get(&format!("/evidence/sha256/{digest}"))?;
    let body = answer
        .body_mut()
        .with_config()
        .limit(MAX_DOCUMENT_BYTES)
        .read_to_vec();
    let bytes = body.map_err(|error| Failure::failed(format!("cannot fetch {digest}: {error}")))?;
    if FileDigest::of(&bytes) == digest {
        return Ok(bytes);
    }
    Err(Failure::failed(format!(
        "the server sent other bytes for {digest}"
    )))
}

/// A package's own file name and its bytes without signatures.
fn unsigned(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let unusable = |error: String| Failure::usage(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let head = Head::parse(&bytes).map_err(|error| unusable(error.to_string()))?;
    let package =
        repo_model::rpm::Package::from_head(&head).map_err(|error| unusable(error.to_string()))?;
    let start = usize::try_from(head.header_range().start).unwrap_or(usize::MAX);
    let mut unsigned = head.lead().to_vec();
    unsigned.extend(signature::stripped(&head));
    unsigned.extend(bytes.get(start..).unwrap_or_default());
    Ok((package.nevra.file_name(), unsigned))
}

fn in_days(days: u32) -> Timestamp {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let secs = now + u64::from(days) * 86_400;
    Timestamp::from_unix_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}
