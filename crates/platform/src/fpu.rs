//! Where a stub's signal frame has the guest's FPU state, and how long that is. sigreturn(2), Intel SDM volume 1, 13.4.
//!
//! Neighbours: `thread` (reads and writes it). Owns no locks.

/// Bytes of what FXSAVE stores, with which every state begins.
pub const LEGACY: usize = 512;
/// Offset of the state's address in a ucontext.
pub const IN_CONTEXT: u64 = 28 * 8;
/// Where the host notes in the legacy part that more follows, and how much: magic, length of all.
const SOFTWARE: usize = 464;
const MAGIC: u32 = 0x4650_5853;
/// The longest that is believed: all of AMX fits.
const MAX: usize = 16 << 10;
/// The host's mark behind the state.
const MAGIC_BEHIND: usize = 4;

/// Length of a state by its first part.
pub fn len(legacy: &[u8; LEGACY]) -> usize {
    let word = |at: usize| {
        let bytes = legacy.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default();
        u32::from_le_bytes(bytes)
    };
    let whole = (word(SOFTWARE + 4) as usize).saturating_sub(MAGIC_BEHIND);
    if word(SOFTWARE) == MAGIC && (LEGACY..=MAX).contains(&whole) { whole } else { LEGACY }
}
