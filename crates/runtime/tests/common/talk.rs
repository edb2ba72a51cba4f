//! A container that is talked with: a host folder at /v, what Python needs from the host, and lines to and from its program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::{Value, json};

use super::Place;

/// The host folder `v` of the place at /v, and the host's Python, read-only.
pub fn mounts(place: &Place) -> Value {
    json!([
        { "destination": "/v", "type": "bind", "source": place.dir.join("v"), "options": ["rbind"] },
        { "destination": "/bin/python3", "type": "bind", "source": "/usr/bin/python3", "options": ["bind", "ro"] },
        { "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] },
        { "destination": "/lib", "type": "bind", "source": "/lib", "options": ["rbind", "ro"] },
        { "destination": "/lib64", "type": "bind", "source": "/lib64", "options": ["rbind", "ro"] },
    ])
}

/// Its program.
pub struct Talk {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Talk {
    pub fn start(place: &Place, flags: &[&str]) -> Talk {
        let args = [flags, &["run", "x"]].concat();
        let mut child = place.command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Talk { child, lines }
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    /// Has a shell run a command; its one line of output.
    pub fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.hear()
    }

    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}
