//! Depth-first search over schedules, with sleep sets. Each execution replays a schedule from its
//! start.

use std::collections::HashSet;

use crate::footprint::Footprint;

/// Possible next step: a step of a process, or the application of a delayed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The process that takes the step or sent the request.
    pub(crate) process: usize,
    pub(crate) act: Act,
    pub(crate) footprint: Footprint,
    /// `true` if the step counts as a preemption, because the process that ran last could continue.
    pub(crate) preempts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// The process takes its pending step.
    Go,
    /// The process crashes before the step.
    Crash,
    /// The request is applied, and its reply is lost.
    Applied,
    /// The request is lost.
    Lost,
    /// The request is applied later, and its reply is lost.
    Later,
    /// A delayed request is applied.
    Land,
}

impl Act {
    pub(crate) fn is_fault(self) -> bool {
        !matches!(self, Self::Go | Self::Land)
    }
}

impl Transition {
    /// Returns `true` if the order of two transitions affects neither a process nor the set of
    /// enabled transitions.
    fn commutes(&self, other: &Self) -> bool {
        let faults = self.act.is_fault() && other.act.is_fault();
        let landings = self.act == Act::Land && other.act == Act::Land;
        // A delayed request is independent of the later steps of its process.
        let same = self.process == other.process
            && ((self.act == Act::Land) == (other.act == Act::Land) || landings);
        !same && !faults && self.footprint.commutes(&other.footprint)
    }

    fn is(&self, other: &Self) -> bool {
        self.process == other.process && self.act == other.act
    }
}

/// Statistics of a search.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Executions that ran to their end.
    pub(crate) executions: u64,
    /// Executions stopped because an equivalent execution was explored.
    pub(crate) pruned: u64,
    /// Most steps in one execution.
    pub(crate) depth: usize,
    /// Executions with at least one fault.
    pub(crate) faulty: u64,
    /// Distinct pairs of storage operation and key class.
    pub(crate) operations: HashSet<(&'static str, u8)>,
    /// `true` if the whole scope was explored.
    pub(crate) complete: bool,
}

struct Node {
    enabled: Vec<Transition>,
    chosen: usize,
    done: Vec<usize>,
    sleep: Vec<Transition>,
    preemptions: u32,
}

/// Search state: the path of the current schedule, with the alternatives explored at each node.
pub(crate) struct Search {
    path: Vec<Node>,
    depth: usize,
    bound: Option<u32>,
}

impl Search {
    /// Creates a search. A bound on preemptions disables sleep sets, because the combination would
    /// miss schedules.
    pub(crate) fn new(bound: Option<u32>) -> Self {
        Self {
            path: Vec::new(),
            depth: 0,
            bound,
        }
    }

    /// Returns to the first step of the schedule.
    pub(crate) fn restart(&mut self) {
        self.depth = 0;
    }

    /// Returns the next transition of the schedule, or `None` if the search has covered all enabled
    /// transitions.
    pub(crate) fn choose(&mut self, enabled: Vec<Transition>) -> Option<Transition> {
        if self.depth == self.path.len() {
            let node = self.node(enabled)?;
            self.path.push(node);
        } else {
            let node = &self.path[self.depth];
            assert_eq!(node.enabled, enabled, "a replay differs from its schedule");
        }
        let node = &self.path[self.depth];
        self.depth += 1;
        Some(node.enabled[node.chosen].clone())
    }

    fn node(&self, enabled: Vec<Transition>) -> Option<Node> {
        let (sleep, preemptions) = self.path.last().map_or((Vec::new(), 0), |parent| {
            let chosen = &parent.enabled[parent.chosen];
            let done = parent.done.iter().map(|index| &parent.enabled[*index]);
            let sleep = if self.bound.is_some() {
                Vec::new()
            } else {
                let asleep = parent.sleep.iter().chain(done);
                asleep
                    .filter(|other| other.commutes(chosen))
                    .cloned()
                    .collect()
            };
            (sleep, parent.preemptions + u32::from(chosen.preempts))
        });
        let mut node = Node {
            enabled,
            chosen: 0,
            done: Vec::new(),
            sleep,
            preemptions,
        };
        node.chosen = self.candidate(&node)?;
        Some(node)
    }

    fn candidate(&self, node: &Node) -> Option<usize> {
        (0..node.enabled.len()).find(|index| {
            let transition = &node.enabled[*index];
            let preemptions = node.preemptions + u32::from(transition.preempts);
            !node.done.contains(index)
                && !node.sleep.iter().any(|asleep| asleep.is(transition))
                && self.bound.is_none_or(|bound| preemptions <= bound)
        })
    }

    /// Moves to the next schedule. Returns false if no schedule is left.
    pub(crate) fn advance(&mut self) -> bool {
        while let Some(mut node) = self.path.pop() {
            node.done.push(node.chosen);
            if let Some(next) = self.candidate(&node) {
                node.chosen = next;
                self.path.push(node);
                return true;
            }
        }
        false
    }
}
