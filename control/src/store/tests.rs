use super::*;
use crate::scratch::Scratch;

const GOOD: &str = "service: shop/reviews:8080\nroute:\n- timeout: 2s\n";
const TYPO: &str = "service: shop/reviews:8080\nroute:\n- timeuot: 2s\n";

fn file(name: &str, text: &str) -> File {
    File {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn open(dir: &Scratch, directory: Vec<File>) -> PolicyStore {
    PolicyStore::open(dir.path(), Options::default(), directory).unwrap()
}

#[test]
fn a_typo_is_refused_with_line_and_column_and_the_old_policy_stays() {
    let dir = Scratch::new("store");
    let mut store = open(&dir, vec![file("reviews.yaml", GOOD)]);
    let before = store.current().revision.clone();
    assert_eq!(store.current().resources.len(), 1);

    let outcome = store.take_directory(vec![file("reviews.yaml", TYPO)]);
    assert!(!outcome.accepted);
    assert_eq!(store.current().revision, before);
    let refused = store.refused().unwrap();
    assert_eq!(refused.code, "M3002");
    assert!(
        refused.first.starts_with("reviews.yaml:3:3"),
        "{}",
        refused.first
    );
    assert!(refused.rendered.contains("timeout"), "{}", refused.rendered);

    let again = open(&dir, vec![file("reviews.yaml", TYPO)]);
    assert_eq!(
        again.current().revision,
        before,
        "last good, also after a restart"
    );
    assert!(again.refused().is_some());

    assert!(
        store
            .take_directory(vec![file("reviews.yaml", GOOD)])
            .accepted
    );
    assert_eq!(store.refused(), None);
}

#[test]
fn what_was_applied_survives_a_restart_and_a_dry_run_changes_nothing() {
    let dir = Scratch::new("store");
    let mut store = open(&dir, Vec::new());
    let empty = store.current().revision.clone();
    assert!(store.apply(vec![file("a.yaml", GOOD)], true).accepted);
    assert_eq!(store.current().revision, empty);
    let outcome = store.apply(vec![file("a.yaml", GOOD)], false);
    assert!(outcome.accepted && outcome.changed);
    let revision = store.current().revision.clone();
    assert_ne!(revision, empty);
    let outcome = store.apply(vec![file("a.yaml", GOOD)], false);
    assert!(
        outcome.accepted && !outcome.changed,
        "the same again is no change"
    );
    drop(store);
    assert_eq!(open(&dir, Vec::new()).current().revision, revision);
}

#[test]
fn a_resource_in_the_directory_and_applied_is_an_error() {
    let dir = Scratch::new("store");
    let mut store = open(&dir, vec![file("dir/a.yaml", GOOD)]);
    let outcome = store.apply(vec![file("b.yaml", GOOD)], false);
    assert!(!outcome.accepted);
    assert!(
        outcome.checked.errors.has("M3021"),
        "{}",
        outcome.checked.rendered
    );
}

#[test]
fn history_keeps_the_last_fifty_revisions() {
    let dir = Scratch::new("store");
    let mut store = open(&dir, Vec::new());
    for n in 1..=53 {
        let text = format!("service: shop/reviews:80\nroute:\n- timeout: {n}s\n");
        assert!(store.apply(vec![file("a.yaml", &text)], false).accepted);
    }
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(dir.path().join("history"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names().len(), 50);
    assert_eq!(names()[0], "00000004.json");
    drop(store);
    open(&dir, Vec::new()).apply(vec![file("a.yaml", GOOD)], false);
    assert_eq!(names().last().unwrap(), "00000054.json");
}

#[test]
fn the_directory_is_read_by_name_and_told_only_when_it_changed() {
    let dir = Scratch::new("policies");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("b.yml", "b");
    write("a.yaml", "a");
    write(".hidden.yaml", "no");
    write("notes.txt", "no");
    let mut policies = PolicyDir::new(dir.path().to_owned());
    assert_eq!(policies.look(), Look::Unsettled);
    let Look::Changed(Ok(files)) = policies.look() else {
        panic!("settled");
    };
    assert_eq!(
        files
            .iter()
            .map(|file| file.text.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(policies.look(), Look::Same);

    let mut missing = PolicyDir::new(dir.path().join("missing"));
    assert_eq!(missing.look(), Look::Unsettled);
    assert!(matches!(missing.look(), Look::Changed(Err(_))));
    assert_eq!(missing.look(), Look::Same);
}

#[test]
fn a_file_between_truncation_and_write_is_not_taken() {
    let dir = Scratch::new("policies");
    let write = |text: &str| std::fs::write(dir.path().join("a.yaml"), text).unwrap();
    write("a");
    let mut policies = PolicyDir::new(dir.path().to_owned());
    policies.look();
    assert!(matches!(policies.look(), Look::Changed(Ok(_))));
    write("");
    assert_eq!(policies.look(), Look::Unsettled);
    write("b");
    assert_eq!(policies.look(), Look::Unsettled, "another content again");
    let Look::Changed(Ok(files)) = policies.look() else {
        panic!("settled");
    };
    assert_eq!(files[0].text, "b");
    write("");
    assert_eq!(policies.look(), Look::Unsettled);
    write("b");
    assert_eq!(policies.look(), Look::Same, "it was rewritten as it was");
    write("");
    assert_eq!(
        policies.look(),
        Look::Unsettled,
        "looks before do not count"
    );
}

#[test]
fn a_torn_policy_file_stops_the_start() {
    let dir = Scratch::new("store");
    std::fs::write(dir.path().join("policy.json"), "{\"applied\":").unwrap();
    let error = PolicyStore::open(dir.path(), Options::default(), Vec::new()).unwrap_err();
    assert_eq!(error.code(), "M5003");
}
