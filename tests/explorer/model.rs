//! What must, may and must not stand, given what processes were told.

use chartlock::{Error, report::GarbageReport};

use crate::state::Stalls;
use crate::verbs::{Answer, Record, Verb, content};

/// A verb that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) process: usize,
    pub(crate) index: usize,
    pub(crate) verb: Verb,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// `None` when its process died before it heard one.
    pub(crate) answer: Option<Answer>,
    /// When it first looked at a patient entry.
    pub(crate) looked: Option<u64>,
    /// When it last changed one.
    pub(crate) changed: Option<u64>,
}

/// What became of a version, by what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was acknowledged, and no erasure can have meant it.
    Must,
    /// Nobody was told for certain.
    May,
    /// Whoever put it was told that it did not happen, or it was erased.
    Gone,
}

/// Whether a sweep found something wrong, which nobody did.
pub(crate) fn is_alarm(report: &GarbageReport) -> bool {
    let wrong = report.charts_passed_over + report.misnamed_streams + report.unknown_charts;
    wrong + report.unreadable_entries > 0
}

/// A version that somebody set out to write.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// `None` for a retraction.
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) version: Option<u64>,
    pub(crate) fate: Fate,
    pub(crate) ended: u64,
    /// When the chart that it is on was begun.
    chart: u64,
}

/// All that was asked for and answered in one execution.
pub(crate) struct Model<'a> {
    pub(crate) calls: &'a [Call],
    pub(crate) stalls: Stalls,
    /// Whether pages of the journal may go unheard until their writer gives up.
    pub(crate) outage: bool,
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
        let content = (!matches!(call.verb, Verb::Remove(_)))
            .then(|| content(call.process, call.index, record, large));
        let told = match &outcome {
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
            fate: self.after_erasures(call, record.0, chart, told),
            ended: call.ended,
            chart,
        }
    }

    /// When the chart was begun that somebody who was answered at `ended` wrote to.
    fn chart_of(&self, patient: u8, ended: u64) -> u64 {
        let reopened = self
            .calls
            .iter()
            .filter(|call| call.verb == Verb::Readmit(patient));
        reopened
            .filter_map(|call| call.changed)
            .filter(|changed| *changed <= ended)
            .max()
            .unwrap_or(0)
    }

    fn after_erasures(&self, call: &Call, patient: u8, chart: u64, told: Fate) -> Fate {
        let mut fate = told;
        for erasure in self.erasures(patient) {
            let looked = erasure.looked.unwrap_or(0);
            // It saw this chart, or a dead one of before; when it says that it is done, so it is.
            let meant = looked > chart;
            let done = matches!(erasure.answer, Some(Answer::Done));
            match (meant, done, told) {
                (true, true, Fate::Must) => fate = Fate::Gone,
                (true, true, _) if call.ended < looked && call.answer.is_some() => {
                    fate = Fate::Gone;
                }
                (true, false, Fate::Must) if fate == Fate::Must => fate = Fate::May,
                _ => {}
            }
        }
        fate
    }

    /// Erasures that looked at an entry and found one that nothing holds.
    fn erasures(&self, patient: u8) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| {
            call.verb == Verb::Erase(patient)
                && call.looked.is_some()
                && !matches!(
                    call.answer,
                    Some(Answer::Failed(Error::UnknownSubject | Error::OnHold))
                )
        })
    }

    /// Whether the patient must be erased (`Some(true)`), must be live, or may be either.
    pub(crate) fn erased(&self, patient: u8) -> Option<bool> {
        let returned = self.chart_of(patient, u64::MAX);
        let mut since = (self.erasures(patient))
            .filter(|erasure| erasure.looked.unwrap_or(0) > returned)
            .peekable();
        since.peek()?;
        since
            .any(|erasure| matches!(erasure.answer, Some(Answer::Done)))
            .then_some(true)
    }

    /// Whether some erasure of the patient may explain what is not there.
    pub(crate) fn may_be_erased(&self, patient: u8) -> bool {
        let returned = self.chart_of(patient, u64::MAX);
        (self.erasures(patient)).any(|erasure| erasure.looked.unwrap_or(0) > returned)
    }

    /// What the answers say by themselves, before anyone looks at the storage.
    pub(crate) fn answers(&self, violations: &mut Vec<String>) {
        for call in self.calls {
            match &call.answer {
                Some(Answer::Failed(error)) => self.failure(call, error, violations),
                Some(Answer::Written(written)) => {
                    for (_, outcome) in written {
                        if let Err(error) = outcome {
                            self.failure(call, error, violations);
                        }
                    }
                }
                Some(Answer::Renewed(blocking, _)) if *blocking > 0 => {
                    violations.push(format!("{:?} was blocked by {blocking}", call.verb));
                }
                Some(Answer::Renewed(_, orphaned))
                    if *orphaned > 0 && self.stalls == Stalls::WithinGrace =>
                {
                    violations.push(format!("{:?} orphaned {orphaned}", call.verb));
                }
                Some(Answer::Swept(report))
                    if self.stalls == Stalls::WithinGrace && is_alarm(report) =>
                {
                    violations.push(format!("a sweep answered {report:?}"));
                }
                Some(Answer::Verified(report)) if !report.is_clean() => {
                    violations.push(format!("a verification beside others finds {report:?}"));
                }
                Some(answer) => self.reading(call, answer, violations),
                None => {}
            }
        }
        self.numbers(violations);
    }

    fn failure(&self, call: &Call, error: &Error, violations: &mut Vec<String>) {
        let erasing = (self.calls.iter()).any(|other| matches!(other.verb, Verb::Erase(_)));
        let days_pass = (self.calls.iter()).any(|other| other.verb == Verb::Wait);
        let readmissions = (self.calls.iter())
            .filter(|other| matches!(other.verb, Verb::Readmit(_)))
            .count();
        let expected = match (call.verb, error) {
            (Verb::PutIf(..), Error::Conflict) => true,
            (Verb::RetireMaster, Error::KeyInUse | Error::NoSuchKey) => true,
            (Verb::RetireMaster | Verb::RotateMaster, Error::CommitUnknown) => true,
            (Verb::Erase(_), Error::UnknownSubject) => true,
            (_, Error::Storage(_) | Error::Journal(_) | Error::CommitUnknown) if self.outage => {
                true
            }
            (Verb::Erase(_), Error::OnHold) => self.may_have_met_a_hold(call),
            (Verb::Readmit(_), Error::Conflict) => readmissions > 1,
            (Verb::RotatePatient(_) | Verb::Reencrypt(_), Error::UnknownSubject) => true,
            (Verb::PutLarge(_), Error::UploadExpired | Error::CommitUnknown) => days_pass,
            (Verb::Erase(_), Error::Erased) => false,
            (_, Error::Erased) => erasing,
            // Keys that a reader had just been told of were removed while it stalled.
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

    fn reading(&self, call: &Call, answer: &Answer, violations: &mut Vec<String>) {
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

    /// No version is acknowledged twice.
    fn numbers(&self, violations: &mut Vec<String>) {
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

    /// Every record that anybody wrote to.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records: Vec<_> = (self.calls.iter())
            .flat_map(|call| call.verb.records())
            .collect();
        records.sort_unstable();
        records.dedup();
        records
    }
}
