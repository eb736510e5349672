//! The scripts in the folder `tests/scripts`: their transcripts are what happens.

use std::fs;
use std::path::{Path, PathBuf};

use graft_election_simulator::script_folder::{Transcripts, play, scripts};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

#[test]
fn what_happens_is_what_the_scripts_say() {
    let played = play(&folder(), Transcripts::Compare).unwrap();
    let differences = played.differences.join("\n");
    assert!(played.scripts > 0, "{} has no scripts", folder().display());
    assert_eq!(differences, "", "`cargo xtask scripts --write` updates them:\n{differences}");
}

#[test]
fn each_script_is_in_the_index_once() {
    let mut indexed = 0;
    for folder in ["graft", "extended"].map(|mode| folder().join(mode)) {
        let index = fs::read_to_string(folder.join("README.md")).unwrap();
        let paths = scripts(&folder).unwrap();
        for path in &paths {
            let name = path.strip_prefix(&folder).unwrap().display().to_string();
            assert_eq!(index.matches(&format!("]({name})")).count(), 1, "{name} in README.md");
        }
        assert_eq!(index.matches(".txt)").count(), paths.len(), "README.md has links to no script");
        indexed += paths.len();
    }
    assert_eq!(indexed, scripts(&folder()).unwrap().len(), "a script is in neither folder");
}

#[test]
fn each_sentence_of_the_raft_paper_is_shown_by_the_line_that_is_named() {
    let folder = folder().join("graft/raft_paper");
    let table = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut shown = 0;
    for row in table.lines().filter(|row| row.contains(".txt)")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let [_, script, line, ..] = cells[..] else { panic!("{row}") };
        let (_, script) = script.split_once("](").unwrap();
        let script = fs::read_to_string(folder.join(script.trim_end_matches(')'))).unwrap();
        assert!(script.contains(line.trim_matches('`')), "{row}");
        shown += 1;
    }
    assert!(shown > 0, "the table has no rows");
}

#[test]
fn each_script_says_first_what_it_shows() {
    for path in scripts(&folder()).unwrap() {
        let script = fs::read_to_string(&path).unwrap();
        assert!(script.starts_with("# "), "{}", path.display());
    }
}

#[test]
fn a_difference_is_shown_with_file_and_line_and_written_only_if_asked() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts");
    let path = folder.join("graft").join("a.txt");
    fs::create_dir_all(folder.join("graft")).unwrap();
    let script = "# A lie.\nnodes 1\nrecord a term=1\nstatus\n  a leads\n";
    fs::write(&path, script).unwrap();

    let played = play(&folder, Transcripts::Compare).unwrap();
    let difference = "graft/a.txt:5: expected \"  a leads\", found \"  a is Follower in term 1\"";
    assert_eq!(played.differences, [difference]);
    assert_eq!(fs::read_to_string(&path).unwrap(), script);

    let played = play(&folder, Transcripts::Write).unwrap();
    assert_eq!((played.scripts, played.steps, played.lines), (1, 1, 1));
    assert_eq!(play(&folder, Transcripts::Compare).unwrap(), played);
    assert!(played.differences.is_empty());
}
