//! Randomness from the host, getrandom(2).

/// Fills `buffer`; the host's generator is always seeded by the time that a sandbox starts.
pub fn fill(buffer: &mut [u8]) {
    let mut done = 0;
    while done < buffer.len() {
        let Some(rest) = buffer.get_mut(done..) else { return };
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            // Never predictable bytes: better no sandbox than one whose secrets are known.
            Err(_) => std::process::abort(),
        }
    }
}
