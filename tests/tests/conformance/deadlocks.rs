//! Two tasks that wait for each other are found when the second one begins to wait, and both are shown.

use std::time::Duration;

use ferrmod_machine::LoadOutcome;

use crate::stage::Stage;

/// What the log says, from the other task's stack on.
fn embraced(arguments: &str, lock: &str, other: &str) {
    let Some(mut stage) = Stage::open_with(|options| options.watchdog = Duration::from_millis(500)) else { return };
    assert_eq!(stage.load("embrace", arguments), LoadOutcome::Oopsed, "{}", stage.text());
    let said = stage.text();
    let mut rest = &*said;
    let deadlock = format!("BUG: deadlock: the holder of the {lock} waits for this task");
    for part in ["INFO: task embrace:", other, &deadlock, "embrace_init+"] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not said (in this place): {said}"));
        rest = &rest[at + part.len()..];
    }
    let oopses = stage.machine.report().unwrap().oopses;
    assert_eq!(oopses.len(), 2, "{oopses:?}");
    assert!(oopses[0].contains(&format!(" at{other}")) && oopses[1].contains(" at embrace_init+"), "{oopses:?}");
}

#[test]
fn mutexes_in_a_circle() {
    embraced("", "mutex", " embrace_mutexes+");
}

#[test]
fn semaphores_in_a_circle() {
    embraced("semaphores=1", "semaphore", " embrace_semaphores+");
}

#[test]
fn a_mutex_and_that_of_the_network_in_a_circle() {
    embraced("network=1", "mutex", " embrace_network+");
}

#[test]
fn the_mutex_of_the_network_is_not_taken_twice() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(stage.load("embrace", "twice=1"), LoadOutcome::Oopsed, "{}", stage.text());
    let said = stage.text();
    assert!(said.contains("BUG: deadlock: the holder of the mutex of the network waits for this task"), "{said}");
}

#[test]
fn waiting_for_a_task_that_goes_on_is_none() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(stage.load("embrace", "alone=1"), LoadOutcome::Loaded, "{}", stage.text());
    assert!(!stage.text().contains("deadlock"), "{}", stage.text());
}
