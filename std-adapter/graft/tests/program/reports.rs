//! What `graft run` prints: where it goes, and that nobody waits for whoever reads it.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::process::{graft, make_fifo, text};

/// A cluster of one, whose both outputs nobody reads.
fn start_unread(directory: &Path, output: &PipeReader, arguments: &[&str]) -> Child {
    let writer = fs::OpenOptions::new().write(true).open(path_of(output)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_graft"))
        .args(["run", "--cluster", "c", "--size", "1", "--local", "d"])
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap()
}

/// Where the other end of a pipe can be opened.
fn path_of(pipe: &PipeReader) -> String {
    use std::os::fd::AsRawFd;

    format!("/proc/self/fd/{}", pipe.as_raw_fd())
}

/// A pipe with no room for another byte.
fn full_pipe() -> PipeReader {
    let (reader, mut writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    reader
}

#[test]
fn an_output_that_nobody_reads_holds_up_neither_the_command_nor_a_signal() {
    for json in ["--json", "--grace=9"] {
        let (directory, output) = (tempfile::tempdir().unwrap(), full_pipe());
        // A COMMAND that runs begins to write to it.
        make_fifo(&directory.path().join("fifo"));
        let command = [json, "--", "sh", "-c", "echo runs >fifo; exec sleep 120"];
        let mut program = start_unread(directory.path(), &output, &command);
        let mut told = String::new();
        File::open(directory.path().join("fifo")).unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(told, "runs\n");
        kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
        assert!(program.wait().unwrap().success());
    }
}

#[test]
fn the_reports_of_a_command_are_apart_from_its_output() {
    for (json, redirection) in [("--json=events", ""), ("--json=/dev/fd/3", "3>events")] {
        let directory = tempfile::tempdir().unwrap();
        let run = format!(
            "exec \"$0\" run --cluster c --size 1 --local d {json} -- \
             sh -c 'echo out; echo err >&2; exit 7' {redirection}"
        );
        let output = Command::new("sh")
            .args(["-c", &run, env!("CARGO_BIN_EXE_graft")])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("out\n", "err\n"));
        let events = fs::read_to_string(directory.path().join("events")).unwrap();
        let events: Vec<Value> =
            events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_command: Vec<_> = events.iter().filter(|it| it["event"] == "command").collect();
        let [started, ended] = of_command[..] else { panic!("{events:#?}") };
        assert!(started["pid"].is_u64() && started["to"] == "running", "{started}");
        assert!(started["term"] == 1 && started["ts"].is_string(), "{started}");
        assert_eq!((&ended["from"], &ended["to"]), (&"running".into(), &"ended".into()));
        assert_eq!((&ended["code"], &ended["by_itself"]), (&7.into(), &true.into()));
        assert_eq!(events.last().unwrap()["event"], "closed");
    }
}

#[test]
fn a_place_for_reports_that_can_not_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    make_fifo(&directory.path().join("fifo"));
    for (place, error) in [
        ("no/events", Errno::NOENT),
        (".", Errno::ISDIR),
        // Nobody reads it.
        ("fifo", Errno::NXIO),
    ] {
        let json = format!("--json={place}");
        let run = ["run", &json, "--cluster", "c", "--size", "1", "--local", "d"];
        let output = graft(directory.path(), &run);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let told =
            format!("could not open the file of --json, {place}: {}", io::Error::from(error));
        assert_eq!(text(&output.stderr), format!("graft: {told}\n"));
    }
}
