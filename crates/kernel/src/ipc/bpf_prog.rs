//! A BPF program as a file: bpf(2). Owns no locks.

use crate::bpf::Program;
use crate::vfs::{File, FileOps, Position};
use abi::fs::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// A reference to a program.
pub struct BpfProg(pub Arc<Program>);

pub fn new_bpf_prog(program: Arc<Program>) -> Arc<File> {
    File::anonymous(Arc::new(BpfProg(program)), OpenFlags::RDWR)
}

impl FileOps for BpfProg {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:bpf-prog".into())
    }

    fn fdinfo(&self) -> String {
        let program = &self.0;
        format!("prog_type:\t{}\nprog_jited:\t0\nprog_id:\t{}\n", program.kind, program.id)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
