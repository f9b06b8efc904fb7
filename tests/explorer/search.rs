//! Which schedule comes next: depth first, replayed from the start each time, with sleep sets.

use std::collections::HashSet;

use crate::footprint::Footprint;

/// What a process, or a request that is still under way, may do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The process; a landing request stands for itself.
    pub(crate) process: usize,
    pub(crate) act: Act,
    pub(crate) footprint: Footprint,
    /// Whether taking it while `switch_from` could go on counts against the bound.
    pub(crate) preempts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// The pending step happens.
    Go,
    /// The process dies before it.
    Crash,
    /// It happens, and the answer is lost.
    Applied,
    /// It never happens, and nobody says so.
    Lost,
    /// It happens some time later, and nobody says so.
    Later,
    /// A request of before lands.
    Land,
}

impl Act {
    pub(crate) fn is_fault(self) -> bool {
        !matches!(self, Self::Go | Self::Land)
    }
}

impl Transition {
    /// Whether the order of the two makes no difference to any process, nor to what may come next.
    fn commutes(&self, other: &Self) -> bool {
        let faults = self.act.is_fault() && other.act.is_fault();
        let landings = self.act == Act::Land && other.act == Act::Land;
        // A landing is no step of its process: it comes whenever it comes.
        let same = self.process == other.process
            && ((self.act == Act::Land) == (other.act == Act::Land) || landings);
        !same && !faults && self.footprint.commutes(&other.footprint)
    }

    fn is(&self, other: &Self) -> bool {
        self.process == other.process && self.act == other.act
    }
}

/// What a search found out about its size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Executions that ran to their end.
    pub(crate) executions: u64,
    /// Executions cut off, for what followed had been seen in another order.
    pub(crate) pruned: u64,
    /// Most steps of one execution.
    pub(crate) depth: usize,
    /// Executions with at least one fault.
    pub(crate) faulty: u64,
    /// Steps by class and verb that occurred.
    pub(crate) operations: HashSet<(&'static str, u8)>,
    /// Whether everything in scope was seen.
    pub(crate) complete: bool,
}

struct Node {
    enabled: Vec<Transition>,
    chosen: usize,
    done: Vec<usize>,
    sleep: Vec<Transition>,
    preemptions: u32,
}

/// The schedules seen so far, as the path of the last one.
pub(crate) struct Search {
    path: Vec<Node>,
    depth: usize,
    bound: Option<u32>,
}

impl Search {
    /// With a bound on preemptions there is no reduction: the two together would miss schedules.
    pub(crate) fn new(bound: Option<u32>) -> Self {
        Self {
            path: Vec::new(),
            depth: 0,
            bound,
        }
    }

    /// Begins at the first step again.
    pub(crate) fn restart(&mut self) {
        self.depth = 0;
    }

    /// The transition of the current schedule; `None` when every one that is left is covered.
    pub(crate) fn choose(&mut self, enabled: Vec<Transition>) -> Option<Transition> {
        if self.depth == self.path.len() {
            let node = self.node(enabled)?;
            self.path.push(node);
        } else {
            let node = &self.path[self.depth];
            assert_eq!(node.enabled, enabled, "a replay took another way");
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

    /// Moves on to the next schedule; false when there is none.
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
