//! Every page in a real browser: two widths, two themes, no complaint of the console, of axe-core, or of the
//! content security policy; no request to anybody else.

use crate::STORY;
use hallmark_tests::World;
use hallmark_tests::process::{command, run};
use hallmark_tests::require;
use hallmark_tests::tools::{Need, browser_tools, chromium};
use serde_json::{Value, json};
use std::path::Path;

/// A page to look at, and words that it shows.
pub fn look(name: &str, path: &str, has: &[&str]) -> Value {
    json!({"name": name, "path": path, "has": has})
}

/// Page of the first report on differences.
fn report(build: u64) -> String {
    let documents = STORY.world.build(build).documents;
    let is_report = |label: &str| label.ends_with(".diffoscope.txt");
    let link = documents.iter().find(|link| is_report(&link.label));
    format!(
        "/builds/{build}/reports/{}",
        link.expect("there is one").digest
    )
}

fn pages() -> Vec<Value> {
    let [_, hello, _, enemy, held, waiting] = STORY.builds;
    let packages = "/preview/base/x86_64/Packages/";
    vec![
        look("home", "/", &["Set up your machine"]),
        look(
            "search-empty",
            "/search",
            &["Name, words, capability or file"],
        ),
        look("search", "/search?q=hello", &["By file", "/usr/bin/hello"]),
        look("search-enemy", "/search?q=enemy", &["onerror=alert(2)"]),
        look("search-files", "/search?q=%2Fusr%2F&in=files", &[]),
        look(
            "search-none",
            "/search?q=%3Cscript%3Ealert(5)%3C%2Fscript%3E",
            &["<script>alert(5)</script>"],
        ),
        look("package", "/packages/hello", &["What needs it", "change 6"]),
        look("package-old", "/packages/hello/1.0-1.noarch", &[]),
        look(
            "package-enemy",
            "/packages/enemy",
            &["onerror=alert(2)", "javascript:alert(3)"],
        ),
        look(
            "package-held",
            "/packages/clockwork",
            &["No release has this version."],
        ),
        look(
            "files",
            "/packages/hello/2.0-1.noarch/files",
            &["/usr/bin/hello"],
        ),
        look(
            "dependents",
            "/packages/hello/2.0-1.noarch/required-by",
            &["greeter"],
        ),
        look("builds", "/builds", &["clockwork"]),
        look("build", &format!("/builds/{hello}"), &["Check it yourself"]),
        look(
            "build-enemy",
            &format!("/builds/{enemy}"),
            &["onerror=alert(2)"],
        ),
        look(
            "build-held",
            &format!("/builds/{held}"),
            &["embedded-clock", "/usr/bin/clockwork"],
        ),
        look(
            "build-waiting",
            &format!("/builds/{waiting}"),
            &["slowpoke"],
        ),
        look("report", &report(held), &["10:03:11 <b>"]),
        look(
            "releases",
            "/releases",
            &["Release 5", "Reproducibility over time"],
        ),
        look("release", "/releases/3", &["hello-2.0-1.src"]),
        look(
            "contents",
            "/releases/5/packages?repo=base&arch=x86_64",
            &["greeter"],
        ),
        look("changes", "/releases/5/changes?from=2", &["Upgraded"]),
        look(
            "changes-none",
            "/releases/2/changes?from=2",
            &["Both have the same packages."],
        ),
        look(
            "component-changes",
            "/releases/5/components?from=2",
            &["Inside release 2 and release 5"],
        ),
        look("log", "/log", &["What was said last", "release 5"]),
        look("inside-empty", "/inside", &["Who ships it?"]),
        look("inside", "/inside?component=hello", &["hello-2.0-1"]),
        look(
            "inside-bad",
            "/inside?component=hello&version=%3D%3D%3Cscript%3E",
            &[],
        ),
        look(
            "components",
            "/packages/hello/2.0-1.noarch/inside",
            &["the package itself"],
        ),
        look(
            "licences",
            "/releases/5/licences",
            &["MIT", "onerror=alert(2)"],
        ),
        look("api", "/api", &["/api/v1/builds/{build}/retry"]),
        look(
            "rebuilders",
            "/rebuilders",
            &["rebuilder-a", "Who agrees with whom"],
        ),
        look("mirrors", "/mirrors", &["harbour", "Where they are"]),
        look("listing", packages, &["h"]),
        json!({"name": "missing", "path": "/packages/nobody", "status": 404, "has": ["Nothing here"]}),
    ]
}

#[test]
fn every_page_is_sound_in_a_real_browser() {
    require!([Need::Browser]);
    let plan = json!({
        "pages": pages(),
        "stories": ["search_without_scripts", "keyboard", "copy"],
    });
    let problems = visit(&STORY.world, plan);
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Has a browser carry out a plan (browser/visit.mjs); gives what is wrong, in sentences.
pub fn visit(world: &World, mut plan: Value) -> Vec<String> {
    let shots = std::env::var_os("HALLMARK_SHOTS").map(|dir| dir.to_string_lossy().into_owned());
    plan["base"] = world.url().into();
    plan["shots"] = shots.into();
    let file = world.dir().join("visit.json");
    std::fs::write(&file, plan.to_string()).expect("the folder is ours");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/visit.mjs");
    let output = run(command("node")
        .arg(script)
        .arg(&file)
        .env("HALLMARK_BROWSER", browser_tools())
        .env("HALLMARK_CHROMIUM", chromium().expect("it is there")));
    serde_json::from_str(&output).expect("a list of sentences")
}
