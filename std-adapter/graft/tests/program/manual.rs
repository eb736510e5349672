//! What the program says about itself: its version, its completions and its manual.

use std::fs;

use crate::process::{graft, text};

#[test]
fn the_version_is_that_of_program_protocol_and_compiler() {
    let directory = tempfile::tempdir().unwrap();
    let output = graft(directory.path(), &["--version"]);
    assert!(output.status.success(), "{output:?}");
    let told: Vec<_> = text(&output.stdout).lines().collect();
    let [program, protocol, compiler] = told[..] else { panic!("{told:?}") };
    assert_eq!(program, concat!("graft ", env!("CARGO_PKG_VERSION")));
    assert!(protocol.starts_with("protocol: that of Go graft 0.7"), "{protocol}");
    assert!(compiler.starts_with("compiler: rustc 1."), "{compiler}");
}

#[test]
fn each_shell_has_its_completions() {
    let directory = tempfile::tempdir().unwrap();
    for (shell, sign) in [("bash", "complete -F"), ("zsh", "#compdef graft"), ("fish", "-c graft")]
    {
        let output = graft(directory.path(), &["completions", shell]);
        assert!(output.status.success(), "{output:?}");
        let script = text(&output.stdout);
        for word in [sign, "election-timeout", "inspect"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
        // What only the program itself calls.
        assert!(!script.contains("__child"), "{shell}");
    }
    assert_eq!(graft(directory.path(), &["completions", "dos"]).status.code(), Some(64));
}

#[test]
fn each_subcommand_has_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let output = graft(directory.path(), &["man"]);
    assert!(text(&output.stdout).contains(".TH graft 1"), "{output:?}");

    assert!(graft(directory.path(), &["man", "new/pages"]).status.success());
    let pages = fs::read_dir(directory.path().join("new/pages")).unwrap();
    let mut names: Vec<_> = pages.map(|it| it.unwrap().file_name()).collect();
    names.sort();
    for page in ["graft.1", "graft-run.1", "graft-voters.1"] {
        assert!(names.contains(&page.into()), "{page} in {names:?}");
    }
    let is_hidden = |name: &str| name.contains("__") || name.contains("watchdog");
    assert!(names.iter().all(|it| !is_hidden(&it.to_string_lossy())), "{names:?}");
    let page = fs::read_to_string(directory.path().join("new/pages/graft-run.1")).unwrap();
    assert!(page.contains("Exit statuses"), "{page}");
}
