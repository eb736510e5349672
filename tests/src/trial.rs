//! What a node says to itself on NATS to try out what the server permits (protocol, section 3). It
//! is no message of nodes: it begins with no key.

/// How it begins.
const TRIAL_MARK: u8 = 7;

/// Whether the message is one.
pub fn is_trial(message: &async_nats::Message) -> bool {
    message.payload.first() == Some(&TRIAL_MARK)
}
