//! The cluster's key: where it comes from, who sees it, and who is kept out without it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::{Program, graft, text};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn write_key(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs a node of a cluster of one, which ends with its COMMAND.
fn run(directory: &Path, variables: &[(&str, &str)], more: &[&str]) -> Output {
    let command = ["--", "sh", "-c", "env | grep ^GRAFT_ | sort | tr '\\n' ' '"];
    Command::new(env!("CARGO_BIN_EXE_graft"))
        .args(["run", "--cluster", "c", "--size", "1", "--id", "a", "--local", "d"])
        .args(more)
        .args(command)
        .env_remove("GRAFT_COMPILER")
        .envs(variables.iter().copied())
        .current_dir(directory)
        .output()
        .unwrap()
}

#[test]
fn a_new_key_is_one_that_a_node_takes_and_unlike_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let keys = [(); 2].map(|()| text(&graft(directory.path(), &["key"]).stdout).to_owned());
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|key| key.len() == 65 && key.ends_with('\n')));
    // Two at once: one of them is being replaced.
    write_key(&directory.path().join("k"), &keys.concat(), 0o600);
    let output = run(directory.path(), &[], &["--key-file", "k"]);
    assert!(output.status.success(), "{output:?}");
}

/// COMMAND doesn't get the key, nor does anything that is printed show it.
#[test]
fn the_key_comes_from_the_environment_and_goes_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    write_key(&directory.path().join("k"), KEY, 0o400);
    for variables in [[("GRAFT_KEY", KEY)], [("GRAFT_KEY_FILE", "k")]] {
        let output = run(directory.path(), &variables, &[]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stdout), "GRAFT_CLUSTER=c GRAFT_ID=a GRAFT_TERM=1 ");
        assert!(!text(&output.stderr).contains(&KEY[..8]), "{output:?}");
        fs::remove_file(directory.path().join("c.1.vote")).unwrap();
    }
}

#[test]
fn a_key_that_can_not_be_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    write_key(&directory.path().join("open"), KEY, 0o644);
    write_key(&directory.path().join("wrong"), &format!("{KEY}\n{}", &KEY[1..]), 0o600);
    write_key(&directory.path().join("k"), KEY, 0o600);
    type Variables<'v> = &'v [(&'v str, &'v str)];
    let cases: [(Variables<'_>, &[&str], &str); 6] = [
        (&[], &["--key-file", "none"], "could not read the cluster's key in none"),
        (&[], &["--key-file", "open"], "open, whose mode is 0644: chmod 600 it"),
        (&[], &["--key-file", "wrong"], "wrong has no cluster's key: word 2 is not a key"),
        (&[("GRAFT_KEY", "0123")], &[], "GRAFT_KEY in the environment: word 1 is not a key"),
        (&[("GRAFT_KEY", KEY)], &["--key-file", "k"], "one of them must go"),
        (&[], &["--key-file", "k", "--mode", "graft"], "a node in Graft mode can't have a key"),
    ];
    for (variables, arguments, told) in cases {
        let output = run(directory.path(), variables, arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{errors}");
        assert!(errors.contains(told), "{errors}");
        assert!(!errors.contains(&KEY[..8]) && !errors.contains("0123"), "{errors}");
        assert!(!directory.path().join("d").exists());
    }
}

/// K1, K3: a sealed cluster is seen with and without its key, and operated with it alone.
#[test]
fn a_sealed_cluster_is_seen_by_all_and_operated_with_the_key() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("k");
    write_key(&file, KEY, 0o600);
    let key = ["--key-file", file.to_str().unwrap()];
    let medium = ["--local", "d"];
    let cluster = Cluster::start_with("c", &medium, &key);
    for arguments in [&[][..], &key] {
        let seen = cluster.graft(&[&["status", "c"], &medium[..], arguments].concat());
        assert!(seen.status.success(), "{seen:?}");
        let is_unverified = text(&seen.stdout).contains("\nunverified: ");
        assert_eq!(is_unverified, arguments.is_empty(), "{seen:?}");
        let seen = cluster.graft(&[&["status", "c", "--json"], &medium[..], arguments].concat());
        let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
        assert_eq!(seen["is_unverified"], arguments.is_empty(), "{seen}");
        assert_eq!(seen["unauthentic"], json!({}), "{seen}");
    }
    let doctor = cluster.graft(&[&["doctor", "c"], &medium[..]].concat());
    assert!(text(&doctor.stdout).contains("unverified: "), "{doctor:?}");
    let watch = [&["watch", "--json", "c"], &medium[..]].concat();
    Program::start(cluster.path(), &watch).wait_for(|line| line.is("unverified", &[]));
    let hand_over = ["hand-over", "c", "--wait", "1s"];
    let refused = cluster.graft(&[&hand_over[..], &medium].concat());
    assert!(!refused.status.success(), "{refused:?}");
    let done = cluster.graft(&[&["hand-over", "c"], &medium[..], &key].concat());
    assert!(done.status.success(), "{done:?}");

    let other = keys.path().join("other");
    write_key(&other, &KEY.replace("00", "99"), 0o600);
    let other = ["--key-file", other.to_str().unwrap()];
    let deaf = cluster.graft(&[&["status", "c"], &medium[..], &other].concat());
    assert_eq!(deaf.status.code(), Some(1), "{deaf:?}");
    let told = text(&deaf.stdout);
    assert!(told.contains("dropped for their seals: ") && told.contains(" wrong_seal)"), "{told}");

    let stranger = ["run", "--json", "--cluster", "c", "--size", "3", "--id", "stranger"];
    let mut stranger = Program::start(cluster.path(), &[&stranger[..], &medium].concat());
    stranger.wait_for_start();
    let doctor = cluster.graft(&[&["doctor", "c"], &medium[..], &key].concat());
    let found = text(&doctor.stdout);
    assert!(found.contains("stranger speaks without the cluster's key"), "{found}");
    assert_eq!(doctor.status.code(), Some(1));
}
