//! `answer.ko`: exports a function to other modules, and takes parameters.
#![cfg_attr(not(test), no_std)]

use ferrmod_sdk::{Error, Module, Result, export, pr_info};

ferrmod_sdk::module! {
    type: Answer,
    name: "answer",
    version: "1.0",
    license: "Dual MIT/GPL",
    author: "The Ferrmod authors",
    description: "Knows the answer, and exports it",
    params: {
        answer: u32 = 42, 0o644, "The answer to every question";
        modest: bool = false, 0o444, "Load without a word";
    },
}

struct Answer;

impl Module for Answer {
    fn init() -> Result<Self> {
        let answer = params::answer.get();
        if answer == 0 {
            // Whoever loads the module is told: 0 is no answer.
            return Err(Error::EINVAL);
        }
        if !params::modest.get() {
            pr_info!("the answer is {answer}");
        }
        Ok(Answer)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !params::modest.get() {
            pr_info!("no more answers");
        }
    }
}

export! {
    /// The answer to a question, which is made of its letters and the answer to everything.
    pub fn answer_to(letters: u32) -> u32 {
        letters.wrapping_mul(params::answer.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_follows_the_parameter() {
        assert_eq!(answer_to(2), 84);
        assert!(Answer::init().is_ok());
        params::answer.set(0);
        assert_eq!(Answer::init().err(), Some(Error::EINVAL));
        params::answer.set(42);
    }
}
