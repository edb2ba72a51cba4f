//! The guest tests: small C programs, each with many cases, which must pass natively first and then in stockade.
//! `programs` compiles them, `place` runs one somewhere, `expectations` knows which cases are known to fail, `suite`
//! puts all together. `scripts` runs the real programs of guest-tests/real. Used by `cargo xtask test`.

pub mod expectations;
pub mod place;
pub mod programs;
pub mod scripts;
pub mod suite;
