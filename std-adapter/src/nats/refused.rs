//! What the server refuses, and when to try it again.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often what is refused is tried again. A server answers sooner, so that what it has not
/// refused after this time is in place.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What the server refuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal<'c> {
    pub(crate) is_subscription: bool,
    pub(crate) subject: &'c str,
}

/// What the server has refused, until that is over.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The subjects of the subscriptions that it has ended, and that were not tried again yet.
    pub(crate) subjects: Vec<String>,
    /// Its last complaint.
    pub(crate) complaint: Option<String>,
    pub(crate) retry: Interval,
}

impl<'c> Refusal<'c> {
    /// What a complaint of the server says that it refuses.
    pub(crate) fn read(complaint: &'c str) -> Option<Self> {
        let (_, refused) = complaint.split_once("Permissions Violation for ")?;
        let (what, subject) = refused.split_once(" to \"")?;
        let (subject, _) = subject.split_once('"')?;
        match what {
            "Subscription" => Some(Self { is_subscription: true, subject }),
            "Publish" => Some(Self { is_subscription: false, subject }),
            _ => None,
        }
    }
}

impl Refused {
    pub(crate) fn new() -> Self {
        let mut retry = interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { subjects: Vec::new(), complaint: None, retry }
    }

    /// Takes note of a refusal, and of the complaint that says so.
    pub(crate) fn note(&mut self, refusal: Refusal<'_>, complaint: &str) {
        if self.complaint.is_none() {
            self.retry.reset();
        }
        self.complaint = Some(complaint.to_owned());
        let is_noted = self.subjects.iter().any(|noted| noted == refusal.subject);
        if refusal.is_subscription && !is_noted {
            self.subjects.push(refusal.subject.to_owned());
        }
    }
}
