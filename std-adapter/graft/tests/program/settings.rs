//! Where the settings of `graft run` come from: the command line, the environment, a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::process::{graft, text};

/// A file that is enough for a cluster of one, and prints what COMMAND gets.
const FILE: &str = r#"
cluster = "c"
size = 1
id = "a"
local = "d"
command = ["sh", "-c", "env | grep ^GRAFT_ | sort | tr '\\n' ' '"]
"#;

/// Runs `graft run` beside the file `f` with this text.
fn run(directory: &Path, file: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    fs::write(directory.join("f"), file).unwrap();
    Command::new(env!("CARGO_BIN_EXE_graft"))
        .arg("run")
        .args(arguments)
        // Cargo sets it, and not for this.
        .env_remove("GRAFT_COMPILER")
        .envs(variables.iter().copied())
        .current_dir(directory)
        .output()
        .unwrap()
}

/// What COMMAND has in its environment.
#[track_caller]
fn command_gets(file: &str, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), file, variables, arguments);
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).to_owned()
}

#[test]
fn a_file_can_have_all_settings() {
    let got = command_gets(FILE, &[], &["--config", "f"]);
    assert_eq!(got, "GRAFT_CLUSTER=c GRAFT_ID=a GRAFT_TERM=1 ");
}

/// The command line counts first, then the environment, then the file.
#[test]
fn the_nearest_place_counts() {
    let variables = [("GRAFT_CONFIG", "f"), ("GRAFT_ID", "b"), ("GRAFT_CLUSTER", "d")];
    let got = command_gets(FILE, &variables, &["--id", "z"]);
    // The settings themselves are not for COMMAND.
    assert_eq!(got, "GRAFT_CLUSTER=d GRAFT_ID=z GRAFT_TERM=1 ");
    let got = command_gets(FILE, &variables, &["--", "sh", "-c", "echo $GRAFT_ID"]);
    assert_eq!(got, "b\n");
}

/// The file's voters, its server and its witness give way to what can't be together with them.
#[test]
fn a_nearer_place_displaces_what_it_conflicts_with() {
    let file = FILE.replace("local = \"d\"", "nats = \"nats://127.0.0.1:1\"\nwitness = true");
    let variables = [("GRAFT_PRIORITY", "2"), ("GRAFT_LOCAL", "")];
    command_gets(&file, &variables, &["--config", "f", "--local", "d"]);
    let variables = [("GRAFT_WITNESS", "false"), ("GRAFT_LOCAL", "d")];
    command_gets(&file, &variables, &["--config", "f"]);
}

/// What it says of NATS comes after what the environment says, under the names that NATS has.
#[test]
fn the_file_comes_after_the_variables_of_nats() {
    let directory = tempfile::tempdir().unwrap();
    let file = FILE.replace("local = \"d\"", "nats = \"nats://127.0.0.1:1\"");
    for (variables, port) in [(&[][..], 1), (&[("NATS_URL", "nats://127.0.0.1:2")], 2)] {
        let output = run(directory.path(), &file, variables, &["--config", "f"]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let told = format!("graft: could not connect to nats://127.0.0.1:{port}: ");
        assert!(text(&output.stderr).starts_with(&told), "{output:?}");
    }
}

/// A `graft run` that COMMAND runs is another node of another cluster.
#[test]
fn a_command_does_not_configure_another_node_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let inside = [("GRAFT_TERM", "1"), ("GRAFT_ID", "a"), ("GRAFT_CLUSTER", "c")];
    let output = run(directory.path(), "", &inside, &["--size", "1"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    // As everywhere, an empty variable is not set.
    let outside = [("GRAFT_TERM", ""), ("GRAFT_ID", "a"), ("GRAFT_CLUSTER", "c")];
    let rest = ["--size", "1", "--local", "d", "--", "sh", "-c", "echo $GRAFT_CLUSTER"];
    let output = run(directory.path(), "", &outside, &rest);
    assert_eq!(text(&output.stdout), "c\n", "{output:?}");
    let rest =
        ["--size", "1", "--cluster", "e", "--local", "d", "--", "sh", "-c", "echo $GRAFT_ID"];
    let output = run(directory.path(), "", &inside, &rest);
    assert!(output.status.success(), "{output:?}");
    assert_ne!(text(&output.stdout), "a\n");
}

#[test]
fn an_error_says_which_place_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    for (file, variables, told) in [
        ("cluster = \"c\"\nsiez = 3\n", &[][..], "f:2: there is no setting \"siez\""),
        ("config = \"f\"", &[], "f:1: there is no setting \"config\""),
        ("help = true", &[], "f:1: there is no setting \"help\""),
        ("\nsize = 3 3\n", &[], "f:2: "),
        ("size = \"x\"", &[], "f:1: size: invalid digit found in string"),
        ("mode = \"x\"", &[], "f:1: mode: invalid value 'x' for '--mode <MODE>' [possible values"),
        ("voters = [\"a\", \"b c\"]", &[], "f:1: voters: byte 1 is not "),
        ("voters = [1]", &[], "f:1: voters must be a text or a list of texts"),
        ("keep = \"yes\"", &[], "f:1: keep: it must be true or false"),
        ("command = \"x\"", &[], "f:1: command: it must be a list of texts"),
        ("[size]\nmin = 1", &[], "f:1: size must be a text or a number"),
        ("nats = \"\"", &[], "f:1: nats: "),
        ("local = \"d\"\nnats = \"n\"", &[], "f:1: local and f:2: nats can't both be set"),
        ("", &[("GRAFT_SIZE", "x")], "GRAFT_SIZE in the environment: invalid digit"),
        ("", &[("GRAFT_KEEP", "x")], "GRAFT_KEEP in the environment: it must be true or false"),
        ("", &[("GRAFT_CONFIG", "none")], ""),
    ] {
        let output = run(directory.path(), file, variables, &["--config", "f"]);
        let is_wrong = !told.is_empty();
        assert_eq!(output.status.code(), Some(if is_wrong { 78 } else { 64 }), "{output:?}");
        assert!(
            !is_wrong || text(&output.stderr).starts_with(&format!("graft: {told}")),
            "{output:?}"
        );
    }
    let output = run(directory.path(), "", &[("GRAFT_CONFIG", "none")], &[]);
    assert_eq!(
        text(&output.stderr),
        "graft: could not read none: No such file or directory (os error 2)\n"
    );
}

#[test]
fn the_environment_can_ask_for_json() {
    let directory = tempfile::tempdir().unwrap();
    for (value, is_file) in [("true", false), ("j", true)] {
        let variables = [("GRAFT_JSON", value)];
        let output = run(directory.path(), FILE, &variables, &["--config", "f", "--", "true"]);
        assert!(output.status.success(), "{output:?}");
        let told = match is_file {
            true => fs::read_to_string(directory.path().join("j")).unwrap(),
            false => text(&output.stderr).to_owned(),
        };
        assert!(told.starts_with("{\"ts\":"), "{told}");
    }
}

/// Whatever is named as a file is read up to a limit.
#[test]
fn a_file_without_an_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let contexts = directory.path().join("nats/context");
    fs::create_dir_all(&contexts).unwrap();
    symlink("/dev/zero", contexts.join("zero.json")).unwrap();
    let node = ["--cluster", "c", "--size", "1"];
    let pair = ["--tls-cert", "/dev/zero", "--tls-key", "/dev/zero"];
    for (arguments, told) in [
        (&["--config", "/dev/zero"][..], "could not read /dev/zero: it has more than "),
        (&["--local", "d", "--key-file", "/dev/zero"], "could not read the cluster's key in "),
        (&["--creds", "/dev/zero"], "could not read the NATS credentials in /dev/zero: it has "),
        (&["--nkey", "/dev/zero"], "could not read the nkey in /dev/zero: it has more than "),
        (&["--context", "zero"], "could not read the NATS context zero in "),
        // The client of NATS reads these once more.
        (&["--tls-ca", "/dev/zero"], "could not read /dev/zero: it is not a file"),
        (&pair, "could not read /dev/zero: it is not a file"),
    ] {
        let variables = [("XDG_CONFIG_HOME", directory.path().to_str().unwrap())];
        let output = run(directory.path(), "", &variables, &[arguments, &node].concat());
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(text(&output.stderr).starts_with(&format!("graft: {told}")), "{output:?}");
    }
    for arguments in [
        &["inspect", "/dev/zero"][..],
        &["voters", "/dev/zero", "--init", "--id", "a", "--set", "a"],
        &["run", "--cluster", "c", "--size", "1", "--local", "d", "--vote-file", "/dev/zero"],
    ] {
        let output = graft(directory.path(), arguments);
        assert_eq!(text(&output.stderr), "graft: /dev/zero is not a file\n");
    }
}

/// As that of `<(…)` in a shell, which can be read once.
#[test]
fn settings_and_the_key_may_come_from_pipes() {
    let directory = tempfile::tempdir().unwrap();
    let key = text(&graft(directory.path(), &["key"]).stdout).to_owned();
    let texts = [("settings", FILE.to_owned()), ("key", key)];
    for (name, _) in &texts {
        let path = directory.path().join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }
    let writers = texts.map(|(name, text)| {
        let path = directory.path().join(name);
        std::thread::spawn(move || fs::write(path, text).unwrap())
    });
    let output = run(directory.path(), "", &[], &["--config", "settings", "--key-file", "key"]);
    assert!(output.status.success(), "{output:?}");
    for writer in writers {
        writer.join().unwrap();
    }
}
