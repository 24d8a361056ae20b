//! Plans and refusals, for made modules and for all of a real tree.

#[path = "../../../image/tests/module/made.rs"]
#[expect(dead_code, reason = "plans look at .modinfo only, and not at tables or broken headers")]
mod made;

mod corpus;
mod made_trees;
mod scratch;
