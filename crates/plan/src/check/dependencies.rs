//! What has to come before a module, and whether it can.

use std::collections::HashMap;

use bstr::{BStr, ByteSlice};
use ferrmod_image::Image;
use ferrmod_index::normalise;

use super::Checker;
use super::candidate::Candidate;
use super::scene::{Place, Scene};
use super::signature::Signed;
use super::verdict::{DependencyProblem, Reason};

/// What was found out about the modules before one.
#[derive(Default)]
pub(super) struct Before {
    /// Their names, in the order in which they load.
    pub(super) order: Vec<String>,
    /// Why some of them do not.
    pub(super) reasons: Vec<Reason>,
}

/// How far the look at a module is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Loads,
    Stopped,
}

/// A module whose needs are being looked at.
struct Frame {
    /// `None` for the module that is judged.
    place: Option<Place>,
    name: String,
    needs: Vec<String>,
    next: usize,
    stopped: bool,
}

impl Checker<'_> {
    /// Looks at everything that `image` needs; those that cannot be loaded become `stopped` in the scene.
    pub(super) fn before(&self, image: &Image<'_>, scene: &mut Scene<'_>) -> Before {
        let mut before = Before::default();
        let mut states: HashMap<Place, State> = HashMap::new();
        let root = Frame {
            place: None,
            name: scene.own_name.clone(),
            needs: self.needs_of(image, scene),
            next: 0,
            stopped: false,
        };
        let mut stack = vec![root];
        while let Some(frame) = stack.last_mut() {
            let Some(need) = frame.needs.get(frame.next).cloned() else {
                let Some(done) = stack.pop() else { break };
                if let Some(place) = done.place {
                    self.close(place, done, scene, &mut states, &mut before);
                    if states.get(&place) == Some(&State::Stopped)
                        && let Some(parent) = stack.last_mut()
                    {
                        parent.stopped = true;
                    }
                }
                continue;
            };
            frame.next += 1;
            if need == scene.own_name {
                // Back to where it began.
                let members = stack.iter().map(|frame| frame.name.clone()).collect();
                self.cycle(members, &mut stack, &mut before);
                continue;
            }
            if self.loaded.contains(&need) {
                continue;
            }
            match scene.module(&need) {
                Some(place) => match states.get(&place) {
                    Some(State::Loads) => {}
                    Some(State::Stopped) => frame_stopped(&mut stack),
                    Some(State::Open) => {
                        let from = stack.iter().position(|frame| frame.place == Some(place)).unwrap_or(0);
                        let members = stack.iter().skip(from).map(|frame| frame.name.clone()).collect();
                        self.cycle(members, &mut stack, &mut before);
                    }
                    None => {
                        states.insert(place, State::Open);
                        let needs = self.needs_of_place(place, scene);
                        stack.push(Frame { place: Some(place), name: need, needs, next: 0, stopped: false });
                    }
                },
                None if self.kernel.built_in(&need).is_some() => {}
                // Without a tree nothing is known about it.
                None if self.kernel.offers().is_none() => {}
                None => {
                    let elsewhere = self
                        .others()
                        .filter(|other| other.offers().is_some_and(|offers| offers.find_module(&need).is_some()));
                    let problem = DependencyProblem::Missing {
                        elsewhere: elsewhere.map(|other| other.release.clone()).collect(),
                        nearest: self.nearest_modules(&need),
                    };
                    push(&mut before.reasons, Reason::Dependency { module: need, problem });
                    frame_stopped(&mut stack);
                }
            }
        }
        before
    }

    /// All that a module needs was looked at: now the module itself is.
    fn close(
        &self,
        place: Place,
        done: Frame,
        scene: &mut Scene<'_>,
        states: &mut HashMap<Place, State>,
        before: &mut Before,
    ) {
        let problem = if done.stopped { None } else { self.judge_dependency(place) };
        if done.stopped || problem.is_some() {
            states.insert(place, State::Stopped);
            scene.stopped.insert(place);
            if let Some(problem) = problem {
                push(&mut before.reasons, Reason::Dependency { module: done.name, problem });
            }
        } else {
            states.insert(place, State::Loads);
            scene.present.insert(place);
            before.order.push(done.name);
        }
    }

    fn cycle(&self, members: Vec<String>, stack: &mut [Frame], before: &mut Before) {
        let module = members.get(1).or_else(|| members.first()).cloned().unwrap_or_default();
        push(&mut before.reasons, Reason::Dependency { module, problem: DependencyProblem::Cycle { members } });
        // Everything on the way needs what cannot come first; the module that is judged says so by its symbols.
        for frame in stack.iter_mut().filter(|frame| frame.place.is_some()) {
            frame.stopped = true;
        }
    }

    /// The modules that `image` needs: those it names, and those whose symbols it uses.
    fn needs_of(&self, image: &Image<'_>, scene: &Scene<'_>) -> Vec<String> {
        let mut needs: Vec<String> = image.depends().map(|name| normalise(&name.to_str_lossy()).into_owned()).collect();
        add_exporters(scene, image.imports().map(|import| import.name), &mut needs);
        needs
    }

    /// The same for one that may come before.
    fn needs_of_place(&self, place: Place, scene: &Scene<'_>) -> Vec<String> {
        match place {
            Place::Tree(number) => {
                let depends =
                    self.kernel.offers().and_then(|offers| offers.module(number)).map(|module| module.depends);
                depends.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
            }
            Place::Given(index) => {
                let Some(given) = scene.together.modules.get(index) else {
                    return Vec::new();
                };
                let mut needs = given.depends.clone();
                let imports = given.imports.iter().map(BStr::new);
                // What it imports from the module that is judged is a need, too.
                if given.imports.iter().any(|name| {
                    scene.own_exports.contains(name.as_bytes()) && self.kernel.export(BStr::new(name)).is_none()
                }) {
                    needs.push(scene.own_name.clone());
                }
                add_exporters(scene, imports, &mut needs);
                needs.retain(|need| *need != given.name);
                needs
            }
        }
    }

    /// Why a module that has to come before does not load, by itself. One of the kernel's own modules as the kernel was built is not
    /// opened: whether it may be loaded is all that can be against it.
    fn judge_dependency(&self, place: Place) -> Option<DependencyProblem> {
        let refused = |reasons: Vec<Reason>| (!reasons.is_empty()).then_some(DependencyProblem::Refused { reasons });
        match place {
            Place::Given(index) => {
                let given = self.together.modules.get(index)?;
                refused(self.judge(&given.candidate, false).reasons)
            }
            Place::Tree(number) => {
                let module = self.kernel.offers()?.module(number)?;
                let own = module.in_tree && module.vermagic == Some(BStr::new(&self.kernel.vermagic));
                if own && !module.unreadable {
                    let name = if module.stated.is_empty() { BStr::new(module.name) } else { module.stated };
                    let signed = if module.signed { Signed::Unverified } else { Signed::Unsigned };
                    return refused(self.by_policy(&name.to_str_lossy(), &signed));
                }
                match self.kernel.read(number) {
                    Ok(Some((path, bytes))) => refused(self.judge(&Candidate::new(&path, &bytes), false).reasons),
                    Ok(None) => None,
                    Err(error) => Some(DependencyProblem::Unreadable { text: error.problem.to_string() }),
                }
            }
        }
    }
}

/// The module whose needs are being looked at needs one that is stopped. The one that is judged goes on: its symbols tell.
fn frame_stopped(stack: &mut [Frame]) {
    if let Some(frame) = stack.last_mut().filter(|frame| frame.place.is_some()) {
        frame.stopped = true;
    }
}

/// Adds a reason that is not there yet.
fn push(reasons: &mut Vec<Reason>, reason: Reason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}

/// Adds the modules that export one of `imports` and that the kernel does not export itself.
fn add_exporters<'n>(scene: &Scene<'_>, imports: impl Iterator<Item = &'n BStr>, needs: &mut Vec<String>) {
    for import in imports {
        if scene.kernel.export(import).is_some() {
            continue;
        }
        let mut names =
            scene.modules_exporting(import).filter_map(|offered| offered.place).map(|place| scene.name(place));
        let Some(first) = names.next() else { continue };
        if needs.iter().any(|need| need == first) || names.any(|other| needs.iter().any(|need| need == other)) {
            continue;
        }
        needs.push(first.to_owned());
    }
}
