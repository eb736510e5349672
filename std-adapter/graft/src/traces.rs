//! What the libraries trace, for whoever sets `RUST_LOG`.

use std::env;
use std::io::{self, Write};
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::exit_status::{ExitStatus, ExitsWith};
use crate::output::Output;
use crate::report::{dropped_as_json, dropped_as_text};

/// Which traces to print, as the crate `env_logger` has it.
const VARIABLE: &str = "RUST_LOG";

/// The traces that are printed, if any are. Dropping it waits for a moment until they are written.
#[derive(Debug)]
pub(crate) struct Traces(Option<Arc<Output>>);

impl Traces {
    /// Prints to the standard error output what `RUST_LOG` asks for, from now on: nothing without
    /// it. Nobody waits for the reader.
    pub(crate) fn start(json: bool) -> Result<Self> {
        let wanted = env::var(VARIABLE).unwrap_or_default();
        if wanted.is_empty() {
            return Ok(Self(None));
        }
        let filter = EnvFilter::try_new(wanted)
            .with_context(|| format!("{VARIABLE} can't be read"))
            .exits_with(ExitStatus::Configuration)?;
        let dropped = if json { dropped_as_json } else { dropped_as_text };
        let output = Arc::new(Output::stderr(dropped).context("could not start to print")?);
        let has_style = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(Lines(Arc::clone(&output)))
            .with_ansi(has_style && !json);
        let started = match json {
            true => subscriber.json().flatten_event(true).try_init(),
            false => subscriber.try_init(),
        };
        // It is called once, so there is no other subscriber.
        let _ = started;
        Ok(Self(Some(output)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(output) = &self.0 {
            output.flush();
        }
    }
}

/// Takes a whole line at a time, as the subscriber writes them.
#[derive(Clone, Debug)]
struct Lines(Arc<Output>);

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.print(String::from_utf8_lossy(line).trim_end().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
