//! Model of the vault. The model derives three sets from the results of all operations: versions
//! that must be stored, may be stored, or must not be stored.

use chartlock::{Error, report::GarbageReport};

use crate::scenario::SETUP;
use crate::state::Stalls;
use crate::tap::AppliedPut;
use crate::verbs::{Answer, Record, Verb, content};

/// A call of an operation.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) process: usize,
    pub(crate) index: usize,
    pub(crate) verb: Verb,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// `None` if the process crashed before the operation returned.
    pub(crate) answer: Option<Answer>,
    /// The step at which the operation first read a patient entry.
    pub(crate) first_read: Option<u64>,
    /// The step at which the operation last changed a patient entry.
    pub(crate) last_change: Option<u64>,
}

/// Requirement on a version that follows from the results of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The version must be stored, because the write was acknowledged and no erasure covers the
    /// version.
    Must,
    /// The version may be stored, because the outcome of the write is unknown.
    May,
    /// The version must not be stored, because the write was definitely refused or an erasure
    /// covers the version.
    Gone,
}

/// Returns `true` if a garbage collection reports damage, which no process causes.
pub(crate) fn is_alarm(report: &GarbageReport) -> bool {
    let wrong = report.charts_passed_over + report.misnamed_streams + report.unknown_charts;
    wrong + report.unreadable_entries > 0
}

/// A version that a call tried to write.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// `None` for a retraction.
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) version: Option<u64>,
    pub(crate) fate: Fate,
    pub(crate) ended: u64,
    /// The step that created the version's chart.
    chart: u64,
}

/// All calls of one execution, with their results.
pub(crate) struct Model<'a> {
    pub(crate) calls: &'a [Call],
    pub(crate) stalls: Stalls,
    /// `true` if replies to a journal page may have been lost until the journal writer gave up.
    pub(crate) outage: bool,
    /// The puts that the storage applied for the processes.
    pub(crate) applied: &'a [AppliedPut],
}

impl Model<'_> {
    pub(crate) fn attempts(&self, record: Record) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for call in self.calls {
            for (place, _) in
                (call.verb.records().iter().enumerate()).filter(|(_, written)| **written == record)
            {
                attempts.push(self.attempt(call, place, record));
            }
        }
        attempts
    }

    fn attempt(&self, call: &Call, place: usize, record: Record) -> Attempt {
        let outcome = match &call.answer {
            None => None,
            Some(Answer::Written(written)) => Some(written[place].1.clone()),
            Some(Answer::Failed(error)) => Some(Err(error.clone())),
            Some(_) => None,
        };
        let large = matches!(call.verb, Verb::PutLarge(_));
        let content = (!matches!(call.verb, Verb::Retract(_)))
            .then(|| content(call.process, call.index, record, large));
        let answered = match &outcome {
            None => Fate::May,
            Some(Ok(Some(_))) => Fate::Must,
            Some(Ok(None) | Err(Error::Conflict | Error::Erased | Error::UploadExpired)) => {
                Fate::Gone
            }
            Some(Err(_)) => Fate::May,
        };
        let chart = self.chart_of(record.0, call.ended);
        Attempt {
            content,
            version: outcome.and_then(|outcome| outcome.ok().flatten()),
            fate: self.after_erasures(call, record.0, chart, answered),
            ended: call.ended,
            chart,
        }
    }

    /// Returns the step that created the patient's newest chart at step `ended`.
    fn chart_of(&self, patient: u8, ended: u64) -> u64 {
        let reopened = self
            .calls
            .iter()
            .filter(|call| call.verb == Verb::ReopenChart(patient));
        reopened
            .filter_map(|call| call.last_change)
            .filter(|last_change| *last_change <= ended)
            .max()
            .unwrap_or(0)
    }

    fn after_erasures(&self, call: &Call, patient: u8, chart: u64, answered: Fate) -> Fate {
        let mut fate = answered;
        for erasure in self.erasures(patient) {
            let first_read = erasure.first_read.unwrap_or(0);
            // An erasure covers the chart if the erasure first read the patient entry after the
            // chart's creation.
            let covered = first_read > chart;
            let done = matches!(erasure.answer, Some(Answer::Done));
            match (covered, done, answered) {
                (true, true, Fate::Must) => fate = Fate::Gone,
                (true, true, _) if call.ended < first_read && call.answer.is_some() => {
                    fate = Fate::Gone;
                }
                (true, false, Fate::Must) if fate == Fate::Must => fate = Fate::May,
                _ => {}
            }
        }
        match self.is_erased_again(patient) {
            // A restored version, which the plan names.
            Some(true) if call.process == SETUP => Fate::Gone,
            Some(_) if self.may_be_erased_again(call) && fate == Fate::Must => Fate::May,
            _ => fate,
        }
    }

    /// Returns the erasures that read the patient entry and found no legal hold.
    fn erasures(&self, patient: u8) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| {
            call.verb == Verb::Erase(patient)
                && call.first_read.is_some()
                && !matches!(
                    call.answer,
                    Some(Answer::Failed(Error::UnknownSubject | Error::OnHold))
                )
        })
    }

    /// Returns `Some(true)` if a complete erasure covers the patient's newest chart, and `None`
    /// otherwise.
    pub(crate) fn erased(&self, patient: u8) -> Option<bool> {
        if self.is_erased_again(patient) == Some(true) {
            return Some(true);
        }
        let reopened = self.chart_of(patient, u64::MAX);
        let mut since = (self.erasures(patient))
            .filter(|erasure| erasure.first_read.unwrap_or(0) > reopened)
            .peekable();
        since.peek()?;
        since
            .any(|erasure| matches!(erasure.answer, Some(Answer::Done)))
            .then_some(true)
    }

    /// Returns `true` if an erasure of the patient can explain missing records.
    pub(crate) fn may_be_erased(&self, patient: u8) -> bool {
        let reopened = self.chart_of(patient, u64::MAX);
        self.is_erased_again(patient).is_some()
            || (self.erasures(patient)).any(|erasure| erasure.first_read.unwrap_or(0) > reopened)
    }

    /// Checks the results against each other, without the storage.
    pub(crate) fn check_answers(&self, violations: &mut Vec<String>) {
        for call in self.calls {
            match &call.answer {
                Some(Answer::Failed(error)) => self.check_failure(call, error, violations),
                Some(Answer::Written(written)) => {
                    for (_, outcome) in written {
                        if let Err(error) = outcome {
                            self.check_failure(call, error, violations);
                        }
                    }
                }
                Some(Answer::Rotated(blocking, _)) if *blocking > 0 => {
                    violations.push(format!("{:?} reports {blocking} blocking", call.verb));
                }
                Some(Answer::Rotated(_, orphaned))
                    if *orphaned > 0 && self.stalls == Stalls::Bounded =>
                {
                    violations.push(format!("{:?} reports {orphaned} orphaned", call.verb));
                }
                Some(Answer::Collected(report))
                    if self.stalls == Stalls::Bounded && is_alarm(report) =>
                {
                    violations.push(format!("garbage collection reports {report:?}"));
                }
                Some(Answer::Accepted { .. }) => self.check_acceptance(call, violations),
                Some(Answer::Done)
                    if call.verb == Verb::BeginFallback
                        && !self.is_disk_full(call)
                        && !self.outage =>
                {
                    violations.push("a fallback begins on a healthy vault".into());
                }
                Some(Answer::Verified(report)) if !report.is_clean() => {
                    violations.push(format!(
                        "verification beside other processes finds {report:?}"
                    ));
                }
                Some(answer) => self.check_read(call, answer, violations),
                None => {}
            }
        }
        self.check_numbers(violations);
    }

    fn check_failure(&self, call: &Call, error: &Error, violations: &mut Vec<String>) {
        let erasing = (self.calls.iter())
            .any(|other| matches!(other.verb, Verb::Erase(_) | Verb::AcceptRestore));
        let days_pass = (self.calls.iter()).any(|other| other.verb == Verb::Wait);
        let reopenings = (self.calls.iter())
            .filter(|other| matches!(other.verb, Verb::ReopenChart(_)))
            .count();
        let rotations = (self.calls.iter())
            .filter(|other| other.verb == Verb::RotateJournal)
            .count();
        let expected = match (call.verb, error) {
            (Verb::PutIf(..), Error::Conflict) => true,
            (Verb::DestroyMaster, Error::KeyInUse | Error::NoSuchKey) => true,
            (Verb::DestroyMaster | Verb::RotateMaster, Error::CommitUnknown) => true,
            (Verb::Erase(_), Error::UnknownSubject) => true,
            (_, Error::Storage(_) | Error::Journal(_) | Error::CommitUnknown) if self.outage => {
                true
            }
            (Verb::Erase(_), Error::OnHold) => self.may_have_found_hold(call),
            (Verb::ReopenChart(_), Error::NotErased) => reopenings > 1,
            (Verb::RotateSubject(_) | Verb::Reencrypt(_), Error::UnknownSubject) => true,
            // The storage loses the reply to an attacker, too.
            (verb, Error::CommitUnknown) if verb.is_attack() => true,
            // The fallback continues, and its pages come home later.
            (Verb::EndFallback, Error::CommitUnknown) => true,
            (Verb::RotateJournal, Error::Contended) => rotations > 1,
            (Verb::BeginFallback, Error::NoFallback) => !self.is_disk_full(call),
            (Verb::AcceptRestore, Error::PlanOutdated) => self.has_change_since_plan(call),
            (Verb::PutLarge(_), Error::UploadExpired | Error::CommitUnknown) => days_pass,
            (Verb::Erase(_), Error::Erased) => false,
            (_, Error::Erased) => erasing,
            // The key was destroyed while the process stalled.
            (_, Error::UnknownMasterKey | Error::UnknownPatientKey) => {
                self.stalls == Stalls::Endless
            }
            _ => false,
        };
        if !expected {
            violations.push(format!(
                "process {}: {:?} failed with {error:?}",
                call.process, call.verb
            ));
        }
    }

    fn check_read(&self, call: &Call, answer: &Answer, violations: &mut Vec<String>) {
        let floor = |record| {
            (self.attempts(record).iter())
                .filter(|attempt| attempt.fate == Fate::Must && attempt.ended < call.begun)
                .filter_map(|attempt| attempt.version)
                .max()
                .unwrap_or(0)
        };
        let fine = match answer {
            Answer::Read(record, None) => match call.verb {
                Verb::GetVersion(_, version) => floor(*record) < version,
                _ => floor(*record) == 0,
            },
            Answer::Read(record, Some((version, content))) => {
                let attempts = self.attempts(*record);
                let known = attempts
                    .iter()
                    .any(|attempt| attempt.content.as_ref() == Some(content));
                let right = attempts.iter().all(|attempt| {
                    (attempt.version != Some(*version)) || attempt.content.as_ref() == Some(content)
                });
                let late = match call.verb {
                    Verb::GetVersion(..) => false,
                    _ => floor(*record) > *version,
                };
                known && right && !late
            }
            Answer::History(record, length) => floor(*record) <= *length as u64,
            Answer::Listed(patient, names) => {
                let records = self
                    .records()
                    .into_iter()
                    .filter(|record| record.0 == *patient);
                records
                    .filter(|record| floor(*record) > 0)
                    .all(|record| names.contains(&crate::verbs::name(record)))
            }
            _ => true,
        };
        if !fine {
            violations.push(format!(
                "process {}: {:?} answered {answer:?}",
                call.process, call.verb
            ));
        }
    }

    /// Checks that no version number is acknowledged twice.
    fn check_numbers(&self, violations: &mut Vec<String>) {
        for record in self.records() {
            let attempts = self.attempts(record);
            for (index, one) in attempts.iter().enumerate() {
                let twice = attempts[index + 1..].iter().any(|other| {
                    one.version.is_some()
                        && one.version == other.version
                        && one.chart == other.chart
                });
                if twice {
                    violations.push(format!("version {:?} was acknowledged twice", one.version));
                }
            }
        }
    }

    /// Returns every record that a call wrote.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records: Vec<_> = (self.calls.iter())
            .flat_map(|call| call.verb.records())
            .collect();
        records.sort_unstable();
        records.dedup();
        records
    }
}
