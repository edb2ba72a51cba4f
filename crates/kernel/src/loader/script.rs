//! The `#!` line of a script, execve(2) "Interpreter scripts".

use abi::Errno;

/// What a script's first line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub interpreter: Vec<u8>,
    /// All that follows the interpreter, as one argument.
    pub argument: Option<Vec<u8>>,
}

/// Parses the head of a file. ENOEXEC where it is no script, names no interpreter, or the interpreter's name is cut off.
pub fn parse(head: &[u8]) -> Result<Line, Errno> {
    let rest = head.strip_prefix(b"#!").ok_or(Errno::ENOEXEC)?;
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let end = rest.iter().position(|b| *b == b'\n');
    let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    // A zero ends the line as well: the file may be shorter than the head's buffer is on Linux.
    let line = line.split(|b| *b == 0).next().unwrap_or_default();
    let line = trim(line, blank);
    if line.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    let (interpreter, argument) = match line.iter().position(blank) {
        Some(at) => {
            let (a, b) = line.split_at(at);
            (a, trim(b, blank))
        }
        None => (line, &[] as &[u8]),
    };
    // Without an end of line the name may go on beyond what was read.
    let cut_off = end.is_none() && head.len() >= super::HEAD && argument.is_empty();
    if cut_off && rest.last().is_none_or(|b| !blank(b)) {
        return Err(Errno::ENOEXEC);
    }
    Ok(Line { interpreter: interpreter.to_vec(), argument: (!argument.is_empty()).then(|| argument.to_vec()) })
}

fn trim(mut text: &[u8], blank: impl Fn(&u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = text
        && blank(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blank(last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(interpreter: &str, argument: Option<&str>) -> Result<Line, Errno> {
        Ok(Line { interpreter: interpreter.into(), argument: argument.map(Into::into) })
    }

    #[test]
    fn lines() {
        assert_eq!(parse(b"#!/bin/sh\necho"), line("/bin/sh", None));
        assert_eq!(parse(b"#! /bin/sh -e  x \t\n"), line("/bin/sh", Some("-e  x")));
        assert_eq!(parse(b"#!/bin/sh"), line("/bin/sh", None));
        assert_eq!(parse(b"#!\n"), Err(Errno::ENOEXEC));
        assert_eq!(parse(b"#!   "), Err(Errno::ENOEXEC));
        assert_eq!(parse(b"#"), Err(Errno::ENOEXEC));
        assert_eq!(parse(b""), Err(Errno::ENOEXEC));
    }

    #[test]
    fn a_name_that_is_cut_off_is_no_name() {
        let mut long = b"#!/".to_vec();
        long.resize(super::super::HEAD, b'a');
        assert_eq!(parse(&long), Err(Errno::ENOEXEC));
        // An argument may be cut off.
        long[10] = b' ';
        assert!(parse(&long).is_ok());
    }
}
