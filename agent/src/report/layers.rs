//! A picture in columns: boxes, and lines from left to right. What was established is told by colour, by the stroke of a
//! line and by a letter, so that it can be read without colours too.

use maud::{Markup, html};

use super::text::{class, letter, shown, words};
use crate::record::Authentication;

/// Boxes of a column: more cannot be told apart on a page.
pub(super) const MAX_BOXES: usize = 40;

const BOX_WIDTH: usize = 210;
const BOX_HEIGHT: usize = 30;
const ROW: usize = 40;
const COLUMN: usize = BOX_WIDTH + 130;
/// Where there are only two, lines have room.
const COLUMN_OF_TWO: usize = 2 * COLUMN;
const TOP: usize = 44;
const MARGIN: usize = 12;
const LEGEND: usize = 20;
const LEGEND_COLUMN: usize = 400;
/// Characters that fit into a box.
const LABEL: usize = 24;
const EXPLANATION: usize = 300;

/// The style of pictures; also of those within a page.
pub(super) const STYLE: &str = include_str!("picture.css");

/// A column.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub title: String,
    pub boxes: Vec<Boxed>,
    /// How many it has no room for.
    pub left_out: usize,
}

/// A box.
#[derive(Debug, Clone)]
pub(super) struct Boxed {
    /// Lines know it by this.
    pub key: String,
    pub label: String,
    /// Told to who points at it.
    pub explanation: String,
    pub authentication: Option<Authentication>,
}

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Column and key of the box where it begins.
    pub from: (usize, String),
    /// The same of where it ends.
    pub to: (usize, String),
    pub authentication: Authentication,
    pub explanation: String,
}

/// The picture. A file of its own brings its style along; a page has it already.
pub(super) fn picture(title: &str, columns: &[Column], lines: &[Line], is_file: bool) -> Markup {
    let rows = columns.iter().map(|column| column.boxes.len() + usize::from(column.left_out > 0)).max();
    let width = left(columns, columns.len().saturating_sub(1)) + BOX_WIDTH + MARGIN;
    // The legend has two columns.
    let width = width.max(2 * MARGIN + 2 * LEGEND_COLUMN);
    let bottom = TOP + rows.unwrap_or(0) * ROW;
    let used: Vec<Authentication> = Authentication::ALL
        .iter()
        .copied()
        .filter(|one| {
            lines.iter().any(|line| line.authentication == *one)
                || columns
                    .iter()
                    .flat_map(|column| &column.boxes)
                    .any(|boxed| boxed.authentication == Some(*one))
        })
        .collect();
    let height = bottom + MARGIN + used.len().div_ceil(2) * LEGEND + MARGIN;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" class="picture" width=(width) height=(height)
            viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(shown(title, EXPLANATION)) {
            title { (shown(title, EXPLANATION)) }
            @if is_file {
                style { (maud::PreEscaped(STYLE)) }
                rect class="ground" width=(width) height=(height) {}
            }
            @for line in lines { (stroke(columns, line)) }
            @for (index, column) in columns.iter().enumerate() { (one_column(left(columns, index), column)) }
            @for (index, authentication) in used.iter().enumerate() {
                (legend(MARGIN + index % 2 * LEGEND_COLUMN, bottom + MARGIN + index / 2 * LEGEND, *authentication))
            }
        }
    }
}

fn left(columns: &[Column], column: usize) -> usize {
    MARGIN + column * if columns.len() == 2 { COLUMN_OF_TWO } else { COLUMN }
}

fn stroke(columns: &[Column], line: &Line) -> Markup {
    let middle = |(column, key): &(usize, String)| {
        let row = columns.get(*column)?.boxes.iter().position(|boxed| boxed.key == *key)?;
        Some((left(columns, *column), TOP + row * ROW + BOX_HEIGHT / 2))
    };
    let (Some((from, high)), Some((to, low))) = (middle(&line.from), middle(&line.to)) else {
        return html! {};
    };
    let from = from + BOX_WIDTH;
    let bend = (from + to) / 2;
    html! {
        path class=(format!("line {}", class(line.authentication)))
            d=(format!("M{from} {high}C{bend} {high} {bend} {low} {to} {low}")) {
            title { (shown(&line.explanation, EXPLANATION)) }
        }
    }
}

fn one_column(x: usize, column: &Column) -> Markup {
    html! {
        text class="head" x=(x) y="24" { (shown(&column.title, LABEL + 6)) }
        @for (row, boxed) in column.boxes.iter().enumerate() {
            @let y = TOP + row * ROW;
            g {
                title { (shown(&boxed.explanation, EXPLANATION)) }
                rect class="box" x=(x) y=(y) width=(BOX_WIDTH) height=(BOX_HEIGHT) rx="4" {}
                @if let Some(authentication) = boxed.authentication {
                    rect class=(format!("mark {}", class(authentication))) x=(x + 4) y=(y + 4) width="22" height="22" rx="3" {}
                    text class="letter" x=(x + 15) y=(y + 20) { (letter(authentication)) }
                }
                text x=(x + 32) y=(y + 20) { (shown(&boxed.label, LABEL)) }
            }
        }
        @if column.left_out > 0 {
            text class="more" x=(x + 8) y=(TOP + column.boxes.len() * ROW + 20) { "and " (column.left_out) " more" }
        }
    }
}

fn legend(x: usize, y: usize, authentication: Authentication) -> Markup {
    html! {
        path class=(format!("line {}", class(authentication))) d=(format!("M{x} {y}H{}", x + 44)) {}
        text class="legend" x=(x + 50) y=(y + 5) {
            (letter(authentication)) " " (authentication) ": " (words(authentication))
        }
    }
}
