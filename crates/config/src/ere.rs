//! POSIX extended regular expressions, as much of them as versions of a kernel need.
//!
//! An expression becomes a list of steps, and all ways through it are followed at once, so that no pattern takes longer than its
//! length times that of the text. There are no back-references and no words (`\<`).

use std::ops::RangeInclusive;

/// An expression, ready to be compared.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A byte of this set.
    One(Box<Set>),
    /// The beginning of the text.
    Begin,
    /// The end of the text.
    End,
    /// Goes on at either.
    Split(usize, usize),
    Jump(usize),
    Match,
}

/// A set of bytes, and everything else when it is negated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Set {
    ranges: Vec<(u8, u8)>,
    negated: bool,
}

impl Set {
    fn has(&self, byte: u8) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) != self.negated
    }

    fn byte(byte: u8) -> Set {
        Set { ranges: vec![(byte, byte)], negated: false }
    }
}

#[derive(Debug, Clone)]
enum Node {
    Set(Set),
    Begin,
    End,
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    /// At least so often, at most so often.
    Repeat(Box<Node>, u32, Option<u32>),
}

/// Longer programs are refused: they would come from nested counts.
const MOST_STEPS: usize = 20_000;
/// Parentheses within parentheses.
const MOST_DEPTH: u32 = 100;
/// The largest count (`RE_DUP_MAX` of Linux' libraries).
const MOST_REPEATS: u32 = 0x7fff;

impl Pattern {
    /// Reads an expression; `None` when it is none.
    pub(crate) fn new(text: &[u8]) -> Option<Pattern> {
        let mut reader = Reader { rest: text, depth: 0 };
        let node = reader.alternatives()?;
        if !reader.rest.is_empty() {
            return None;
        }
        let mut program = Program::default();
        program.emit(&node)?;
        program.steps.push(Step::Match);
        Some(Pattern { steps: program.steps })
    }

    /// Whether the expression matches any part of `text`.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        let mut now = Places::new(self.steps.len());
        let mut next = Places::new(self.steps.len());
        for at in 0..=text.len() {
            if self.enter(0, at, text.len(), &mut now) {
                return true;
            }
            let Some(&byte) = text.get(at) else { break };
            for place in std::mem::take(&mut now.list) {
                if let Some(Step::One(set)) = self.steps.get(place)
                    && set.has(byte)
                    && self.enter(place + 1, at + 1, text.len(), &mut next)
                {
                    return true;
                }
            }
            now.clear();
            std::mem::swap(&mut now, &mut next);
        }
        false
    }

    /// Adds every step that can be reached from `place` without a byte; whether the end is among them.
    fn enter(&self, place: usize, at: usize, length: usize, places: &mut Places) -> bool {
        let mut open = vec![place];
        while let Some(place) = open.pop() {
            if !places.add(place) {
                continue;
            }
            match self.steps.get(place) {
                Some(Step::Match) => return true,
                Some(&Step::Jump(to)) => open.push(to),
                Some(&Step::Split(a, b)) => open.extend([b, a]),
                Some(Step::Begin) if at == 0 => open.push(place + 1),
                Some(Step::End) if at == length => open.push(place + 1),
                _ => {}
            }
        }
        false
    }
}

/// A list of steps, each once.
#[derive(Debug)]
struct Places {
    list: Vec<usize>,
    there: Vec<bool>,
}

impl Places {
    fn new(steps: usize) -> Places {
        Places { list: Vec::new(), there: vec![false; steps] }
    }

    fn add(&mut self, place: usize) -> bool {
        match self.there.get_mut(place) {
            Some(there) if !*there => {
                *there = true;
                self.list.push(place);
                true
            }
            _ => false,
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.there.fill(false);
    }
}

/// Steps that are being written.
#[derive(Debug, Default)]
struct Program {
    steps: Vec<Step>,
    /// How many nodes were written; those without steps count as well, or counts of nothing would never end.
    nodes: usize,
}

impl Program {
    /// Appends the steps of a node. `None` when they would be too many.
    fn emit(&mut self, node: &Node) -> Option<()> {
        self.nodes += 1;
        if self.steps.len().max(self.nodes) > MOST_STEPS {
            return None;
        }
        match node {
            Node::Set(set) => self.steps.push(Step::One(Box::new(set.clone()))),
            Node::Begin => self.steps.push(Step::Begin),
            Node::End => self.steps.push(Step::End),
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.emit(node))?,
            Node::Either(nodes) => {
                let mut jumps = Vec::new();
                for (at, node) in nodes.iter().enumerate() {
                    if at + 1 == nodes.len() {
                        self.emit(node)?;
                        continue;
                    }
                    let split = self.hole();
                    self.emit(node)?;
                    jumps.push(self.hole());
                    self.fill(split, Step::Split(split + 1, self.steps.len()));
                }
                let end = self.steps.len();
                jumps.into_iter().for_each(|jump| self.fill(jump, Step::Jump(end)));
            }
            Node::Repeat(node, least, most) => {
                for _ in 0..*least {
                    self.emit(node)?;
                }
                match most {
                    None => {
                        let split = self.hole();
                        self.emit(node)?;
                        self.steps.push(Step::Jump(split));
                        self.fill(split, Step::Split(split + 1, self.steps.len()));
                    }
                    Some(most) => {
                        let mut splits = Vec::new();
                        for _ in *least..*most {
                            splits.push(self.hole());
                            self.emit(node)?;
                        }
                        let end = self.steps.len();
                        splits.into_iter().for_each(|split| self.fill(split, Step::Split(split + 1, end)));
                    }
                }
            }
        }
        Some(())
    }

    /// Appends a step that is filled in later.
    fn hole(&mut self) -> usize {
        self.steps.push(Step::Jump(0));
        self.steps.len() - 1
    }

    fn fill(&mut self, at: usize, step: Step) {
        if let Some(place) = self.steps.get_mut(at) {
            *place = step;
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: u32,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn accept(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.take();
        }
        there
    }

    fn alternatives(&mut self) -> Option<Node> {
        let mut nodes = vec![self.sequence()?];
        while self.accept(b'|') {
            nodes.push(self.sequence()?);
        }
        Some(Node::Either(nodes))
    }

    fn sequence(&mut self) -> Option<Node> {
        let mut nodes = Vec::new();
        while let Some(byte) = self.peek() {
            if byte == b'|' || (byte == b')' && self.depth > 0) {
                break;
            }
            let node = self.atom()?;
            nodes.push(self.repeated(node)?);
        }
        Some(Node::Sequence(nodes))
    }

    fn atom(&mut self) -> Option<Node> {
        Some(match self.take()? {
            b'(' => {
                self.depth += 1;
                if self.depth > MOST_DEPTH {
                    return None;
                }
                let inside = self.alternatives()?;
                self.depth -= 1;
                if !self.accept(b')') {
                    return None;
                }
                inside
            }
            // Nothing is there to be repeated.
            b'*' | b'+' | b'?' | b'{' => return None,
            b'^' => Node::Begin,
            b'$' => Node::End,
            b'.' => Node::Set(Set { ranges: vec![(0, 0)], negated: true }),
            b'[' => Node::Set(self.bracket()?),
            b'\\' => match self.take()? {
                // Words, classes and references are not of POSIX.
                byte if byte.is_ascii_alphanumeric() || matches!(byte, b'<' | b'>' | b'`' | b'\'') => return None,
                byte => Node::Set(Set::byte(byte)),
            },
            byte => Node::Set(Set::byte(byte)),
        })
    }

    fn repeated(&mut self, mut node: Node) -> Option<Node> {
        loop {
            let (least, most) = match self.peek() {
                Some(b'*') => (0, None),
                Some(b'+') => (1, None),
                Some(b'?') => (0, Some(1)),
                Some(b'{') => {
                    self.take();
                    let (least, most) = self.counts()?;
                    node = Node::Repeat(Box::new(node), least, most);
                    continue;
                }
                _ => return Some(node),
            };
            self.take();
            node = match node {
                // Nested stars are one; without this, steps would grow with every further one.
                Node::Repeat(inner, 0, None) if least == 0 => Node::Repeat(inner, 0, None),
                node => Node::Repeat(Box::new(node), least, most),
            };
        }
    }

    /// What is behind `{`: `2}`, `2,}`, `2,3}` or `,3}`.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        let least = self.number()?;
        let (least, most) = if self.accept(b',') { (least.unwrap_or(0), self.number()?) } else { (least?, least) };
        let ordered = most.is_none_or(|most| least <= most && most <= MOST_REPEATS) && least <= MOST_REPEATS;
        (self.accept(b'}') && ordered).then_some((least, most))
    }

    /// A number, if there is one; `None` when it is too large.
    fn number(&mut self) -> Option<Option<u32>> {
        let mut number = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            self.take();
            let more = number.unwrap_or(0_u32).checked_mul(10)?.checked_add(u32::from(digit - b'0'))?;
            number = Some(more);
        }
        Some(number)
    }

    /// What is behind `[`.
    fn bracket(&mut self) -> Option<Set> {
        let mut found = Set { ranges: Vec::new(), negated: self.accept(b'^') };
        let mut first = true;
        loop {
            match *self.rest {
                [] => return None,
                [b']', ..] if !first => {
                    self.take();
                    return Some(found);
                }
                [b'[', b':', ref rest @ ..] => {
                    let end = rest.windows(2).position(|two| two == b":]")?;
                    found.ranges.extend(class(rest.get(..end)?)?.iter().map(|range| (*range.start(), *range.end())));
                    self.rest = rest.get(end + 2..)?;
                }
                // A dash in the middle makes ranges and nothing else, as the C library of Linux has it.
                [b'-', next, ..] if !first && next != b']' => return None,
                _ => {
                    let low = self.element()?;
                    match *self.rest {
                        [b'-', next, ..] if next != b']' => {
                            self.take();
                            let high = self.element()?;
                            if low > high {
                                return None;
                            }
                            found.ranges.push((low, high));
                        }
                        _ => found.ranges.push((low, low)),
                    }
                }
            }
            first = false;
        }
    }

    /// One byte in a bracket, also as `[.x.]` or `[=x=]`.
    fn element(&mut self) -> Option<u8> {
        let (byte, length) = match *self.rest {
            [b'[', b'.', byte, b'.', b']', ..] | [b'[', b'=', byte, b'=', b']', ..] => (byte, 5),
            [b'[', b'.' | b'=', ..] => return None,
            [byte, ..] => (byte, 1),
            [] => return None,
        };
        self.rest = self.rest.get(length..)?;
        Some(byte)
    }
}

/// The bytes of a class, in the C locale.
fn class(name: &[u8]) -> Option<&'static [RangeInclusive<u8>]> {
    Some(match name {
        b"alnum" => &[b'0'..=b'9', b'A'..=b'Z', b'a'..=b'z'],
        b"alpha" => &[b'A'..=b'Z', b'a'..=b'z'],
        b"blank" => &[b' '..=b' ', b'\t'..=b'\t'],
        b"cntrl" => &[0..=0x1f, 0x7f..=0x7f],
        b"digit" => &[b'0'..=b'9'],
        b"graph" => &[0x21..=0x7e],
        b"lower" => &[b'a'..=b'z'],
        b"print" => &[0x20..=0x7e],
        b"punct" => &[0x21..=0x2f, 0x3a..=0x40, 0x5b..=0x60, 0x7b..=0x7e],
        b"space" => &[0x09..=0x0d, b' '..=b' '],
        b"upper" => &[b'A'..=b'Z'],
        b"xdigit" => &[b'0'..=b'9', b'A'..=b'F', b'a'..=b'f'],
        _ => return None,
    })
}
