//! Locks with a class each; the order of classes is checked in debug builds.
