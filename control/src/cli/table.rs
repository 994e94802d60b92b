//! Tables within 100 columns: the widest texts give way, numbers never do.

/// Widest line that is printed.
pub(crate) const WIDTH: usize = 100;
/// A text column is not cut below this.
const NARROWEST: usize = 8;
const GAP: usize = 2;

/// How a column is aligned, and whether it may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text: left aligned, cut with `…` when the line is too wide.
    Left,
    /// Numbers: right aligned, never cut.
    Right,
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: &[(&'static str, Align)]) -> Self {
        Self {
            heads: heads.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // A peer chose some of these texts: no control character of theirs reaches a terminal.
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| cell.chars().map(clean).collect())
                .collect(),
        );
    }

    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        let heads: Vec<String> = self
            .heads
            .iter()
            .map(|(head, _)| (*head).to_owned())
            .collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, (_, align)), width) in row.iter().zip(&self.heads).zip(&widths) {
                let cell = cut(cell, *width);
                let room = " ".repeat(width - cell.chars().count());
                let gap = if line.is_empty() { "" } else { "  " };
                match align {
                    Align::Left => line.extend([gap, &cell, &room]),
                    Align::Right => line.extend([gap, &room, &cell]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .heads
            .iter()
            .map(|(head, _)| head.chars().count())
            .collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let total =
            |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        while total(&widths) > WIDTH {
            let widest = self
                .heads
                .iter()
                .zip(&mut widths)
                .filter(|((head, align), width)| {
                    *align == Align::Left && **width > NARROWEST.max(head.len())
                })
                .map(|(_, width)| width)
                .max_by_key(|width| **width);
            match widest {
                Some(width) => *width -= 1,
                None => break,
            }
        }
        widths
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A latency in the unit that keeps it short: `870us`, `4ms`, `1.2s`.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{}ms", (us + 500) / 1_000),
        _ => format!("{:.1}s", us as f64 / 1e6),
    }
}

/// An age or a remaining time: `45s`, `12m`, `3h`, `2d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 warning`, `2 warnings`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// A share of `whole` with the given number of decimals; `-` of nothing. Below one whole it never
/// rounds up to 100: one failure of a million is not "100.00%".
pub(crate) fn share(part: u64, whole: u64, decimals: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let scale = 10_u128.pow(u32::try_from(decimals).unwrap_or(2));
    let exact = u128::from(part) * 100 * scale;
    let mut value = (exact * 2 + u128::from(whole)) / (u128::from(whole) * 2);
    if part < whole {
        value = value.min(100 * scale - 1);
    }
    if part > 0 {
        value = value.max(1);
    }
    if decimals == 0 {
        return format!("{value}%");
    }
    format!("{}.{:0decimals$}%", value / scale, value % scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let mut table = Table::new(&[
            ("FROM", Align::Left),
            ("CALLS/S", Align::Right),
            ("mTLS", Align::Left),
        ]);
        table.row(["web", "41.8", "yes"].map(str::to_owned));
        table.row(["batch-job", "3.1", "NO"].map(str::to_owned));
        assert_eq!(
            table.render(),
            "FROM       CALLS/S  mTLS\n\
             web           41.8  yes\n\
             batch-job      3.1  NO\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_100_and_numbers_are_whole() {
        let mut table = Table::new(&[("A", Align::Left), ("N", Align::Right), ("B", Align::Left)]);
        table.row([
            "x".repeat(90),
            "12345678".to_owned(),
            "y\x1b[31m".repeat(20),
        ]);
        let text = table.render();
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(text.contains("  12345678  ") && text.contains('…'));
        assert!(
            !text.contains('\x1b'),
            "a peer's text cannot move the cursor"
        );
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(
            [
                micros(870),
                micros(4_400),
                micros(38_000),
                micros(1_250_000)
            ],
            ["870us", "4ms", "38ms", "1.2s"]
        );
        assert_eq!(
            [span(45), span(720), span(10_800), span(180_000)],
            ["45s", "12m", "3h", "2d"]
        );
        assert_eq!(share(9_995, 10_000, 2), "99.95%");
        assert_eq!(share(10, 10, 2), "100.00%");
        assert_eq!(
            share(999_999, 1_000_000, 2),
            "99.99%",
            "never rounded up to all"
        );
        assert_eq!(share(1, 1_000_000, 1), "0.1%", "never rounded down to none");
        assert_eq!(share(0, 10, 1), "0.0%");
        assert_eq!(share(0, 0, 1), "-");
    }
}
