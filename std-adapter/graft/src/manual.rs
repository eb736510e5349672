//! `graft completions` and `graft man`: what shells and `man` know of the program, made from its
//! own arguments.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Print the completions of this program for a shell.
///
/// For bash, for instance: graft completions bash > /etc/bash_completion.d/graft
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

/// Print the manual page of this program, or write all its pages to a directory.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where to write the pages: graft.1, and graft-run.1 and so on for the subcommands. It is made
    /// if it isn't there.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl CompletionsArgs {
    pub(crate) fn run(self, program: &Command) -> Result<ExitCode> {
        // Some shells would complete what only the program itself calls.
        let tasks = program.get_subcommands().filter(|task| !task.is_hide_set()).cloned();
        let name = program.get_name().to_owned();
        let mut shown = Command::new("graft").version(env!("CARGO_PKG_VERSION")).subcommands(tasks);
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut shown, name, &mut script);
        print(&script)
    }
}

impl ManArgs {
    pub(crate) fn run(self, program: Command) -> Result<ExitCode> {
        let Some(directory) = self.directory else {
            let mut page = Vec::new();
            Man::new(program).render(&mut page)?;
            return print(&page);
        };
        let place = directory.display();
        fs::create_dir_all(&directory)
            .and_then(|()| clap_mangen::generate_to(program, &directory))
            .with_context(|| format!("could not write the pages to {place}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn print(bytes: &[u8]) -> Result<ExitCode> {
    io::stdout().lock().write_all(bytes).context("could not print")?;
    Ok(ExitCode::SUCCESS)
}
