//! `graft voters`, and what `graft run` says of records that are missing or of another list.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use graft_election::VoteFile;
use graft_election::core::ListId;
use tempfile::TempDir;

use crate::process::{Program, graft, text};

/// Runs `graft voters` in `directory` with these words.
fn voters(directory: &TempDir, words: &str) -> Output {
    let words: Vec<_> = ["voters"].into_iter().chain(words.split_whitespace()).collect();
    graft(directory.path(), &words)
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[track_caller]
fn fails(output: &Output, complaint: &str) {
    fails_with(1, output, complaint);
}

/// A node does not start: its record, its id or its list has to change.
#[track_caller]
fn is_refused(output: &Output, complaint: &str) {
    fails_with(78, output, complaint);
}

#[track_caller]
fn fails_with(status: i32, output: &Output, complaint: &str) {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(text(&output.stderr).contains(complaint), "{}", text(&output.stderr));
}

fn list_of(directory: &TempDir, file: &str) -> (u64, Option<ListId>, Option<String>) {
    let contents = VoteFile::inspect(directory.path().join(file)).unwrap().unwrap();
    (contents.term, contents.list.map(|list| list.id), contents.id)
}

fn init_all(directory: &TempDir) {
    for id in ["a", "b", "c"] {
        succeeds(&voters(directory, &format!("{id}.vote --init --id {id} --set a,b,c")));
    }
}

fn run_arguments<'i>(id: &'i str, file: &'i str, voters: &'i str) -> Vec<&'i str> {
    let node = ["--id", id, "--vote-file", file, "--voters", voters, "--local", "d"];
    [&["run", "--json", "--cluster", "c", "--size", "3"], &node[..]].concat()
}

fn start(directory: &Path, id: &str, file: &str, voters: &str) -> Program {
    Program::start(directory, &run_arguments(id, file, voters))
}

#[test]
fn n6_a_declared_voter_without_a_record_is_told_how_to_make_one_and_then_starts() {
    let directory = tempfile::tempdir().unwrap();
    let refused = graft(directory.path(), &run_arguments("a", "a.vote", "a,b,c"));
    is_refused(&refused, "it could vote twice in one term now, and elect a second leader");
    let complaint = text(&refused.stderr);
    let (_, command) = complaint.trim_end().rsplit_once(": graft ").unwrap();
    let made = graft(directory.path(), &command.split(' ').collect::<Vec<_>>());
    assert!(succeeds(&made).starts_with("made the first record of voter a in "));

    let mut program = start(directory.path(), "a", "a.vote", "a,b,c");
    program.wait_for_start();
    program.terminate();
    assert!(program.wait().success());

    // D6: it was lost.
    fs::remove_file(directory.path().join("a.vote")).unwrap();
    is_refused(
        &graft(directory.path(), &run_arguments("a", "a.vote", "a,b,c")),
        "this declared voter has no vote record",
    );
}

#[test]
fn n6_a_first_record_replaces_no_other() {
    let directory = tempfile::tempdir().unwrap();
    init_all(&directory);
    for set in ["a,b,c", "a,b,d"] {
        fails(
            &voters(&directory, &format!("a.vote --init --id a --set {set}")),
            "a.vote has a vote record already",
        );
    }
    for (wrong, complaint) in [
        ("x.vote --init --id x --set a,b,c", "x is not among the voters"),
        ("x y --init --id a --set a,b,c", "--init takes one vote file"),
        ("x.vote --init --id a --set a,a,c", "voter a is declared twice"),
    ] {
        fails_with(64, &voters(&directory, wrong), complaint);
    }
    assert!(!directory.path().join("x.vote").exists());
}

#[test]
fn v6_a_list_is_changed_while_all_are_stopped_and_the_cluster_elects_with_it() {
    let directory = tempfile::tempdir().unwrap();
    init_all(&directory);
    let change = "a.vote b.vote --new d=d.vote --from a,b,c --set a,b,d";

    let plan = voters(&directory, change);
    fails(&plan, "nothing was changed");
    let plan = text(&plan.stdout);
    assert!(plan.contains("must be stopped: a, b, c, d."), "{plan}");
    assert!(plan.contains("those that leave away: c."), "{plan}");
    assert!(!plan.contains("UNSAFE"), "{plan}");
    assert_eq!(list_of(&directory, "a.vote").0, 0);
    assert!(!directory.path().join("d.vote").exists());

    for _ in 0..2 {
        let done = succeeds(&voters(&directory, &format!("{change} --yes")));
        assert!(done.contains("changed: a, b, d"), "{done}");
        let list = list_of(&directory, "a.vote").1.unwrap();
        assert_eq!(list.term, 1, "it is done once");
        for id in ["a", "b", "d"] {
            let expected = (1, Some(list), Some(id.to_owned()));
            assert_eq!(list_of(&directory, &format!("{id}.vote")), expected);
        }
    }

    let old_list = graft(directory.path(), &run_arguments("b", "b.vote", "a,b,c"));
    is_refused(&old_list, "the declared voters");
    let mut programs =
        ["a", "b", "d"].map(|id| start(directory.path(), id, &format!("{id}.vote"), "a,b,d"));
    for program in &mut programs {
        assert!(program.wait_for_leader().term() > 1);
    }
    fails(&voters(&directory, &format!("{change} --yes")), "its node is running");
}

/// Half done, it is finished with the same term; on several machines it is given.
#[test]
fn v6_a_change_of_the_list_can_be_finished_later_and_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    init_all(&directory);
    fails(
        &voters(&directory, "a.vote --from a,b,c --set a,b,d --yes"),
        "the files of b, d are missing",
    );
    let first = succeeds(&voters(&directory, "a.vote --from a,b,c --set a,b,d --term 7 --yes"));
    assert!(first.contains("Change these where they are, with --term 7: b, d."), "{first}");
    assert!(first.contains("UNSAFE until then: b, c still have the old list"), "{first}");
    assert!(first.contains("At least 1 of them"), "{first}");

    // With the term of the file that is changed already.
    let rest = "a.vote b.vote --new d=d.vote --from a,b,c --set a,b,d --yes";
    succeeds(&voters(&directory, rest));
    let lists = ["a", "b", "d"].map(|id| list_of(&directory, &format!("{id}.vote")).1.unwrap());
    assert!(lists.iter().all(|list| *list == lists[0] && list.term == 7), "{lists:?}");

    // And back, with a record that was put away meanwhile.
    let back = "a.vote b.vote c.vote --from a,b,d --set a,b,c --yes";
    succeeds(&voters(&directory, back));
    assert_eq!(list_of(&directory, "c.vote").1.unwrap().term, 8);
}

#[test]
fn v6_records_that_do_not_fit_are_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    init_all(&directory);
    let before = fs::read(directory.path().join("a.vote")).unwrap();
    for (change, complaint) in [
        ("a.vote b.vote c.vote --from a,b,c --set a,b,d", "is that of c, which leaves"),
        ("a.vote b.vote d.vote --from a,b,c --set a,b,d", "d.vote does not exist"),
        ("a.vote b.vote --new d=d.vote --from a,b,x --set a,b,d", "is not that of --from"),
    ] {
        fails(&voters(&directory, &format!("{change} --yes")), complaint);
    }
    symlink("a.vote", directory.path().join("link")).unwrap();
    for (change, complaint) in [
        ("a.vote b.vote --new c=x.vote --from a,b,c --set a,b,d", "c is not among"),
        ("a.vote c.vote --new b=x.vote --from a,b,c --set c,b,a", "--set has the voters"),
        ("a.vote --new b=x.vote --from a,b,c --set a,b,d", "without that it must not vote again"),
        ("a.vote a.vote --from a,b,c --set a,b,d", "one file is given twice: a.vote, a.vote"),
        ("a.vote link --from a,b,c --set a,b,d", "one file is given twice: a.vote, link"),
        ("a.vote --new d=new --new e=new --from a,b,c --set a,d,e", "twice: new, new"),
        ("a.vote b.vote --new d=d.vote --from a,b,c --set a,b,d --term 0", "out of range"),
        ("a.vote --from a,b,b --set a,b,d", "--from: voter b is declared twice"),
        ("--from a,b,c --set a,b,d", "no vote file"),
    ] {
        fails_with(64, &voters(&directory, &format!("{change} --yes")), complaint);
    }
    assert_eq!(fs::read(directory.path().join("a.vote")).unwrap(), before);
}

/// N5, F3: the second process of an id ends, and says what to do.
#[test]
fn n5_a_program_whose_id_is_in_use_says_so() {
    let directory = tempfile::tempdir().unwrap();
    init_all(&directory);
    succeeds(&voters(&directory, "copy.vote --init --id a --set a,b,c"));
    let mut first = start(directory.path(), "a", "a.vote", "a,b,c");
    first.wait_for_start();
    let refused = graft(directory.path(), &run_arguments("a", "copy.vote", "a,b,c"));
    is_refused(&refused, "another running process has the id a");
    is_refused(&refused, "an id of its own");
}
