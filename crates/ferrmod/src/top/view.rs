//! How the model looks. Nothing here changes it.

use ferrmod_plan::graph::LoadState;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::model::{Column, Mode, Model, Text};
use super::source::Row;

/// Heads of the columns, each with how wide it is; the last one takes what is left.
const COLUMNS: [(Column, &str, usize); 6] = [
    (Column::Name, "MODULE", 26),
    (Column::Size, "SIZE", 10),
    (Column::References, "REFS", 6),
    (Column::Holders, "HOLD", 5),
    (Column::Taints, "TAINTS", 7),
    (Column::State, "STATE", 9),
];

/// How wide a machine's column of owned memory is.
const OWNED: usize = 10;

/// The parts of the screen: head, table, detail (perhaps of no height), foot.
fn areas(area: Rect, with_detail: bool) -> [Rect; 4] {
    let detail = if with_detail && area.height >= 12 { area.height * 2 / 5 } else { 0 };
    let all = [Constraint::Length(1), Constraint::Min(2), Constraint::Length(detail), Constraint::Length(1)];
    Layout::vertical(all).areas(area)
}

/// For how many modules a screen of this size has room.
pub(super) fn rows(area: Rect, with_detail: bool) -> usize {
    usize::from(areas(area, with_detail)[1].height.saturating_sub(1))
}

/// Text from a kernel, as a terminal may have it: nothing in it is a command.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// A number of bytes, in at most five letters.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if count < 10_000 {
        return count.to_string();
    }
    let mut rest = count as f64 / 1024.0;
    let mut unit = 0;
    while rest >= 999.5 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    if rest < 9.95 { format!("{rest:.1}{}", UNITS[unit]) } else { format!("{rest:.0}{}", UNITS[unit]) }
}

/// A word for a state.
pub(super) fn state(state: LoadState) -> &'static str {
    match state {
        LoadState::Live => "live",
        LoadState::Loading => "loading",
        LoadState::Unloading => "unloading",
    }
}

/// Text, cut or filled up to a width.
fn fill(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count > width {
        let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
        cut.push('…');
        return cut;
    }
    format!("{text:<width$}")
}

/// What stands in each column for a module, and what after them.
pub(super) fn cells(row: &Row, with_owned: bool) -> (Vec<String>, String) {
    let (module, loaded) = (&row.module, &row.module.loaded);
    let references = loaded.references.map_or("-".to_owned(), |references| references.to_string());
    let texts = [
        clean(&module.name),
        bytes(loaded.size),
        references,
        loaded.holders.len().to_string(),
        clean(&module.taints),
        state(loaded.state).to_owned(),
    ];
    let mut cells: Vec<String> = COLUMNS
        .iter()
        .zip(&texts)
        .map(|((column, _, width), text)| match column {
            Column::Size | Column::References | Column::Holders => format!("{text:>0$}", width - 1),
            _ => fill(text, width - 1),
        })
        .collect();
    if with_owned {
        cells.push(format!("{:>1$}", row.owned.map_or_else(|| "-".to_owned(), bytes), OWNED - 1));
    }
    let mut rest: Vec<String> = loaded.holders.iter().map(|holder| clean(holder)).collect();
    if loaded.permanent {
        rest.push("[permanent]".to_owned());
    }
    (cells, rest.join(" "))
}

/// The head of the table.
pub(super) fn head(with_owned: bool) -> (Vec<String>, &'static str) {
    let mut cells: Vec<String> = COLUMNS
        .iter()
        .map(|(column, title, width)| match column {
            Column::Size | Column::References | Column::Holders => format!("{title:>0$}", width - 1),
            _ => fill(title, width - 1),
        })
        .collect();
    if with_owned {
        cells.push(format!("{:>1$}", "OWNED", OWNED - 1));
    }
    (cells, "USED BY")
}

/// Whether a column for owned memory is of use.
pub(super) fn with_owned(model: &Model) -> bool {
    model.snapshot.modules.iter().any(|row| row.owned.is_some())
}

/// Draws it all.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [top, table, detail, foot] = areas(frame.area(), model.with_detail);
    frame.render_widget(title(model), top);
    frame.render_widget(list(model, table), table);
    if detail.height > 0 {
        draw_detail(frame, model, detail);
    }
    frame.render_widget(last_line(model), foot);
    match &model.mode {
        Mode::Text(text) => popup(frame, text, if text.ask.is_some() { " y do it   n do not " } else { " Esc " }),
        Mode::Waiting(what) => {
            let text = Text { title: what.clone(), lines: vec!["running …".to_owned()], from: 0, ask: None };
            popup(frame, &text, "");
        }
        Mode::List | Mode::Filter | Mode::Load(_) => {}
    }
}

fn title(model: &Model) -> Paragraph<'_> {
    let all = &model.snapshot.modules;
    let size: u64 = all.iter().map(|row| row.module.loaded.size).sum();
    let tainting = all.iter().filter(|row| !row.module.taints.is_empty()).count();
    let mut text = format!(" {}  {} modules, {}", clean(&model.snapshot.kernel), all.len(), bytes(size));
    if tainting > 0 {
        text.push_str(&format!(", {tainting} with taints"));
    }
    let free = all.iter().filter(|row| row.stays.is_empty()).count();
    text.push_str(&format!(", {free} can be removed"));
    Paragraph::new(text).style(Style::new().add_modifier(Modifier::REVERSED))
}

fn list(model: &Model, area: Rect) -> Paragraph<'_> {
    let with_owned = with_owned(model);
    let (titles, rest) = head(with_owned);
    let mut spans = Vec::new();
    for (at, cell) in titles.into_iter().enumerate() {
        let sorted = COLUMNS.get(at).is_some_and(|(column, _, _)| *column == model.sort);
        let sign = match (sorted, model.descending) {
            (true, true) => "▼",
            (true, false) => "▲",
            (false, _) => " ",
        };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        spans.push(Span::styled(cell, if sorted { bold.fg(Color::Cyan) } else { bold }));
        spans.push(Span::styled(sign, Style::new().fg(Color::Cyan)));
    }
    spans.push(Span::styled(format!(" {rest}"), Style::new().add_modifier(Modifier::BOLD)));
    let mut lines = vec![Line::from(spans)];
    let width = usize::from(area.width);
    let listed = model.listed();
    if listed.is_empty() {
        let why =
            if model.filter.is_empty() { " no module is loaded" } else { " no module has that in its name or taints" };
        lines.push(Line::styled(why, Style::new().add_modifier(Modifier::DIM)));
    }
    for row in listed.into_iter().skip(model.offset).take(usize::from(area.height.saturating_sub(1))) {
        let (cells, rest) = cells(row, with_owned);
        let text = fill(&format!("{}  {rest}", cells.join(" ")), width);
        let mut style = Style::new();
        if !row.module.taints.is_empty() {
            style = style.fg(Color::Yellow);
        }
        if row.module.loaded.state != LoadState::Live {
            style = style.fg(Color::Magenta);
        }
        if model.selected.as_ref() == Some(&row.module.name) {
            style = style.add_modifier(Modifier::REVERSED);
        }
        lines.push(Line::styled(text, style));
    }
    Paragraph::new(lines)
}

/// The lines of the lower half.
pub(super) fn detail_lines(model: &Model) -> Vec<Line<'static>> {
    let Some(row) = model.row() else { return Vec::new() };
    let head = |text: &str| Span::styled(text.to_owned(), Style::new().add_modifier(Modifier::BOLD));
    let mut lines = Vec::new();
    let removal = if row.stays.is_empty() {
        Span::styled("it can".to_owned(), Style::new().fg(Color::Green))
    } else {
        let reasons: Vec<String> = row.stays.iter().map(|why| clean(&why.to_string())).collect();
        Span::styled(format!("no: {}", reasons.join("; ")), Style::new().fg(Color::Red))
    };
    lines.push(Line::from(vec![head("can it be removed? "), removal]));
    if !row.module.taints.is_empty() {
        let meaning = crate::graph::meaning(&row.module.taints, crate::graph::Colour::Taint);
        lines.push(Line::from(vec![head("taints "), clean(&meaning).into()]));
    }
    let Some(detail) = model.detail.as_ref().filter(|detail| detail.name == row.module.name) else { return lines };
    for (what, text) in &detail.versions {
        lines.push(Line::from(vec![head(&format!("{what} ")), clean(text).into()]));
    }
    if !detail.parameters.is_empty() {
        lines.push(Line::from(vec![head("parameters"), " (* can be changed now)".into()]));
        for parameter in &detail.parameters {
            let sign = if parameter.writable { "*" } else { " " };
            let value = parameter.value.as_deref().map_or_else(|| "(may not be read)".to_owned(), clean);
            lines.push(Line::from(format!(" {sign} {} = {value}", clean(&parameter.name))));
        }
    }
    if !detail.log.is_empty() {
        lines.push(Line::from(head("log")));
        lines.extend(detail.log.iter().map(|line| Line::from(format!("   {}", clean(line)))));
    }
    let dim = Style::new().add_modifier(Modifier::DIM);
    lines.extend(detail.problems.iter().map(|problem| Line::styled(clean(problem), dim)));
    lines
}

fn draw_detail(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let name = model.selected.as_deref().map(clean).unwrap_or_default();
    let block = Block::bordered().title(format!(" {name} "));
    let inside = usize::from(block.inner(area).height);
    let lines = detail_lines(model);
    // Not further than to the last line.
    let from = model.detail_from.min(lines.len().saturating_sub(inside));
    let shown: Vec<Line<'_>> = lines.into_iter().skip(from).collect();
    frame.render_widget(Paragraph::new(shown).block(block), area);
}

fn last_line(model: &Model) -> Paragraph<'_> {
    let text = match &model.mode {
        Mode::Filter => format!(" filter: {}▏", clean(&model.filter)),
        Mode::Load(text) => format!(" load (NAME [PARAMETER=VALUE]…): {}▏", clean(text)),
        _ if !model.message.is_empty() => format!(" {}", clean(&model.message)),
        _ => {
            let filter = if model.filter.is_empty() { String::new() } else { format!(" [{}]", clean(&model.filter)) };
            let explain = if model.explains { "e explain  " } else { "" };
            let change = if model.cannot_act.is_none() { "l load  u unload  " } else { "" };
            format!("{filter} Enter detail  / filter  < > sort  r reverse  {change}{explain}? keys  q leave")
        }
    };
    let style = if model.message.is_empty() {
        Style::new().add_modifier(Modifier::DIM)
    } else {
        Style::new().fg(Color::Yellow)
    };
    Paragraph::new(text).style(style)
}

fn popup(frame: &mut Frame<'_>, text: &Text, keys: &'static str) {
    let area = frame.area();
    let longest = text
        .lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or_default()
        .max(text.title.chars().count() + 2);
    let most = area.width.saturating_sub(4).max(1);
    let width = u16::try_from(longest + 4).unwrap_or(u16::MAX).clamp(most.min(40), most);
    let inside = usize::from(width.saturating_sub(2)).max(1);
    let wrapped: usize = text.lines.iter().map(|line| line.chars().count().div_ceil(inside).max(1)).sum();
    let height =
        u16::try_from(wrapped + 2).unwrap_or(u16::MAX).min(area.height.saturating_sub(2)).max(area.height.min(3));
    let place = Rect {
        x: area.x + (area.width - width.min(area.width)) / 2,
        y: area.y + (area.height - height.min(area.height)) / 2,
        width: width.min(area.width),
        height: height.min(area.height),
    };
    let block = Block::bordered()
        .title(format!(" {} ", clean(&text.title)))
        .title_bottom(Line::from(keys).alignment(Alignment::Right));
    let lines: Vec<Line<'_>> = text.lines.iter().skip(text.from).map(|line| Line::from(clean(line))).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), place);
}
