//! The wire format of the election.
