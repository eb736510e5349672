//! Plays the scripts in `tests/scripts`, and shows where they don't hold. With `--write` it writes
//! their transcripts instead. `cargo xtask scripts` runs it.

use std::path::Path;
use std::process::ExitCode;

use graft_election_simulator::script_folder::{Transcripts, play};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let transcripts = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Transcripts::Compare,
        ["--write"] => Transcripts::Write,
        _ => {
            eprintln!("expected --write or nothing, not \"{}\"", arguments.join(" "));
            return ExitCode::FAILURE;
        }
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let played = match play(&folder, transcripts) {
        Ok(played) => played,
        Err(error) => {
            eprintln!("can't play the scripts: {error}");
            return ExitCode::FAILURE;
        }
    };
    for difference in &played.differences {
        println!("tests/scripts/{difference}");
    }
    println!(
        "{} scripts, {} steps, {} lines of transcript, {} differ",
        played.scripts,
        played.steps,
        played.lines,
        played.differences.len()
    );
    if played.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
