//! The scripts in the folder `tests/scripts`: what happens is what they say.

use std::fs;
use std::path::Path;

use graft_election_simulator::script;

/// With this variable the scripts' transcripts are written anew, for people to look at.
const WRITE: &str = "WRITE_SCRIPTS";

#[test]
fn what_happens_is_what_the_scripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let mut failures = Vec::new();
    let mut scripts = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = fs::read_to_string(&path).unwrap();
        scripts += 1;
        let held = script::run(&script).and_then(|written| {
            if std::env::var_os(WRITE).is_some() {
                fs::write(&path, written).unwrap();
                Ok(())
            } else {
                script::compare(&script, &written)
            }
        });
        failures.extend(held.err().map(|error| format!("{name}, {error}")));
    }
    assert!(scripts > 0, "{} has no scripts", folder.display());
    assert!(failures.is_empty(), "with {WRITE}=1 they are written anew:\n{}", failures.join("\n"));
}
