//! The keys of the terminal, each as soon as it is pressed.

use std::io::{Read, stdin};

use anyhow::{Context, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// Ctrl-C, which is read as a key: as a signal it would end the programs that started this one
/// before the terminal is restored.
pub(crate) const INTERRUPT: u8 = 3;

/// The keys that are pressed. While this value lives, the terminal neither echoes them nor waits
/// for the end of a line.
#[derive(Debug)]
pub(crate) struct Keys {
    before: Termios,
    pressed: mpsc::UnboundedReceiver<u8>,
}

impl Keys {
    /// Reads keys from the standard input.
    ///
    /// # Errors
    ///
    /// The standard input is not a terminal.
    pub(crate) fn read() -> Result<Self> {
        let before = tcgetattr(stdin()).context("the standard input is not a terminal")?;
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(stdin(), OptionalActions::Now, &modes).context("could not set the terminal")?;
        let (press, pressed) = mpsc::unbounded_channel();
        // It still waits for a key when the program ends, and ends with it.
        std::thread::spawn(move || {
            for key in stdin().lock().bytes().map_while(Result::ok) {
                if press.send(key).is_err() {
                    return;
                }
            }
        });
        Ok(Self { before, pressed })
    }

    /// Waits for the next key; none if the terminal is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<u8> {
        self.pressed.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
