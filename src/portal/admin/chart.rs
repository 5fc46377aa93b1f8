//! Responsible for small charts: a line over the last half hour, as the coordinates of an SVG.

use std::fmt::Write;

/// Width of the drawing, in its own units.
const WIDTH: f64 = 240.0;
/// Height of the drawing.
const HEIGHT: f64 = 48.0;
/// Room above the highest value, so that its line is not cut.
const HEADROOM: f64 = 3.0;

/// A line and the area below it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    /// Path of the line.
    pub line: String,
    /// Path around the area.
    pub area: String,
    /// The highest value.
    pub most: u64,
}

impl Chart {
    /// The chart of these values, oldest first; the newest is at the right. `None` if there are too few for a line.
    pub fn of(values: &[u64], slots: usize) -> Option<Self> {
        if values.len() < 2 {
            return None;
        }
        let most = values.iter().copied().max().unwrap_or_default();
        let step = WIDTH / real(slots.max(values.len()) - 1);
        let begin = WIDTH - step * real(values.len() - 1);
        let mut line = String::new();
        for (index, value) in values.iter().enumerate() {
            let x = begin + step * real(index);
            let share = ratio(*value, most.max(1));
            let y = HEIGHT - share * (HEIGHT - HEADROOM) - 1.0;
            let command = if index == 0 { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            let _ = write!(line, "{command}{x:.1} {y:.1}");
        }
        let area = format!("{line}L{WIDTH} {HEIGHT}L{begin:.1} {HEIGHT}Z");
        Some(Self { line, area, most })
    }
}

/// How large a part of `all` it is, 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}

/// A small count.
fn real(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_at_the_right_and_the_highest_at_the_top() {
        let chart = Chart::of(&[0, 10, 5], 5).expect("a chart");
        assert_eq!(chart.line, "M120.0 47.0L180.0 2.0L240.0 24.5");
        assert_eq!(chart.area, format!("{}L240 48L120.0 48Z", chart.line));
        assert_eq!(chart.most, 10);
    }

    #[test]
    fn nothing_is_a_flat_line_and_too_little_is_no_chart() {
        assert_eq!(Chart::of(&[7], 10), None);
        let flat = Chart::of(&[0, 0], 2).expect("a chart");
        assert_eq!(flat.line, "M0.0 47.0L240.0 47.0");
        let many = Chart::of(&vec![u64::MAX; 300], 180).expect("a chart");
        assert!(many.line.starts_with("M0.0 2.0L"), "{}", many.line);
    }
}
