//! Runs the guest programs in a place, reads their verdicts, and compares them with what ran natively and with the expectations.
//! A program prints one line a case: `ok CASE`, `skip CASE: why` or `FAIL CASE: why`, and at last `done`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;

use crate::expectations::Expectations;
use crate::place::{self, Place, Ran};
use crate::programs::Program;

const LIMIT: Duration = Duration::from_secs(40);
/// For hostile programs, each of whose cases takes seconds.
const HOSTILE_LIMIT: Duration = Duration::from_secs(240);
const AT_ONCE: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Skip(String),
    Fail(String),
}

/// Verdicts by case, in a program by its name.
pub type Verdicts = BTreeMap<String, BTreeMap<String, Verdict>>;

/// Sums of a stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Sums {
    pub fn add(&mut self, other: Sums) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs all programs here, two at a time; prints a line for each. `known` are the cases that ran natively: one that is
/// not reached here has failed, and so has one that is skipped here only.
pub fn run(
    place: &Place,
    launcher: &Path,
    programs: &[Program],
    known: Option<&Verdicts>,
    logs: &Path,
) -> Result<Verdicts> {
    let jobs = Mutex::new(programs.iter());
    let done = Mutex::new(Verdicts::new());
    let worker = || -> Result<()> {
        while let Some(program) = jobs.lock().ok().and_then(|mut jobs| jobs.next()) {
            let log = logs.join(place.name()).join(&program.name).with_extension("log");
            let limit = if program.is_hostile() { HOSTILE_LIMIT } else { LIMIT };
            let ran = place::run(place.command(&[launcher, &program.binary]), &log, limit)?;
            let cases = judge(&ran, known.and_then(|known| known.get(&program.name)));
            show(place, &program.name, &ran, &cases);
            if let Ok(mut done) = done.lock() {
                done.insert(program.name.clone(), cases);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            worker.join().unwrap_or_else(|_| anyhow::bail!("a test worker panicked"))
        };
        workers.into_iter().try_for_each(join)
    })?;
    Ok(done.into_inner().unwrap_or_default())
}

/// The verdicts that a run's output tells.
fn judge(ran: &Ran, known: Option<&BTreeMap<String, Verdict>>) -> BTreeMap<String, Verdict> {
    let mut cases = BTreeMap::new();
    let mut ended = false;
    let mut last = String::new();
    for line in ran.output.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (case, why) = rest.split_once(": ").unwrap_or((rest, ""));
        match word {
            "ok" => drop(cases.insert(case.to_string(), Verdict::Ok)),
            "skip" => drop(cases.insert(case.to_string(), Verdict::Skip(why.into()))),
            "FAIL" => drop(cases.insert(case.to_string(), Verdict::Fail(why.into()))),
            "done" => ended = true,
            _ => last = line.to_string(),
        }
    }
    let ending = place::ending(ran);
    let broken = match (&ending, ended) {
        (Some(ending), false) => Some(format!("not reached: {ending}; {last}")),
        (None, false) => Some(format!("not reached: ended early with status 0; {last}")),
        (Some(ending), true) if !cases.values().any(|verdict| matches!(verdict, Verdict::Fail(_))) => {
            cases.insert("program".into(), Verdict::Fail(format!("all cases ended, but then: {ending}")));
            None
        }
        _ => None,
    };
    for (case, verdict) in known.into_iter().flatten() {
        let lost =
            cases.entry(case.clone()).or_insert_with(|| Verdict::Fail(broken.clone().unwrap_or("not run".into())));
        if let (Verdict::Skip(why), Verdict::Ok) = (&*lost, verdict) {
            *lost = Verdict::Fail(format!("skipped, though it runs natively: {why}"));
        }
    }
    if cases.is_empty() || (known.is_none() && broken.is_some()) {
        cases.insert("program".into(), Verdict::Fail(broken.unwrap_or("no case ran".into())));
    }
    cases
}

fn show(place: &Place, program: &str, ran: &Ran, cases: &BTreeMap<String, Verdict>) {
    let count = |kind: fn(&Verdict) -> bool| cases.values().filter(|verdict| kind(verdict)).count();
    let ok = count(|verdict| *verdict == Verdict::Ok);
    let skipped = count(|verdict| matches!(verdict, Verdict::Skip(_)));
    let failed = cases.len() - ok - skipped;
    let mut line = format!("{:8} {program:32} {ok} ok", place.name());
    if skipped > 0 {
        line += &format!(", {skipped} skipped");
    }
    if failed > 0 {
        line += &format!(", {failed} FAILED");
    }
    println!("{line} ({} ms)", ran.took.as_millis());
}

/// Prints what is not as expected, and sums up. `expectations` is none natively, where nothing may fail.
pub fn sum_up(place: &Place, verdicts: &Verdicts, expectations: Option<&Expectations>) -> Sums {
    let mut sums = Sums::default();
    for (program, cases) in verdicts {
        let mut failed_here = false;
        for (case, verdict) in cases {
            let expected = expectations.and_then(|all| all.case(program, case));
            match (verdict, expected) {
                (Verdict::Ok, Some(_)) if exact(expectations, program, case) => {
                    println!("UNEXPECTED PASS {} {program}:{case}: take it out of expectations.toml", place.name());
                    sums.failed += 1;
                }
                (Verdict::Ok, _) => sums.passed += 1,
                (Verdict::Skip(_), _) => sums.skipped += 1,
                (Verdict::Fail(_), Some(_)) => {
                    failed_here = true;
                    sums.skipped += 1;
                }
                (Verdict::Fail(why), None) => {
                    println!("FAILED {} {program}:{case}: {why}", place.name());
                    sums.failed += 1;
                }
            }
        }
        if !failed_here && exact(expectations, program, "*") {
            println!("UNEXPECTED PASS {} {program}:*: take it out of expectations.toml", place.name());
            sums.failed += 1;
        }
    }
    sums
}

fn exact(expectations: Option<&Expectations>, program: &str, case: &str) -> bool {
    expectations.is_some_and(|all| all.stockade.contains_key(&format!("{program}:{case}")))
}
