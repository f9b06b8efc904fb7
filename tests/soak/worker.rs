//! Thread that runs random operations on its own patients.

use std::io::Write;
use std::time::{Duration, Instant, UNIX_EPOCH};

use chartlock::{Document, Error, Precondition, Session, Vault};

use crate::common::content::{MISFILED, NAMES, Random, batch, content};
use crate::common::session;
use crate::maintenance::{Place, maintain};
use crate::measure::Times;
use crate::model::ChartModel;

pub(crate) struct Worker<'a> {
    vault: &'a Vault,
    place: &'a Place,
    session: Session,
    thread: u64,
    random: Random,
    times: &'a Times,
    charts: Vec<ChartModel>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        vault: &'a Vault,
        place: &'a Place,
        thread: u64,
        random: Random,
        times: &'a Times,
    ) -> Self {
        let patients = (0..2).map(|number| format!("MRN-{thread}-{number}"));
        Self {
            vault,
            place,
            session: session(vault),
            thread,
            random,
            times,
            charts: patients.map(|patient| ChartModel::new(&patient)).collect(),
        }
    }

    /// Runs operations until `end`, then compares all records of its patients with the model.
    pub(crate) fn run(mut self, end: Instant) {
        while Instant::now() < end {
            let chart = usize::try_from(self.random.below(2)).unwrap();
            self.run_one(chart);
        }
        for chart in &self.charts {
            for name in chart.names() {
                chart.check(&self.session, &name);
                chart.check_history(&self.session, &name);
            }
            chart.check_all(&self.session);
        }
    }

    fn run_one(&mut self, chart: usize) {
        match self.random.below(100) {
            0..14 => self.put(chart),
            14..18 => self.put_if(chart),
            18..24 => self.put_many(chart),
            24..26 => self.put_large(chart),
            26..28 => self.put_huge(chart),
            28 => self.abandon_upload(chart),
            29..34 => self.retract(chart),
            34..36 => self.expunge(chart),
            36..38 => self.erase(chart),
            38..41 => self.hold(chart),
            41..43 => self.rotate(chart),
            43..60 => self.read_one(chart),
            60..72 => self.read_chart(chart),
            72..74 => {
                let Self { random, times, .. } = self;
                maintain(self.vault, self.place, self.thread, random, times);
            }
            _ => self.put(chart),
        }
    }

    fn seed(&mut self) -> u64 {
        self.random.next() >> 16
    }

    fn name(&mut self) -> &'static str {
        NAMES[usize::try_from(self.random.below(NAMES.len() as u64)).unwrap()]
    }

    fn put(&mut self, chart: usize) {
        let (name, seed) = (["a", "b", "c"][self.random.below(3) as usize], self.seed());
        self.put_document(chart, name, seed, "put");
    }

    fn put_large(&mut self, chart: usize) {
        let seed = self.seed();
        self.put_document(chart, "large", seed, "put large");
    }

    fn put_document(&mut self, chart: usize, name: &str, seed: u64, operation: &'static str) {
        let chart = &mut self.charts[chart];
        let (id, body) = (chart.id(name), content(seed, name));
        let put = || self.session.put(&id, Document::new(&body).label("soak"));
        let version = self.times.of(operation, put).unwrap();
        chart.acknowledge(name, version, Some(seed));
    }

    fn put_if(&mut self, chart: usize) {
        let seed = self.seed();
        let chart = &mut self.charts[chart];
        let (id, body) = (chart.id("a"), content(seed, "a"));
        let expected = match self.session.history(&id).unwrap().last() {
            Some(info) if !info.is_retraction() => Precondition::Version(info.version()),
            Some(_) => return,
            None => Precondition::Absent,
        };
        let put = || self.session.put_if(&id, expected, &body);
        let version = self.times.of("put_if", put).unwrap();
        chart.acknowledge("a", version, Some(seed));
        let stale = self.session.put_if(&id, Precondition::Absent, &body);
        assert_eq!(stale, Err(Error::Conflict));
    }

    fn put_many(&mut self, chart: usize) {
        let seed = self.seed();
        let chart = &mut self.charts[chart];
        let ids: Vec<_> = batch().iter().map(|name| chart.id(name)).collect();
        let seeds = (0..batch().len() as u64).map(|index| seed + index);
        let bodies: Vec<_> = seeds
            .zip(batch())
            .map(|(seed, name)| content(seed, name))
            .collect();
        let records = ids.iter().zip(bodies.iter().map(Document::from));
        let put = || self.session.put_many(records);
        let versions = self.times.of("put_many", put).unwrap();
        for ((name, version), index) in batch().iter().zip(versions).zip(0..) {
            chart.acknowledge(name, version.unwrap(), Some(seed + index));
        }
    }

    fn put_huge(&mut self, chart: usize) {
        let seed = self.seed();
        let chart = &mut self.charts[chart];
        let (id, body) = (chart.id("huge"), content(seed, "huge"));
        let put = || self.session.put_reader(&id, body.as_slice());
        let version = self.times.of("put_reader", put).unwrap();
        chart.acknowledge("huge", version, Some(seed));
    }

    /// Begins an upload and drops the writer. The record must stay unchanged.
    fn abandon_upload(&mut self, chart: usize) {
        let seed = self.seed();
        let chart = &self.charts[chart];
        let body = content(seed, "huge");
        self.times.of("abandoned upload", || {
            let mut writer = self.session.writer(&chart.id("huge"));
            writer.write_all(&body).unwrap();
        });
        chart.check(&self.session, "huge");
    }

    fn retract(&mut self, chart: usize) {
        let name = self.name();
        let chart = &mut self.charts[chart];
        let id = chart.id(name);
        let retracted = self.times.of("retract", || self.session.retract(&id));
        if let Some(version) = retracted.unwrap() {
            chart.acknowledge(name, version, None);
        } else {
            chart.check(&self.session, name);
        }
    }

    fn expunge(&mut self, chart: usize) {
        let seed = self.seed();
        self.put_document(chart, MISFILED, seed, "put");
        let chart = &mut self.charts[chart];
        let id = chart.id(MISFILED);
        let expunge = || self.session.expunge(&id, "of another patient");
        self.times.of("expunge", expunge).unwrap();
        let history = self.session.history(&id).unwrap();
        let last = history.last().unwrap();
        assert!(last.is_expunged());
        chart.acknowledge_expunge(MISFILED, last.version());
    }

    fn erase(&mut self, chart: usize) {
        let chart = &mut self.charts[chart];
        if chart.is_empty() {
            return;
        }
        let erase = || self.session.erase_subject(&chart.subject, "asked for");
        self.times.of("erase", erase).unwrap();
        let refused = self.session.list(&chart.subject).err();
        assert_eq!(refused, Some(Error::Erased));
        let reopen = || chart.reopen(&self.session);
        self.times.of("reopen", reopen);
        chart.acknowledge_erasure();
    }

    fn hold(&mut self, chart: usize) {
        let day = Duration::from_secs(86_400 * (1 + self.random.below(10_000)));
        let chart = &self.charts[chart];
        if chart.is_empty() {
            return;
        }
        let (session, subject) = (&self.session, &chart.subject);
        let place = || session.place_hold(subject, "subpoena");
        let hold = self.times.of("hold", place).unwrap();
        let refused = session.erase_subject(subject, "asked for");
        assert_eq!(refused.err(), Some(Error::OnHold));
        assert_eq!(session.holds(subject).unwrap().len(), 1);
        let lift = || session.lift_hold(subject, hold);
        self.times.of("lift hold", lift).unwrap();
        session
            .retain_until(subject, Some(UNIX_EPOCH + day))
            .unwrap();
        session.retain_until(subject, None).unwrap();
    }

    fn rotate(&mut self, chart: usize) {
        let chart = &self.charts[chart];
        if chart.is_empty() {
            return;
        }
        let rotate = || self.vault.rotate_subject_key(&chart.subject);
        let report = self.times.of("rotate subject", rotate).unwrap();
        assert_eq!((report.blocking, report.orphaned), (0, 0));
        let reencrypt = || self.vault.reencrypt_subject(&chart.subject);
        let report = self.times.of("reencrypt subject", reencrypt).unwrap();
        assert_eq!((report.blocking, report.orphaned), (0, 0));
    }

    fn read_one(&mut self, chart: usize) {
        let (name, seed) = (self.name(), self.seed());
        let chart = &self.charts[chart];
        let (session, times) = (&self.session, self.times);
        times.of("get", || chart.check(session, name));
        times.of("get_version", || chart.check_version(session, name, seed));
        times.of("history", || chart.check_history(session, name));
    }

    fn read_chart(&mut self, chart: usize) {
        let chart = &self.charts[chart];
        let (session, times) = (&self.session, self.times);
        times.of("list", || chart.check_list(session));
        times.of("get_all", || chart.check_all(session));
    }
}
