use ferrmod_plan::graph::{LoadState, Loaded, LoadedModule};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Action, Effect, Mode};
use super::source::{Detail, Parameter, Row, Snapshot};
use super::*;

fn row(name: &str, size: u64, references: i64, holders: &[&str], taints: &str) -> Row {
    let loaded = Loaded {
        size,
        references: Some(references),
        holders: holders.iter().map(ToString::to_string).collect(),
        ..Loaded::default()
    };
    let stays = loaded.stays();
    Row { module: LoadedModule { name: name.to_owned(), taints: taints.to_owned(), loaded }, stays, owned: None }
}

fn snapshot() -> Snapshot {
    let modules = vec![
        row("ext4", 983_040, 1, &[], ""),
        row("jbd2", 167_936, 1, &["ext4"], ""),
        row("nvidia", 56_000_000, 0, &[], "POE"),
        row("mbcache", 16_384, 1, &["ext4"], ""),
    ];
    Snapshot { kernel: "6.1.0-56-amd64".to_owned(), modules }
}

fn model() -> Model {
    let mut model = Model::new(Column::Size, String::new(), None);
    model.fit(20);
    model.update(snapshot());
    model
}

fn press(model: &mut Model, code: KeyCode) -> Effect {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn types(model: &mut Model, text: &str) {
    text.chars().for_each(|character| assert_eq!(press(model, KeyCode::Char(character)), Effect::None));
}

fn names(model: &Model) -> Vec<&str> {
    model.listed().iter().map(|row| row.module.name.as_str()).collect()
}

/// The screen as text, without spaces at the ends of lines.
fn screen(model: &mut Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    model.fit(view::rows(ratatui::layout::Rect::new(0, 0, width, height), model.with_detail));
    terminal.draw(|frame| view::draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|line| {
        let text: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

#[test]
fn the_table_is_drawn() {
    let wanted = " 6.1.0-56-amd64  4 modules, 55M, 1 with taints, 1 can be removed
MODULE                         SIZE▼ REFS HOLD TAINTS STATE     USED BY
nvidia                          53M     0    0 POE    live
ext4                           960K     1    0        live
jbd2                           164K     1    1        live      ext4
mbcache                         16K     1    1        live      ext4

 Enter detail  / filter  < > sort  r reverse  l load  u unload  e explain  ? keys  q leave
";
    assert_eq!(screen(&mut model(), 100, 8), wanted);
}

#[test]
fn the_detail_says_why_a_module_stays_and_what_can_be_changed() {
    let mut model = model();
    press(&mut model, KeyCode::Down);
    assert_eq!(press(&mut model, KeyCode::Enter), Effect::Refresh);
    let parameter = |name: &str, value: Option<&str>, writable| Parameter {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        writable,
    };
    model.detail = Some(Detail {
        name: "ext4".to_owned(),
        parameters: vec![parameter("debug", Some("N"), true), parameter("secret", None, false)],
        log: vec!["[    1.000000] ext4: \u{1b}[2Jhello".to_owned()],
        ..Detail::default()
    });
    let wanted = " 6.1.0-56-amd64  4 modules, 55M, 1 with taints, 1 can be removed
MODULE                         SIZE▼ REFS HOLD TAINTS STATE     USED
nvidia                          53M     0    0 POE    live
ext4                           960K     1    0        live
jbd2                           164K     1    1        live      ext4
mbcache                         16K     1    1        live      ext4





┌ ext4 ────────────────────────────────────────────────────────────┐
│can it be removed? no: used once outside of modules               │
│parameters (* can be changed now)                                 │
│ * debug = N                                                      │
│   secret = (may not be read)                                     │
│log                                                               │
│   [    1.000000] ext4: �[2Jhello                                 │
└──────────────────────────────────────────────────────────────────┘
 Enter detail  / filter  < > sort  r reverse  l load  u unload  e ex
";
    assert_eq!(screen(&mut model, 68, 20), wanted);
    // Of another module's detail nothing is shown.
    press(&mut model, KeyCode::Down);
    assert!(!screen(&mut model, 68, 20).contains("debug"));
}

#[test]
fn a_question_is_asked_over_the_table_and_answered() {
    let mut model = model();
    assert_eq!(
        (model.held_only_by("ext4"), model.held_only_by("jbd2").len()),
        (vec!["jbd2".into(), "mbcache".into()], 0)
    );
    assert_eq!(press(&mut model, KeyCode::Char('u')), Effect::Try(Action::Unload("nvidia".to_owned())));
    model.show(
        "unload nvidia?".to_owned(),
        vec!["modprobe would do this:".to_owned(), "rmmod nvidia".to_owned()],
        Some(Action::Unload("nvidia".to_owned())),
    );
    let wanted = " 6.1.0-56-amd64  4 modules, 55M, 1 with taints, 1 can be rem
MODULE                         SIZE▼ REFS HOLD TAINTS STATE
nvidia    ┌ unload nvidia? ──────────────────────┐    live …
ext4      │modprobe would do this:               │    live …
jbd2      │rmmod nvidia                          │    live …
mbcache   └────────────────── y do it   n do not ┘    live …

 Enter detail  / filter  < > sort  r reverse  l load  u unlo
";
    assert_eq!(screen(&mut model, 60, 8), wanted);
    let mut other = Model { mode: model.mode.clone(), ..Model::default() };
    assert_eq!(press(&mut other, KeyCode::Char('n')), Effect::None);
    assert_eq!(other.mode, Mode::List);
    // Enter is no answer to a question: it may have been meant for something before.
    assert_eq!(press(&mut model, KeyCode::Enter), Effect::None);
    assert_eq!(press(&mut model, KeyCode::Char('y')), Effect::Do(Action::Unload("nvidia".to_owned())));
}

#[test]
fn every_size_of_screen_can_be_drawn() {
    let mut model = model();
    press(&mut model, KeyCode::Enter);
    model.show("keys".to_owned(), vec!["x".repeat(300); 50], Some(Action::Unload("ext4".to_owned())));
    for width in [1, 2, 3, 5, 20, 200] {
        for height in [1, 2, 3, 4, 12, 60] {
            screen(&mut model, width, height);
        }
    }
}

#[test]
fn columns_sort_and_the_filter_filters() {
    let mut model = model();
    assert_eq!(names(&model), ["nvidia", "ext4", "jbd2", "mbcache"]);
    press(&mut model, KeyCode::Char('r'));
    assert_eq!(names(&model), ["mbcache", "jbd2", "ext4", "nvidia"]);
    press(&mut model, KeyCode::Char('<'));
    assert_eq!((model.sort, names(&model)[0]), (Column::Name, "ext4"));
    for _ in 0..4 {
        press(&mut model, KeyCode::Char('>'));
    }
    assert_eq!((model.sort, names(&model)[0]), (Column::Taints, "nvidia"));
    types(&mut model, "/b-");
    assert_eq!(names(&model), [""; 0]);
    press(&mut model, KeyCode::Backspace);
    assert_eq!(names(&model), ["jbd2", "mbcache"]);
    // While the filter is typed, letters are no commands.
    types(&mut model, "q");
    press(&mut model, KeyCode::Esc);
    assert_eq!(names(&model).len(), 4);
    types(&mut model, "/POE");
    press(&mut model, KeyCode::Enter);
    assert_eq!((names(&model), &model.mode), (vec!["nvidia"], &Mode::List));
}

#[test]
fn the_cursor_stays_at_its_module_and_in_sight() {
    let mut model = model();
    model.fit(2);
    press(&mut model, KeyCode::End);
    assert_eq!((model.selected.as_deref(), model.offset), (Some("mbcache"), 2));
    let mut grown = snapshot();
    grown.modules.insert(0, row("huge", 99_000_000, 0, &[], ""));
    model.update(grown.clone());
    assert_eq!((model.selected.as_deref(), model.offset), (Some("mbcache"), 3));
    grown.modules.retain(|row| row.module.name != "mbcache");
    model.update(grown);
    assert_eq!(model.selected.as_deref(), Some("jbd2"));
    press(&mut model, KeyCode::Home);
    assert_eq!((model.selected.as_deref(), model.offset), (Some("huge"), 0));
    model.update(Snapshot::default());
    assert_eq!(press(&mut model, KeyCode::Down), Effect::None);
    assert_eq!(press(&mut model, KeyCode::Char('u')), Effect::None);
    assert!(screen(&mut model, 60, 6).contains("no module is loaded"));
}

#[test]
fn a_name_is_typed_and_tried_before_it_is_done() {
    let mut model = model();
    press(&mut model, KeyCode::Char('l'));
    types(&mut model, "dummy numdummies=x");
    press(&mut model, KeyCode::Backspace);
    types(&mut model, "2");
    let action = Action::Load(vec!["dummy".to_owned(), "numdummies=2".to_owned()]);
    assert_eq!(press(&mut model, KeyCode::Enter), Effect::Try(action.clone()));
    let words = |pretend| act::words(&action, pretend).join(" ".as_ref()).into_string().unwrap();
    assert_eq!(words(true), "modprobe --verbose --dry-run -- dummy numdummies=2");
    assert_eq!(words(false), "modprobe --verbose -- dummy numdummies=2");
    // An option cannot be smuggled in as a name.
    let unload = act::words(&Action::Unload("-a".to_owned()), true);
    assert_eq!(unload.join(" ".as_ref()), "modprobe --verbose --dry-run --remove -- -a");
}

#[test]
fn what_was_kept_of_a_system_is_not_changed() {
    let mut model = Model::new(Column::Name, String::new(), Some("it is a recording"));
    model.update(snapshot());
    for key in [KeyCode::Char('l'), KeyCode::Char('u'), KeyCode::Delete] {
        assert_eq!((press(&mut model, key), &model.mode), (Effect::None, &Mode::List));
        assert_eq!(model.message, "it is a recording");
    }
    assert_eq!(press(&mut model, KeyCode::Char('e')), Effect::Explain("ext4".to_owned()));
}

#[test]
fn control_c_leaves_from_everywhere() {
    let leave = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for mode in [Mode::List, Mode::Filter, Mode::Load("x".to_owned()), Mode::Waiting(String::new())] {
        assert_eq!(Model { mode, ..model() }.key(leave), Effect::Quit);
    }
}

#[test]
fn sizes_are_short_and_states_have_words() {
    let all = [0, 9_999, 16_384, 1_023_000, 1_048_576, 3_059_712, u64::MAX].map(view::bytes);
    assert_eq!(all, ["0", "9999", "16K", "999K", "1.0M", "2.9M", "16E"]);
    assert_eq!(view::state(LoadState::Unloading), "unloading");
}

#[test]
fn a_kept_system_is_read_whole() {
    use std::fs;
    let root = std::env::temp_dir().join(format!("ferrmod-top-{}", std::process::id()));
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/modules", "loop 40960 1 - Live 0x0\ndummy 16384 0 - Live 0x0 (OE)\n");
    write("proc/sys/kernel/osrelease", "6.1.0-test\n");
    write("sys/module/loop/parameters/max_loop", "8\n");
    write("dev/kmsg", "6,1,1500000,-;loop: module loaded\n6,2,2000000,-;loopback is another word\n");
    let mut source = System::new(Some(root.clone()));
    let mut model = Model::new(Column::Name, "loop".to_owned(), source.cannot_act());
    model.update(source.read().unwrap());
    let document: serde_json::Value = serde_json::from_str(&plain::json(&model, &mut source).unwrap()).unwrap();
    assert_eq!((&document["schema"], &document["kernel"]), (&"ferrmod.top/1".into(), &"6.1.0-test".into()));
    let module = &document["modules"][0];
    assert_eq!(document["modules"].as_array().unwrap().len(), 1);
    assert_eq!(module["stays"], serde_json::json!([{"reason": "used-elsewhere", "uses": 1}]));
    assert_eq!(module["log"], serde_json::json!(["[    1.500000] loop: module loaded"]));
    assert_eq!(module["parameters"], serde_json::json!([{"name": "max_loop", "value": "8", "writable": true}]));
    let table = anstream::adapter::strip_str(&plain::table(&model)).to_string();
    assert_eq!(table.lines().count(), 2);
    fs::remove_dir_all(root).unwrap();
}
