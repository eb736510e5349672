//! Leader election for tokio programs.
