//! The terminal's other screen, on which a table is drawn again and again.

use std::env;
use std::io;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, Result};
use rustix::process::{Signal as Sent, getpid, kill_process};
use rustix::termios::{tcgetpgrp, tcgetwinsize};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::{has_shell, own_group};
use crate::output::Output;

/// How many rows a terminal has that doesn't know.
const ROWS: u16 = 24;

/// To the other screen, where nothing shows the cursor or wraps long lines, and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// To the upper left, and nothing below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// What Ctrl-Z sends.
const SUSPEND: SignalKind = SignalKind::from_raw(Sent::TSTP.as_raw());

/// What `fg` and `bg` send.
const RESUME: SignalKind = SignalKind::from_raw(Sent::CONT.as_raw());

/// The screen. Dropping it leaves the terminal as it was, however that comes about.
pub(super) struct Screen {
    output: Output,
    is_entered: bool,
    suspend: Signal,
    resume: Signal,
}

/// Whether the terminal can do more than print one line after the other.
pub(super) fn can_draw() -> bool {
    env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

impl Screen {
    pub(super) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        let output = Output::stdout(|_| String::new()).context("could not start to print")?;
        let (suspend, resume) = (listen(SUSPEND)?, listen(RESUME)?);
        Ok(Self { output, is_entered: false, suspend, resume })
    }

    /// Shows these lines, as many as there is room for, unless another job has the terminal.
    pub(super) fn draw(&mut self, lines: impl IntoIterator<Item = String>) {
        if !is_ours() {
            self.leave();
            return;
        }
        // Some terminals don't know their size.
        let rows = tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
        let rows = if rows == 0 { ROWS } else { rows };
        // The last row is for the cursor.
        let lines = lines.into_iter().take(usize::from(rows).saturating_sub(1));
        let frame = styled(lines.collect::<Vec<_>>().join("\r\n"));
        let enter = if self.is_entered { "" } else { ENTER };
        self.is_entered = true;
        self.output.print(format!("{enter}{CLEAR}{frame}"));
    }

    /// Waits until Ctrl-Z is pressed. Cancel-safe.
    pub(super) async fn until_suspended(&mut self) {
        self.suspend.recv().await;
    }

    /// Stops the program until its shell has it go on. Without a shell nobody would, so it goes on
    /// at once, as the kernel has it for programs that don't draw.
    pub(super) async fn suspend(&mut self) {
        self.leave();
        self.output.flush();
        if has_shell() && kill_process(getpid(), Sent::STOP).is_ok() {
            self.resume.recv().await;
        }
    }

    /// Leaves the screen, and prints this text where the program was started.
    pub(super) fn leave_with(mut self, text: &str) {
        let leave = if std::mem::take(&mut self.is_entered) { LEAVE } else { "" };
        self.output.print(format!("{leave}{}", styled(text.to_owned())));
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.is_entered) {
            self.output.print(LEAVE.to_owned());
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether the terminal is this job's: in the background it is the shell's. One that doesn't
/// control this program has no jobs.
fn is_ours() -> bool {
    tcgetpgrp(io::stdout()).map_or(true, |holder| Some(holder) == own_group())
}

/// With colours only if they are wanted.
fn styled(text: String) -> String {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => strip_str(&text).to_string(),
        _ => text,
    }
}
