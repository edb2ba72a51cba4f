//! What a failed command ends with: a line, and an exit status that runc's users expect. Owns no locks.

use sandbox::client::ClientError;
use sandbox::machine::Kind;

/// An error that carries its exit status; others end with the command's usual one.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Exit {
    pub text: String,
    pub status: u8,
}

/// The whole chain on one line: what was done, on what, why.
pub fn line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Errors that already tell their source must not tell it twice.
        if !text.ends_with(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

/// A shell's status for a program that could not be run; `other` for the rest.
pub fn status_of(error: &anyhow::Error, other: u8) -> u8 {
    for cause in error.chain() {
        if let Some(exit) = cause.downcast_ref::<Exit>() {
            return exit.status;
        }
        if let Some(client) = cause.downcast_ref::<ClientError>() {
            return match client.kind() {
                Kind::NotFound => 127,
                Kind::NotExecutable => 126,
                _ => other,
            };
        }
    }
    other
}
