//! `question.ko`: calls a function that `answer.ko` exports, so `answer` is loaded first and stays while this is loaded.
#![cfg_attr(not(test), no_std)]

use ferrmod_sdk::{Module, Result, Text, pr_info};

ferrmod_sdk::module! {
    type: Question,
    name: "question",
    version: "1.0",
    license: "Dual MIT/GPL",
    author: "The Ferrmod authors",
    description: "Asks module answer",
    params: {
        question: ferrmod_sdk::Text = ferrmod_sdk::Text::new("why"), 0o444, "What to ask";
    },
}

ferrmod_sdk::import! {
    from "answer":
    /// The answer to a question of so many letters.
    fn answer_to(letters: u32) -> u32;
}

struct Question;

fn ask(question: Text) -> u32 {
    answer_to(question.chars().count() as u32)
}

impl Module for Question {
    fn init() -> Result<Self> {
        let question = params::question.get();
        pr_info!("{question}? {}", ask(question));
        Ok(Question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands in for module `answer`.
    #[unsafe(no_mangle)]
    extern "C" fn answer_to(letters: u32) -> u32 {
        letters * 10
    }

    #[test]
    fn a_question_is_its_letters() {
        assert_eq!(ask(Text::new("why")), 30);
        assert!(Question::init().is_ok());
        assert!(ferrmod_sdk::host::log().contains(&(6, "question: why? 30".into())));
    }
}
