//! What another implementation of TUF says: `oracle-tough ROOT DIR NAME` loads the repository in DIR, starting from the
//! root document ROOT, and writes the target NAME to standard output. Exit code 1 and a reason when it does not hold.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use tough::{ExpirationEnforcement, IntoVec as _, RepositoryLoader, TargetName};
use url::Url;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, dir, name] = arguments.as_slice() else {
        eprintln!("usage: oracle-tough ROOT DIR NAME");
        return ExitCode::from(2);
    };
    match target(root, dir, name).await {
        Ok(bytes) if std::io::stdout().write_all(&bytes).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}

async fn target(root: &str, dir: &str, name: &str) -> Result<Vec<u8>, Failure> {
    let root = std::fs::read(root)?;
    let dir = Path::new(dir).canonicalize()?;
    let url = Url::from_directory_path(&dir).map_err(|()| "not a directory")?;
    let repository = RepositoryLoader::new(&root, url.clone(), url)
        .expiration_enforcement(ExpirationEnforcement::Safe)
        .load()
        .await?;
    let stream = repository.read_target(&TargetName::new(name)?).await?;
    Ok(stream.ok_or("no such target")?.into_vec().await?)
}
