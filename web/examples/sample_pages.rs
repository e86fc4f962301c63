//! Writes every page with sample data, and the assets, below a directory, to look at in a browser:
//! `cargo run -p web --example sample_pages -- DIR`, then serve DIR with any static web server.

#[path = "../tests/pages/samples/mod.rs"]
mod samples;

use samples::{Words, every_page};
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let missing = || io::Error::other("give the directory to write to");
    let dir = PathBuf::from(env::args_os().nth(1).ok_or_else(missing)?);
    fs::create_dir_all(dir.join("assets"))?;
    for asset in web::assets() {
        fs::write(dir.join(asset.path.trim_start_matches('/')), asset.bytes)?;
    }
    for (prefix, words) in [("", Words::Ordinary), ("enemy-", Words::Enemy)] {
        for (name, html) in every_page(words) {
            fs::write(dir.join(format!("{prefix}{name}.html")), html)?;
        }
    }
    let builds = samples::builds(Words::Ordinary);
    for (name, feed) in samples::feeds(Words::Ordinary, &samples::site("Hallmark"), &builds) {
        fs::write(dir.join(format!("{name}.atom")), feed)?;
    }
    for build in builds {
        fs::write(
            dir.join(format!("badge-{}.svg", build.build)),
            web::badge_svg(&build),
        )?;
    }
    Ok(())
}
