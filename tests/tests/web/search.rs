//! Search, as a page and as JSON.

use crate::{STORY, page};
use repo_model::wire::search::SearchAnswer;

fn search(question: &str) -> SearchAnswer {
    let world = &STORY.world;
    world
        .http
        .with_token(None)
        .get_json(&format!("/api/v1/search?q={question}"))
}

fn names(question: &str) -> Vec<String> {
    let found = search(question).names.hits;
    found.into_iter().map(|hit| hit.name).collect()
}

#[test]
fn packages_are_found_by_name_by_its_beginning_its_middle_and_by_words_of_the_summary() {
    for (question, want) in [
        ("hello", &["hello"][..]),
        ("HEL", &["hello"]),
        ("reet", &["greeter"]),
        ("gre", &["greeter", "hello"]),
        ("friendly%20greeting", &["hello"]),
        ("friendly%20nothing", &[]),
        ("%22%20OR%20hello*", &[]),
        ("h", &["hello"]),
    ] {
        assert_eq!(names(question), want, "{question}");
    }
    let newest = search("hello").names.hits.remove(0);
    assert_eq!(newest.evr, "2.0-1", "the newest one is shown");
}

#[test]
fn packages_are_found_by_what_they_provide_and_by_their_files() {
    let provided = search("pkgconfig(hello").provides.hits;
    assert!(
        provided
            .iter()
            .any(|hit| hit.capability == "pkgconfig(hello) = 2.0" && hit.package == "hello")
    );
    // Without the wrapping, too.
    assert!(
        search("hello")
            .provides
            .hits
            .iter()
            .any(|hit| hit.capability.starts_with("pkgconfig("))
    );
    for question in ["/usr/bin/hello", "/usr/bin/he", "bin/hello"] {
        let files = search(question).files.hits;
        assert_eq!(files.len(), 1, "{question}: {files:?}");
        assert_eq!(files[0].path, "/usr/bin/hello");
    }
    assert!(
        search("README")
            .files
            .hits
            .iter()
            .any(|hit| hit.path == "/usr/share/doc/hello/README")
    );
}

#[test]
fn what_is_held_back_is_not_found() {
    assert_eq!(search("clockwork"), SearchAnswer::default());
    assert!(page("/search?q=clockwork").contains("Nothing in the newest release fits"));
}

#[test]
fn a_question_that_is_none_is_answered_kindly() {
    let http = STORY.world.http.with_token(None);
    for question in [
        "%00",
        "%27%3B--",
        "%28%29%28",
        "%25%25",
        "*",
        &"x".repeat(5_000),
        "(",
        "%E2%80%AE",
    ] {
        for kind in ["", "&in=name", "&in=provides", "&in=files"] {
            let answer = http.get(&format!("/search?q={question}{kind}"));
            assert_eq!(answer.status, 200, "{question}{kind}: {}", answer.text());
        }
    }
    assert_eq!(http.get("/search?q=a&in=nowhere").status, 400);
    assert!(page("/search").contains("<h1>Packages</h1>"));
}
