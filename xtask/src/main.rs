//! Build, test, bench and check commands of the project.
fn main() {}
