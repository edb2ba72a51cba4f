//! Runs guest code: stub, mailbox, doorbell, guest memory, workers.
