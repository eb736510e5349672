//! The vote file as its users see it: opened, saved, shared, damaged and killed.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use graft_election::{
    Corruption, ErrorChain, LoadError, LoadWarning, OpenError, SaveError, SaveStep, StoredVote,
    VoteFile, VoteFileError, VoteRecord, VoteStore,
};
use graft_election_core::NodeId;
use tempfile::TempDir;

/// Recorded by running the Go original; `tests/golden` says how.
const GOLDEN: &str = include_str!("../../tests/golden/logs.jsonl");

/// Where a child process finds its vote file.
const CHILD_PATH: &str = "GRAFT_TEST_VOTE_FILE";

#[test]
fn a_missing_file_is_a_new_nodes_and_only_a_save_creates_it() {
    let (_directory, path) = place();
    let mut votes = open(&path);
    assert_eq!(votes.load().unwrap(), StoredVote::default());
    assert!(!path.exists());
    assert!(matches!(VoteFile::inspect(&path), Err(LoadError::Missing { .. })));

    votes.save(&id("a"), &vote(1, "b")).unwrap();
    assert_eq!(votes.path(), path);
    assert_eq!(votes.load().unwrap(), stored("a", vote(1, "b")));
}

#[test]
fn g1_closing_keeps_the_vote() {
    let (_directory, path) = place();
    let mut votes = open(&path);
    votes.save(&id("a"), &vote(1, "b")).unwrap();
    drop(votes);
    assert_eq!(open(&path).load().unwrap(), stored("a", vote(1, "b")));
}

#[test]
fn only_delete_removes_the_vote_and_nothing_stays_behind() {
    let (directory, path) = place();
    let mut votes = open(&path);
    votes.save(&id("a"), &vote(1, "b")).unwrap();
    fs::write(beside(&path, ".tmp"), "left over").unwrap();
    votes.delete().unwrap();
    assert_eq!(names_in(directory.path()), [""; 0]);

    open(&path).delete().unwrap();
    assert_eq!(names_in(directory.path()), [""; 0]);
}

#[test]
fn files_of_go_nodes_open_as_in_go() {
    for line in GOLDEN.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (_directory, path) = place();
        fs::write(&path, unhex(line["hex"].as_str().unwrap())).unwrap();
        let go = &line["readState"];
        let Ok(contents) = VoteFile::inspect(&path) else {
            // Stricter than Go: half a surrogate pair is refused. Neither writes one.
            let is_stricter = line["file"] == "logs/inner_lone_surrogate.log";
            assert_eq!(go["ok"], is_stricter, "{line}");
            let refused = VoteFile::open(&path).unwrap_err();
            assert!(matches!(refused, OpenError::Load(LoadError::Corrupt { .. })), "{line}");
            continue;
        };
        let contents = contents.unwrap();
        assert_eq!(go["term"], contents.term.to_string(), "{line}");
        assert_eq!(unhex(go["voteHex"].as_str().unwrap()), contents.voted_for.as_bytes());
        // Stricter than Go: rule T4 bounds terms, and rule V7 names.
        let opened = VoteFile::open(&path).map(|mut votes| votes.load().unwrap());
        match contents.to_stored_vote() {
            Ok(usable) => {
                assert_eq!(opened.unwrap(), usable);
                let record = usable.record;
                open(&path).save(&id("a"), &record).unwrap();
                assert_eq!(open(&path).load().unwrap(), stored("a", record));
            }
            Err(unusable) => {
                assert!(matches!(opened, Err(OpenError::Load(LoadError::Unusable { reason, .. }))
                    if reason == unusable))
            }
        }
    }
}

/// Go takes an empty file for a new node's. So must its successor, but not in silence.
#[test]
fn g2_an_empty_file_is_reported() {
    let (_directory, path) = place();
    fs::write(&path, "").unwrap();
    assert_eq!(VoteFile::inspect(&path).unwrap(), None);
    let expected = StoredVote { warnings: vec![LoadWarning::NoState], ..StoredVote::default() };
    assert_eq!(open(&path).load().unwrap(), expected);
}

#[test]
fn g2_a_reader_never_sees_an_empty_or_half_written_file() {
    let (_directory, path) = place();
    let mut votes = open(&path);
    votes.save(&id("a"), &vote(1, "b")).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut latest = 0;
            while !is_done.load(Ordering::Relaxed) {
                let term = VoteFile::inspect(&path).unwrap().unwrap().term;
                assert!(term >= latest);
                latest = term;
            }
        });
        for term in 2..=1_001 {
            votes.save(&id("a"), &vote(term, "b")).unwrap();
            if reader.is_finished() {
                break;
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn g2_a_killed_node_finds_what_it_saved() {
    kill_nodes(50);
}

#[test]
#[ignore = "takes a minute; `cargo xtask crash-files` runs it"]
fn g2_a_node_killed_a_thousand_times_finds_what_it_saved() {
    kill_nodes(1_000);
}

/// Kills so many processes, each while it saves one record after the other.
#[track_caller]
fn kill_nodes(count: usize) {
    let (_directory, path) = place();
    let (mut latest, mut saves) = (0, 0);
    for number in 1..=count {
        let mut child = child("child_saves_for_ever", &path);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let saved = lines.map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("saved ").map(|term| term.parse::<u64>().unwrap())
        });
        // What the process said until it was dead was saved, too.
        let mut last_heard = 0;
        for (heard, term) in saved.enumerate() {
            if heard == 0 {
                // V1: it votes in no term in which another may have.
                assert_eq!(term, latest + 1);
            }
            last_heard = term;
            if heard == number % 20 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let mut votes = open(&path);
        let StoredVote { record, id: kept_id, warnings } = votes.load().unwrap();
        assert!(record.term == last_heard || record.term == last_heard + 1, "{record:?}");
        assert_eq!((record.voted_for, kept_id), (Some(id("b")), Some(id("a"))));
        assert!(warnings.is_empty() && !beside(&path, ".tmp").exists());
        saves += record.term - latest;
        latest = record.term;
    }
    println!("\nfigures: {count} processes killed in {saves} saves");
}

#[test]
#[ignore = "killed by kill_nodes"]
fn child_saves_for_ever() {
    let Some(path) = env::var_os(CHILD_PATH) else {
        return;
    };
    let mut votes = VoteFile::open(path).unwrap();
    let first = votes.load().unwrap().record.term + 1;
    for term in first.. {
        votes.save(&id("a"), &vote(term, "b")).unwrap();
        println!("\nsaved {term}");
    }
}

#[test]
fn i2_what_a_crash_left_of_a_save_is_removed() {
    let (directory, path) = place();
    open(&path).save(&id("a"), &vote(1, "b")).unwrap();
    fs::write(beside(&path, ".tmp"), "{\"SHA").unwrap();
    assert_eq!(open(&path).load().unwrap(), stored("a", vote(1, "b")));
    assert_eq!(names_in(directory.path()), ["vote", "vote.lock"]);
}

#[test]
fn g18_two_nodes_of_one_process_cannot_share_a_file() {
    let (directory, path) = place();
    let first = open(&path);
    let link = directory.path().join("link");
    symlink("vote", &link).unwrap();
    for path in [&path, &link] {
        assert!(matches!(VoteFile::open(path), Err(OpenError::InUse { .. })));
    }
    drop(first);
    open(&link);
}

#[test]
fn g18_two_processes_cannot_share_a_file() {
    let (_directory, path) = place();
    let mut child = child("child_holds_the_file", &path);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"));

    let refused = VoteFile::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }));
    assert_eq!(refused.to_string(), format!("{} is in use by another node", path.display()));
    // Looking is no use.
    assert!(VoteFile::inspect(&path).unwrap().is_some());

    drop(child.stdin.take());
    child.wait().unwrap();
    open(&path);
}

#[test]
#[ignore = "started by g18_two_processes_cannot_share_a_file"]
fn child_holds_the_file() {
    let Some(path) = env::var_os(CHILD_PATH) else {
        return;
    };
    let mut votes = VoteFile::open(path).unwrap();
    votes.save(&id("a"), &vote(1, "b")).unwrap();
    println!("\nheld");
    let closed = std::io::stdin().read_line(&mut String::new());
    assert_eq!(closed.unwrap(), 0);
}

#[test]
fn g18_a_node_whose_lock_file_was_removed_saves_no_more() {
    let (_directory, path) = place();
    let mut first = open(&path);
    first.save(&id("a"), &vote(1, "b")).unwrap();
    fs::remove_file(beside(&path, ".lock")).unwrap();
    let refused = save_error(first.save(&id("a"), &vote(2, "b")));
    assert_eq!(refused.step, SaveStep::VerifyLock);

    let mut second = open(&path);
    second.save(&id("a"), &vote(2, "c")).unwrap();
    let refused = save_error(first.save(&id("a"), &vote(2, "b")));
    assert_eq!(refused.step, SaveStep::VerifyLock);
    assert_eq!(second.load().unwrap(), stored("a", vote(2, "c")));
}

#[test]
fn g20_a_failed_save_keeps_the_old_vote() {
    let (_directory, path) = place();
    let mut votes = open(&path);
    votes.save(&id("a"), &vote(1, "b")).unwrap();
    let before = fs::read(&path).unwrap();

    // Not even root can put a file where a directory is.
    fs::create_dir(beside(&path, ".tmp")).unwrap();
    let refused = save_error(votes.save(&id("a"), &vote(1, "b")));

    assert_eq!(refused.step, SaveStep::Create);
    let said = ErrorChain(&refused).to_string();
    let expected = format!(
        "the vote can't be saved in {}: failed to create the temporary file: ",
        path.display()
    );
    assert!(said.starts_with(&expected) && said.len() > expected.len(), "{said}");
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_dir(beside(&path, ".tmp")).unwrap();
    votes.save(&id("a"), &vote(2, "b")).unwrap();
    assert_eq!(votes.load().unwrap(), stored("a", vote(2, "b")));
}

#[test]
fn c4_a_save_into_a_place_that_is_gone_fails() {
    let (directory, path) = place();
    let mut votes = open(&path);
    fs::create_dir(&path).unwrap();
    assert_eq!(save_error(votes.save(&id("a"), &vote(1, "b"))).step, SaveStep::Rename);
    // What the failed save has left does not obstruct the next one.
    fs::remove_dir(&path).unwrap();
    votes.save(&id("a"), &vote(1, "b")).unwrap();

    let directory = directory.path();
    fs::rename(directory, directory.with_extension("moved")).unwrap();
    assert_eq!(save_error(votes.save(&id("a"), &vote(2, "b"))).step, SaveStep::VerifyLock);
    fs::rename(directory.with_extension("moved"), directory).unwrap();
    votes.save(&id("a"), &vote(2, "b")).unwrap();
}

#[test]
fn a_place_where_nothing_can_be_written_is_found_at_start() {
    let (_directory, path) = place();
    fs::create_dir(beside(&path, ".tmp")).unwrap();
    let refused = VoteFile::open(&path).unwrap_err();
    assert!(matches!(&refused, OpenError::Unwritable(error) if error.step == SaveStep::Create));
    assert!(refused.to_string().contains(path.to_str().unwrap()), "{refused}");

    fs::remove_dir(beside(&path, ".tmp")).unwrap();
    fs::remove_file(beside(&path, ".lock")).unwrap();
    fs::create_dir(beside(&path, ".lock")).unwrap();
    let refused = VoteFile::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Lock { .. }));
    assert!(refused.to_string().contains("vote.lock"), "{refused}");
}

#[test]
fn what_is_no_file_is_refused() {
    let (directory, path) = place();
    fs::create_dir(&path).unwrap();
    let refused = VoteFile::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Load(LoadError::NotAFile { .. })));
    assert!(matches!(VoteFile::inspect(&path), Err(LoadError::NotAFile { .. })));
    assert_eq!(names_in(directory.path()), ["vote"]);

    // A pipe would block who opens it.
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let refused = VoteFile::open(&pipe).unwrap_err();
    assert!(matches!(refused, OpenError::Load(LoadError::NotAFile { .. })));

    assert!(matches!(VoteFile::open(""), Err(OpenError::NoFileName { .. })));
    // Another node would remove it when it saves, or have it for its lock.
    for name in ["vote.tmp", "vote.lock"] {
        let refused = VoteFile::open(directory.path().join(name)).unwrap_err();
        assert!(matches!(refused, OpenError::NameOfBeside { .. }), "{refused}");
    }
    let missing = directory.path().join("missing/vote");
    assert!(matches!(VoteFile::open(&missing), Err(OpenError::Unreachable { .. })));
    let circle = directory.path().join("circle");
    symlink("circle", &circle).unwrap();
    assert!(matches!(VoteFile::open(&circle), Err(OpenError::Unreachable { .. })));
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let (_directory, path) = place();
    let expect = |data: &str, reason: &str| {
        fs::write(&path, data).unwrap();
        let refused = ErrorChain(&VoteFile::open(&path).unwrap_err()).to_string();
        assert_eq!(refused, format!("{} {reason}", path.display()));
    };
    expect(
        r#"{"SHA":"9aq5"#,
        "is corrupt: it is not a vote file in JSON: EOF while parsing a string at line 1 column 12",
    );
    expect("{}", "is corrupt: its digest does not match its data");
    expect(
        // {"CurrentTerm":9223372036854775808}
        concat!(
            r#"{"SHA":"n11fWqAThZ3QcspDsQQ8iU4vCr4=","#,
            r#""Data":"eyJDdXJyZW50VGVybSI6OTIyMzM3MjAzNjg1NDc3NTgwOH0="}"#
        ),
        "can't be used: term 9223372036854775808 is out of range",
    );
}

#[test]
fn a_file_too_long_to_be_one_is_refused() {
    let (_directory, path) = place();
    open(&path).save(&id("a"), &vote(1, "b")).unwrap();
    let file = fs::read_to_string(&path).unwrap();
    let len_max = 1 << 20;
    fs::write(&path, file.clone() + &" ".repeat(len_max - file.len())).unwrap();
    assert_eq!(open(&path).load().unwrap(), stored("a", vote(1, "b")));

    fs::write(&path, file.clone() + &" ".repeat(len_max + 1 - file.len())).unwrap();
    assert!(matches!(VoteFile::inspect(&path), Err(LoadError::TooLarge { .. })));
    let refused = VoteFile::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Load(LoadError::TooLarge { .. })));
}

#[test]
fn new_files_have_the_permissions_of_the_go_original() {
    let (_directory, path) = place();
    for (umask, mode) in [("027", 0o640), ("077", 0o600), ("000", 0o660)] {
        // The umask is the whole process's, so it takes a process to change it.
        let test = test_process("child_saves_once");
        let status = Command::new("sh")
            .args(["-c", "umask $0; exec \"$@\"", umask])
            .arg(test.get_program())
            .args(test.get_args())
            .env(CHILD_PATH, &path)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        let lock = fs::metadata(beside(&path, ".lock")).unwrap();
        assert_eq!(lock.permissions().mode() & 0o7777, mode);
        fs::remove_file(beside(&path, ".lock")).unwrap();
        fs::remove_file(&path).unwrap();
    }
}

/// An administrator changes the files of a node that runs as another user.
#[test]
fn a_file_keeps_its_permissions_and_its_owner() {
    let (_directory, path) = place();
    open(&path).save(&id("a"), &vote(1, "b")).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let (user, group) = if is_root {
        (12_345, 23_456)
    } else {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    chown(&path, Some(user), Some(group)).unwrap();
    fs::remove_file(beside(&path, ".lock")).unwrap();

    open(&path).save(&id("a"), &vote(2, "b")).unwrap();
    let found = fs::metadata(&path).unwrap();
    let kept = (found.permissions().mode() & 0o7777, found.uid(), found.gid());
    assert_eq!(kept, (0o604, user, group));
    let lock = fs::metadata(beside(&path, ".lock")).unwrap();
    assert_eq!((lock.uid(), lock.gid()), (user, group), "the node can lock it");
}

#[test]
#[ignore = "started by new_files_have_the_permissions_of_the_go_original"]
fn child_saves_once() {
    if let Some(path) = env::var_os(CHILD_PATH) {
        VoteFile::open(path).unwrap().save(&id("a"), &vote(1, "b")).unwrap();
    }
}

#[test]
fn a_symbolic_link_stays_and_its_target_is_replaced() {
    let (directory, target) = place();
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let (link, link_to_link) = (elsewhere.join("link"), elsewhere.join("link2"));
    symlink("../vote", &link).unwrap();
    symlink(&link, &link_to_link).unwrap();

    // At first the target does not exist.
    for term in 1..=2 {
        let mut votes = open(&link_to_link);
        votes.save(&id("a"), &vote(term, "b")).unwrap();
        assert_eq!(votes.path(), target);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::symlink_metadata(&target).unwrap().is_file());
        assert_eq!(VoteFile::inspect(&link).unwrap().unwrap().term, term);
    }
    assert_eq!(names_in(&elsewhere), ["link", "link2"]);
    assert_eq!(names_in(directory.path()), ["elsewhere", "vote", "vote.lock"]);
}

#[test]
fn inspecting_changes_nothing() {
    let (directory, path) = place();
    open(&path).save(&id("a"), &vote(1, "b")).unwrap();
    fs::remove_file(beside(&path, ".lock")).unwrap();
    let before = fs::metadata(&path).unwrap();
    let contents = VoteFile::inspect(&path).unwrap().unwrap();
    assert_eq!(contents.id.as_deref(), Some("a"));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()));
    assert_eq!(names_in(directory.path()), ["vote"]);
}

#[test]
fn files_with_keys_that_have_no_meaning_are_taken_over() {
    let (_directory, path) = place();
    for name in ["inner_extra.log", "env_extra.log"] {
        let line = GOLDEN.lines().find(|line| line.contains(name)).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        fs::write(&path, unhex(line["hex"].as_str().unwrap())).unwrap();
        open(&path).save(&id("a"), &vote(6, "b")).unwrap();
        assert_eq!(open(&path).load().unwrap(), stored("a", vote(6, "b")));
    }
}

#[test]
fn a_corrupt_file_is_left_as_it_is() {
    let (_directory, path) = place();
    fs::write(&path, "{}").unwrap();
    let refused = VoteFile::open(&path).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Load(LoadError::Corrupt { reason: Corruption::Digest, .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
}

/// A directory of its own for the test, and the path of a vote file in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(directory.path()).unwrap().join("vote");
    (directory, path)
}

#[track_caller]
fn open(path: &Path) -> VoteFile {
    VoteFile::open(path).unwrap()
}

#[track_caller]
fn save_error(saved: Result<(), VoteFileError>) -> SaveError {
    match saved {
        Err(VoteFileError::Save(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn vote(term: u64, candidate: &str) -> VoteRecord {
    let voted_for = Some(id(candidate));
    VoteRecord { term, voted_for, ..VoteRecord::default() }
}

fn stored(own_id: &str, record: VoteRecord) -> StoredVote {
    StoredVote { record, id: Some(id(own_id)), warnings: Vec::new() }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    path.with_file_name(format!("{name}{suffix}"))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    bytes.collect()
}

/// One of the tests above, in a process of its own.
fn test_process(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

fn child(test: &str, path: &Path) -> Child {
    let mut command = test_process(test);
    command.env(CHILD_PATH, path).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}
