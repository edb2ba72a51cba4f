//! Guest programs and the harness that runs them natively and in stockade.
