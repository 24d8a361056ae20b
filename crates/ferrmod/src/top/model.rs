//! What is shown and what keys do, without a terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::source::{Detail, Row, Snapshot};

/// A column of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Column {
    /// The module's name.
    Name,
    /// The memory that it takes.
    #[default]
    Size,
    /// How often it is used.
    References,
    /// How many modules use it.
    Holders,
    /// The letters of its taints.
    Taints,
    /// Where it stands in its life.
    State,
}

impl Column {
    /// In the order of the table.
    pub(super) const ALL: [Column; 6] =
        [Column::Name, Column::Size, Column::References, Column::Holders, Column::Taints, Column::State];

    /// Whether the greatest comes first when nobody says otherwise.
    pub(super) fn descends(self) -> bool {
        !matches!(self, Column::Name)
    }
}

/// Something to do to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Load a module with parameters, as modprobe does.
    Load(Vec<String>),
    /// Unload a module, as `modprobe -r` does.
    Unload(String),
}

/// What a key asks the rest of the program for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// To end.
    Quit,
    /// To look at the kernel again.
    Refresh,
    /// To find out what an action would do.
    Try(Action),
    /// To do it.
    Do(Action),
    /// To explain what there is to know about a module.
    Explain(String),
}

/// What has the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// The table.
    #[default]
    List,
    /// The filter is being typed.
    Filter,
    /// The name of a module to load is being typed.
    Load(String),
    /// Something runs.
    Waiting(String),
    /// A text is shown.
    Text(Text),
}

/// A text over the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// Its title.
    pub(super) title: String,
    /// Its lines.
    pub(super) lines: Vec<String>,
    /// The first line that is shown.
    pub(super) from: usize,
    /// What is done when it is agreed to.
    pub(super) ask: Option<Action>,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// What is loaded.
    pub(super) snapshot: Snapshot,
    /// By which column it is sorted.
    pub(super) sort: Column,
    /// Whether the greatest comes first.
    pub(super) descending: bool,
    /// What is searched for, in names and taints.
    pub(super) filter: String,
    /// What has the keys.
    pub(super) mode: Mode,
    /// The module under the cursor.
    pub(super) selected: Option<String>,
    /// The first row that is shown.
    pub(super) offset: usize,
    /// How many rows there is room for.
    pub(super) rows: usize,
    /// Whether the lower half tells more about the module under the cursor.
    pub(super) with_detail: bool,
    /// That.
    pub(super) detail: Option<Detail>,
    /// The first line of it that is shown.
    pub(super) detail_from: usize,
    /// Something to say in the last line.
    pub(super) message: String,
    /// Why nothing can be loaded and unloaded, if so.
    pub(super) cannot_act: Option<&'static str>,
    /// Whether more can be said about why a module is here.
    pub(super) explains: bool,
}

/// What the keys are, for the last line and for the help.
pub(super) const KEYS: [(&str, &str); 11] = [
    ("↑ ↓ PgUp PgDn Home End", "move"),
    ("< >", "sort by another column"),
    ("r", "the other way around"),
    ("/", "filter by name or taint (Esc: all again)"),
    ("Enter", "more about the module, or less"),
    ("[ ]", "scroll that"),
    ("l", "load a module"),
    ("u", "unload the module"),
    ("e", "explain: why it is here, what blocks and allows it"),
    ("Space", "look again now"),
    ("q", "leave"),
];

impl Model {
    pub(super) fn new(sort: Column, filter: String, cannot_act: Option<&'static str>) -> Model {
        Model { sort, descending: sort.descends(), filter, cannot_act, rows: 1, explains: true, ..Model::default() }
    }

    /// The modules as they are listed: those that the filter lets through, sorted.
    pub(super) fn listed(&self) -> Vec<&Row> {
        let wanted = self.filter.replace('-', "_");
        let mut rows: Vec<&Row> = self
            .snapshot
            .modules
            .iter()
            .filter(|row| {
                row.module.name.contains(&wanted) || (!wanted.is_empty() && row.module.taints.contains(&wanted))
            })
            .collect();
        rows.sort_by(|a, b| {
            let (a, b) = (&a.module, &b.module);
            let order = match self.sort {
                Column::Name => a.name.cmp(&b.name),
                Column::Size => a.loaded.size.cmp(&b.loaded.size),
                Column::References => a.loaded.references.cmp(&b.loaded.references),
                Column::Holders => a.loaded.holders.len().cmp(&b.loaded.holders.len()),
                Column::Taints => a.taints.cmp(&b.taints),
                Column::State => (a.loaded.state as u8).cmp(&(b.loaded.state as u8)),
            };
            let order = if self.descending { order.reverse() } else { order };
            order.then_with(|| a.name.cmp(&b.name))
        });
        rows
    }

    /// The place of the cursor in the list.
    pub(super) fn cursor(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.listed().iter().position(|row| row.module.name == *selected)
    }

    /// The module under the cursor.
    pub(super) fn row(&self) -> Option<&Row> {
        self.cursor().and_then(|cursor| self.listed().get(cursor).copied())
    }

    /// Takes what is loaded now. The cursor stays at its module, or, when that is gone, about where it was.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        let before = self.cursor().unwrap_or_default();
        self.snapshot = snapshot;
        if self.cursor().is_none() {
            self.move_to(before);
        }
        self.follow();
    }

    /// Says that there is room for so many rows, or for another number than before.
    pub(super) fn fit(&mut self, rows: usize) {
        self.rows = rows.max(1);
        self.follow();
    }

    /// Keeps the cursor in sight.
    fn follow(&mut self) {
        let cursor = self.cursor().unwrap_or_default();
        let count = self.listed().len();
        self.offset = self.offset.min(cursor).max((cursor + 1).saturating_sub(self.rows));
        self.offset = self.offset.min(count.saturating_sub(self.rows));
    }

    fn move_to(&mut self, place: usize) {
        let listed = self.listed();
        let name = listed.get(place.min(listed.len().saturating_sub(1))).map(|row| row.module.name.clone());
        if self.selected != name {
            (self.selected, self.detail, self.detail_from) = (name, None, 0);
        }
        self.follow();
    }

    /// The modules that have this one as their only holder.
    pub(super) fn held_only_by(&self, name: &str) -> Vec<String> {
        let all = self.snapshot.modules.iter().map(|row| &row.module);
        all.filter(|module| module.loaded.holders == [name]).map(|module| module.name.clone()).collect()
    }

    /// Shows a text.
    pub(super) fn show(&mut self, title: String, lines: Vec<String>, ask: Option<Action>) {
        self.mode = Mode::Text(Text { title, lines, from: 0, ask });
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(key.code, KeyCode::Char('c')) { Effect::Quit } else { Effect::None };
        }
        self.message.clear();
        match std::mem::take(&mut self.mode) {
            Mode::List => self.list_key(key.code),
            Mode::Filter => {
                self.filter_key(key.code);
                Effect::None
            }
            Mode::Load(text) => self.load_key(text, key.code),
            // Nothing but the end of what runs ends this.
            waiting @ Mode::Waiting(_) => {
                self.mode = waiting;
                Effect::None
            }
            Mode::Text(text) => self.text_key(text, key.code),
        }
    }

    fn list_key(&mut self, key: KeyCode) -> Effect {
        let cursor = self.cursor().unwrap_or_default();
        match key {
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.move_to(cursor.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.move_to(cursor + 1),
            KeyCode::PageUp => self.move_to(cursor.saturating_sub(self.rows)),
            KeyCode::PageDown => self.move_to(cursor + self.rows),
            KeyCode::Home => self.move_to(0),
            KeyCode::End => self.move_to(usize::MAX),
            KeyCode::Char('<') => self.sort_by(Column::ALL.len() - 1),
            KeyCode::Char('>' | 's') => self.sort_by(1),
            KeyCode::Char('r') => {
                self.descending = !self.descending;
                self.follow();
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => {
                self.filter.clear();
                self.follow();
            }
            KeyCode::Enter => {
                self.with_detail = !self.with_detail;
                return Effect::Refresh;
            }
            KeyCode::Char('[') => self.detail_from = self.detail_from.saturating_sub(1),
            KeyCode::Char(']') => self.detail_from += 1,
            KeyCode::Char(' ') => return Effect::Refresh,
            KeyCode::Char('?' | 'h') => {
                let lines = KEYS.iter().map(|(key, what)| format!("{key:<24}{what}")).collect();
                self.show("Keys".to_owned(), lines, None);
            }
            KeyCode::Char('l' | 'u') | KeyCode::Delete if self.cannot_act.is_some() => {
                self.message = self.cannot_act.unwrap_or_default().to_owned();
            }
            KeyCode::Char('l') => self.mode = Mode::Load(String::new()),
            KeyCode::Char('u') | KeyCode::Delete => {
                if let Some(name) = self.selected.clone() {
                    return Effect::Try(Action::Unload(name));
                }
            }
            KeyCode::Char('e') if self.explains => {
                if let Some(name) = self.selected.clone() {
                    return Effect::Explain(name);
                }
            }
            _ => {}
        }
        Effect::None
    }

    /// Sorts by the column so many places to the right.
    fn sort_by(&mut self, further: usize) {
        let at = Column::ALL.iter().position(|column| *column == self.sort).unwrap_or_default();
        self.sort = Column::ALL[(at + further) % Column::ALL.len()];
        self.descending = self.sort.descends();
        self.follow();
    }

    fn filter_key(&mut self, key: KeyCode) {
        self.mode = Mode::Filter;
        match key {
            KeyCode::Enter => self.mode = Mode::List,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::List;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(character) => self.filter.push(character),
            _ => {}
        }
        if self.cursor().is_none() {
            self.move_to(0);
        }
        self.follow();
    }

    fn load_key(&mut self, mut text: String, key: KeyCode) -> Effect {
        match key {
            KeyCode::Esc => return Effect::None,
            KeyCode::Enter => {
                let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                return if words.is_empty() { Effect::None } else { Effect::Try(Action::Load(words)) };
            }
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(character) => text.push(character),
            _ => {}
        }
        self.mode = Mode::Load(text);
        Effect::None
    }

    fn text_key(&mut self, mut text: Text, key: KeyCode) -> Effect {
        match (key, &text.ask) {
            (KeyCode::Char('y'), Some(action)) => return Effect::Do(action.clone()),
            (KeyCode::Char('n' | 'q') | KeyCode::Esc, _) | (KeyCode::Enter, None) => return Effect::None,
            (KeyCode::Up | KeyCode::Char('k'), _) => text.from = text.from.saturating_sub(1),
            (KeyCode::Down | KeyCode::Char('j'), _) => {
                text.from = (text.from + 1).min(text.lines.len().saturating_sub(1))
            }
            (KeyCode::PageUp, _) => text.from = text.from.saturating_sub(10),
            (KeyCode::PageDown, _) => text.from = (text.from + 10).min(text.lines.len().saturating_sub(1)),
            _ => {}
        }
        self.mode = Mode::Text(text);
        Effect::None
    }
}
