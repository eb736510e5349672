//! `cargo xtask firmware`: the firmware on emulated boards, to watch.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run};
use crate::firmware::{EMULATED_BOARD, EMULATED_TARGET, Toolchain, Variant};
use crate::tools;

/// The program that shows it, of the package of the tests.
const PROGRAM: [&str; 5] = ["run", "--package", "graft-election-tests", "--bin", "firmware-show"];

/// Shows three boards, emulated, that elect one of them to lead.
///
/// On a terminal, keys take a board's power away and give it back. Otherwise, and for a given time,
/// the one that leads loses its power, another leads, and the first comes back with its vote.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// End after so many seconds; until then leaders lose their power, one after the other.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Installs and builds what is needed, and shows it.
    ///
    /// # Errors
    ///
    /// Something needed is missing, or no leader was elected.
    pub(crate) fn run(self) -> Result<()> {
        let defmt_print = tools::emulator_and_decoder()?;
        eprintln!("building the firmware");
        let toolchain = Toolchain::install()?;
        let firmware = toolchain.build(EMULATED_BOARD, EMULATED_TARGET, Variant::Plain)?;
        let mut show = cargo(PROGRAM)?;
        show.args(["--locked", "--"]);
        if let Some(seconds) = self.seconds {
            show.args(["--seconds", &seconds.to_string()]);
        }
        if self.json {
            show.arg("--json");
        }
        show.env("FIRMWARE", firmware).env("DEFMT_PRINT", defmt_print);
        run(show)
    }
}
