//! The binary `stockade`: OCI commands, states, host namespaces and cgroups.
fn main() {}
