//! The ASN.1 decoder: runs the byte code that Linux's ASN.1 compiler makes of a grammar over BER data.
//!
//! The opcodes are those of `asn1_ber_bytecode.h`. Data that does not follow the grammar is `EBADMSG`; an action may refuse
//! with any error of its own.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;

use super::code;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod asn1_decoder = "asn1_decoder" { machine, machlen, actions }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c asn1_ber_decoder];

/// Bits of the opcodes that look at a tag.
const OR_SKIP: u8 = 0x01;
const WITH_ACTION: u8 = 0x02;
const WITH_JUMP: u8 = 0x04;
const ANY_TAG: u8 = 0x08;
const CONDITIONAL: u8 = 0x10;
/// The last of them, and the others.
const LAST_MATCH: u8 = 0x1b;
const COND_FAIL: u8 = 0x1c;
const COMPLETE: u8 = 0x1d;
const ACT: u8 = 0x1e;
const MAYBE_ACT: u8 = 0x1f;
const END_FIRST: u8 = 0x20;
const END_LAST: u8 = 0x27;
const RETURN: u8 = 0x28;
/// Bits of the opcodes that end a constructed value.
const END_SET: u8 = 0x01;
const END_OF: u8 = 0x02;
const END_ACTION: u8 = 0x04;
/// X.690, 8.1.2.5: the value is constructed.
const CONSTRUCTED: u8 = 0x20;
/// How deep values and jumps may nest.
const DEEPEST: usize = 10;
/// The longest input.
const LONGEST: usize = 65_535;

/// A constructed value that is being read.
struct Open {
    /// Where its contents start.
    start: usize,
    /// Bytes of its tag and length.
    header: usize,
    /// Where what it lies in ends; `None` when it is itself of indefinite length, so that the end stays as it is.
    outer_end: Option<usize>,
}

struct Machine<'a> {
    program: &'a [u8],
    data: &'a [u8],
    at: usize,
    end: usize,
    open: Vec<Open>,
    jumps: Vec<usize>,
    /// One of a choice has been found; the last optional value was there.
    matched: bool,
    last_matched: bool,
    /// What an action without a value of its own gets: that of the last one.
    header: usize,
    tag: u8,
    start: usize,
    length: usize,
}

/// `int asn1_ber_decoder(const struct asn1_decoder *, void *context, const unsigned char *data, size_t datalen)`
extern "C" fn asn1_ber_decoder(decoder: u64, context: u64, data: u64, length: u64) -> i32 {
    if length as usize > LONGEST {
        return Errno::EMSGSIZE.to_return();
    }
    // SAFETY: the module's decoder and data. The actions are of the compiler's making, one for each index it uses.
    unsafe {
        let program = ram::bytes(asn1_decoder::machine.get(decoder), asn1_decoder::machlen.get(decoder));
        let actions: u64 = asn1_decoder::actions.get(decoder);
        let act = |index: u8, header: usize, tag: u8, start: usize, length: usize| {
            let action: u64 = ram::get(actions + 8 * u64::from(index));
            let answer =
                super::ask(action, [context, header as u64, u64::from(tag), data + start as u64, length as u64]);
            Errno::result(answer)
        };
        code(run(program, ram::bytes(data, length), act))
    }
}

/// Runs a program over data; `act` gets the action's number, the length of tag and length, the tag, and the value's place.
fn run(
    program: &[u8],
    data: &[u8],
    mut act: impl FnMut(u8, usize, u8, usize, usize) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut machine = Machine {
        program,
        data,
        at: 0,
        end: data.len(),
        open: Vec::new(),
        jumps: Vec::new(),
        matched: false,
        last_matched: false,
        header: 0,
        tag: 0,
        start: 0,
        length: 0,
    };
    let mut counter = 0;
    loop {
        match machine.step(counter, &mut act)? {
            Some(next) => counter = next,
            None => return Ok(()),
        }
    }
}

impl Machine<'_> {
    fn operand(&self, at: usize) -> Result<u8, Errno> {
        self.program.get(at).copied().ok_or(Errno::EBADMSG)
    }

    fn byte(&mut self) -> Result<u8, Errno> {
        if self.at >= self.end {
            return Err(Errno::EBADMSG);
        }
        let byte = *self.data.get(self.at).ok_or(Errno::EBADMSG)?;
        self.at += 1;
        Ok(byte)
    }

    /// One operation; where the next is, or `None` at the end of the program.
    fn step(
        &mut self,
        counter: usize,
        act: &mut impl FnMut(u8, usize, u8, usize, usize) -> Result<(), Errno>,
    ) -> Result<Option<usize>, Errno> {
        let operation = self.operand(counter)?;
        match operation {
            0..=LAST_MATCH => self.value(counter, operation, act).map(Some),
            COND_FAIL if !self.matched => Err(Errno::EBADMSG),
            COND_FAIL => Ok(Some(counter + 1)),
            COMPLETE if self.open.is_empty() && self.jumps.is_empty() => Ok(None),
            MAYBE_ACT if !self.last_matched => Ok(Some(counter + 2)),
            ACT | MAYBE_ACT => {
                act(self.operand(counter + 1)?, self.header, self.tag, self.start, self.length)?;
                Ok(Some(counter + 2))
            }
            END_FIRST..=END_LAST => self.close(counter, operation, act).map(Some),
            RETURN => {
                (self.matched, self.last_matched) = (true, true);
                self.jumps.pop().map(Some).ok_or(Errno::EBADMSG)
            }
            _ => Err(Errno::EBADMSG),
        }
    }

    /// An operation that looks at the next tag.
    fn value(
        &mut self,
        counter: usize,
        operation: u8,
        act: &mut impl FnMut(u8, usize, u8, usize, usize) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let any = operation & ANY_TAG != 0;
        let operands = counter + if any { 1 } else { 2 };
        let next = operands + usize::from(operation & (WITH_ACTION | WITH_JUMP) != 0);
        let may_skip = operation & OR_SKIP != 0;
        if (operation & CONDITIONAL != 0 && self.matched) || (may_skip && self.at == self.end) {
            self.last_matched = false;
            return Ok(next);
        }
        (self.matched, self.last_matched) = (false, false);
        let before = self.at;
        let tag = self.byte()?;
        // Tags above 30 are of no grammar that is compiled.
        if tag & 0x1f == 0x1f {
            return Err(Errno::EBADMSG);
        }
        let mut constructed = false;
        if !any {
            let wanted = self.operand(counter + 1)?;
            constructed = wanted & CONSTRUCTED != 0;
            // A primitive type may come in constructed form; a constructed one has no other.
            let differs = if constructed { wanted != tag } else { (wanted ^ tag) & !CONSTRUCTED != 0 };
            if differs {
                if may_skip {
                    self.at = before;
                    return Ok(next);
                }
                return Err(Errno::EBADMSG);
            }
        }
        self.matched = true;
        let length = self.length()?;
        let (header, start) = (self.at - before, self.at);
        if length.is_none() && tag & CONSTRUCTED == 0 {
            return Err(Errno::EBADMSG);
        }
        let size = match length {
            Some(size) => size,
            None if constructed => 0,
            None => self.indefinite(start)?,
        };
        (self.header, self.tag, self.start, self.length) = (header, tag, start, size);
        if constructed {
            if self.open.len() == DEEPEST {
                return Err(Errno::EBADMSG);
            }
            self.open.push(Open { start, header, outer_end: length.map(|_| self.end) });
            if let Some(size) = length {
                self.end = start + size;
            }
        }
        if operation & WITH_ACTION != 0 {
            act(self.operand(operands)?, header, tag, start, size)?;
        }
        if operation & WITH_JUMP != 0 {
            if self.jumps.len() == DEEPEST {
                return Err(Errno::EBADMSG);
            }
            self.jumps.push(next);
            return Ok(usize::from(self.operand(operands)?));
        }
        if !constructed {
            self.at = start + size + if length.is_none() { 2 } else { 0 };
        }
        Ok(next)
    }

    /// X.690, 8.1.3: `None` is the indefinite form. Lengths of more than two bytes are longer than any input.
    fn length(&mut self) -> Result<Option<usize>, Errno> {
        let first = self.byte()?;
        let size = match first {
            0..=0x7f => usize::from(first),
            0x80 => return Ok(None),
            0x81 => usize::from(self.byte()?),
            0x82 => usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])),
            _ => return Err(Errno::EBADMSG),
        };
        if size > self.end - self.at { Err(Errno::EBADMSG) } else { Ok(Some(size)) }
    }

    /// The size of the contents at `start` up to their end marker, which is left aside.
    fn indefinite(&mut self, start: usize) -> Result<usize, Errno> {
        let mut depth = 1;
        self.at = start;
        loop {
            let here = self.at;
            let tag = self.byte()?;
            if tag & 0x1f == 0x1f {
                return Err(Errno::EBADMSG);
            }
            match (tag, self.length()?) {
                (0, Some(0)) => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(here - start);
                    }
                }
                (0, _) => return Err(Errno::EBADMSG),
                (_, Some(size)) => self.at += size,
                (_, None) if tag & CONSTRUCTED == 0 || depth == DEEPEST => return Err(Errno::EBADMSG),
                (_, None) => depth += 1,
            }
        }
    }

    /// An operation that ends a constructed value, or goes back for its next element.
    fn close(
        &mut self,
        counter: usize,
        operation: u8,
        act: &mut impl FnMut(u8, usize, u8, usize, usize) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let repeats = operation & END_OF != 0;
        if operation & END_SET != 0 && !repeats && !self.matched {
            return Err(Errno::EBADMSG);
        }
        let open = self.open.pop().ok_or(Errno::EBADMSG)?;
        let more = match open.outer_end {
            Some(_) => self.at < self.end,
            None => self.data.get(self.at).is_some_and(|&byte| byte != 0) && self.at < self.end,
        };
        if more {
            // Only a sequence or set of many may go on.
            if !repeats {
                return Err(Errno::EBADMSG);
            }
            self.open.push(open);
            return Ok(usize::from(self.operand(counter + 1)?));
        }
        let length = self.at - open.start;
        match open.outer_end {
            Some(_) if self.at != self.end => return Err(Errno::EBADMSG),
            Some(outer) => self.end = outer,
            None if [self.byte()?, self.byte()?] != [0, 0] => return Err(Errno::EBADMSG),
            None => (),
        }
        let operands = counter + 1 + usize::from(repeats);
        if operation & END_ACTION == 0 {
            return Ok(operands);
        }
        act(self.operand(operands)?, open.header, 0, open.start, length)?;
        Ok(operands + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SEQUENCE OF INTEGER`, an action on each integer and one at the end, as the compiler lays it out.
    const PROGRAM: [u8; 9] = [0x00, 0x30, 0x02, 0x02, 0, 0x26, 2, 1, 0x1d];

    fn values(data: &[u8]) -> Result<Vec<(u8, usize, usize)>, Errno> {
        let mut seen = Vec::new();
        run(&PROGRAM, data, |action, _, _, start, length| {
            seen.push((action, start, length));
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn a_sequence_of_integers_is_read() {
        let expected = alloc::vec![(0, 4, 1), (0, 7, 2), (1, 2, 7)];
        assert_eq!(values(&[0x30, 7, 2, 1, 5, 2, 2, 1, 0]), Ok(expected.clone()));
        assert_eq!(values(&[0x30, 0x80, 2, 1, 5, 2, 2, 1, 0, 0, 0]), Ok(expected));
    }

    #[test]
    fn data_that_does_not_follow_is_refused() {
        for wrong in [
            [].as_slice(),
            &[0x30],
            &[0x31, 3, 2, 1, 5],
            &[0x30, 4, 2, 1, 5],
            &[0x30, 3, 4, 1, 5],
            &[0x30, 2, 2, 1],
            &[0x30, 0x80, 2, 1, 5],
            &[0x30, 0x83, 0, 0, 0],
        ] {
            assert_eq!(values(wrong), Err(Errno::EBADMSG), "{wrong:?}");
        }
    }
}
