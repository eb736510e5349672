//! COMMAND on a terminal, as the user of an interactive shell runs it.

use crate::pty::{CTRL_C, CTRL_Z, Terminal};

/// Types a command: a cluster of one with this COMMAND, which the shell gets in quotes.
fn run(terminal: &mut Terminal, options: &str, command: &str) {
    let fixed = "$GRAFT run --cluster c --size 1 --local d";
    terminal.type_line(&format!("{fixed} {options} -- sh -c '{command}'; echo \"status $?\""));
}

#[test]
fn a_command_can_read_from_the_terminal() {
    let mut terminal = Terminal::start();
    run(&mut terminal, "", "echo asks; read answer; echo \"got $answer\"; exit 3");
    terminal.wait_for("asks");
    terminal.type_line("this");
    terminal.wait_for("got this");
    terminal.wait_for("status 3");
}

#[test]
fn ctrl_c_ends_a_command_that_does_not_catch_it_and_the_node_hands_over() {
    let mut terminal = Terminal::start();
    let catch_once = "trap \"trap - INT; echo caught\" INT";
    run(
        &mut terminal,
        "",
        &format!("{catch_once}; echo works; while :; do sleep 120 & wait; done"),
    );
    terminal.wait_for("works");
    // It is for COMMAND to say what it means.
    terminal.press(CTRL_C);
    terminal.wait_for("caught");
    terminal.press(CTRL_C);
    terminal.wait_for("SIGINT");
    terminal.wait_for("handed its leadership over");
    terminal.wait_for("status 0");
    // The shell has its terminal again.
    terminal.type_line("echo ba''ck");
    terminal.wait_for("back");
}

/// A node that is stopped can't keep its lease, but in Graft mode there is none.
#[test]
fn ctrl_z_suspends_a_command_and_its_node_and_fg_resumes_them() {
    let mut terminal = Terminal::start();
    run(&mut terminal, "--mode graft", "echo asks; read answer; echo \"got $answer\"");
    terminal.wait_for("asks");
    terminal.press(CTRL_Z);
    terminal.wait_for("the command was stopped by SIGTSTP, and this node with it");
    terminal.wait_for("Stopped");
    terminal.type_line("fg");
    terminal.wait_for("the command goes on");
    terminal.type_line("this");
    terminal.wait_for("got this");
}

/// L3.
#[test]
fn a_command_that_ctrl_z_suspends_ends_with_its_lease() {
    let mut terminal = Terminal::start();
    run(&mut terminal, "", "exec 9>>lock; flock --shared 9; echo asks; read answer");
    terminal.wait_for("asks");
    terminal.press(CTRL_Z);
    terminal.wait_for("Stopped");
    terminal.type_line("flock lock echo fr''ee");
    terminal.wait_for("free");
    terminal.type_line("fg");
    terminal.wait_for("the command ended (signal: 9 (SIGKILL))");
    // Under the next lease.
    terminal.wait_for("asks");
}

/// As a shell does it for any job.
#[test]
fn a_command_in_the_background_that_reads_is_suspended_with_its_node() {
    let mut terminal = Terminal::start();
    // It reports at once what jobs do.
    terminal.type_line("set -b");
    let run = "$GRAFT run --cluster c --size 1 --local d --mode graft";
    terminal.type_line(&format!("{run} -- sh -c 'read answer; echo \"got $answer\"' &"));
    terminal.wait_for("the command was stopped by SIGTTIN, and this node with it");
    terminal.wait_for("Stopped");
    terminal.type_line("fg");
    terminal.wait_for("the command goes on");
    terminal.type_line("this");
    terminal.wait_for("got this");
}

/// Jobs of its own, and its own way with Ctrl-C and Ctrl-Z.
#[test]
fn a_command_can_be_an_interactive_shell() {
    let mut terminal = Terminal::start();
    run(&mut terminal, "", "exec bash --norc --noediting -i");
    terminal.wait_for("runs the command");
    terminal.type_line("PS1=; echo in''ner");
    terminal.wait_for("inner");
    terminal.type_line("sh -c 'echo sle\"\"eps; exec sleep 120'");
    terminal.wait_for("sleeps");
    terminal.press(CTRL_Z);
    terminal.wait_for("Stopped");
    // The first time, it tells of its job.
    terminal.type_line("exit 5");
    terminal.type_line("exit 5");
    terminal.wait_for("status 5");
    terminal.type_line("echo out''er");
    terminal.wait_for("outer");
}

/// Nobody could continue what Ctrl-Z suspends.
#[test]
fn ctrl_z_has_no_effect_where_there_is_no_shell() {
    // The second time, its parent's session has no id that it could see, as in a container.
    let alone = [&["sh", "-c"][..], &["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c"]];
    for words in alone {
        let run = "setsid --ctty $GRAFT run --cluster c --size 1 --local d -- \
            sh -c 'echo asks; read answer; echo \"got $answer\"'; exit";
        let mut terminal = Terminal::start_with(&[words, &[run]].concat());
        terminal.wait_for("asks");
        terminal.press(CTRL_Z);
        let told = terminal.wait_for("the command goes on");
        assert!(!told.contains("this node"), "{told}");
        terminal.type_line("this");
        terminal.wait_for("got this");
    }
}
