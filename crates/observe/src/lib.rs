//! Log, counters and trace points.
