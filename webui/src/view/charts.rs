//! Charts as the server draws them: an area of requests, and on it the ones that went wrong.

use crate::words::number;
use model::charts::{Sample, Series};
use std::fmt::Write;

/// Points of a chart. What is pushed to a page changes only as often as there is a new one.
const POINTS: usize = 60;
const WIDTH: usize = 240;
const HEIGHT: u64 = 40;

/// A chart with its words.
pub(crate) struct Chart {
    pub(crate) svg: String,
    pub(crate) words: String,
}

/// The last five minutes, five seconds to a point.
pub(crate) fn minutes(series: &Series) -> Chart {
    // Up to the last whole five seconds, so that points do not change any more.
    let fresh = usize::try_from(series.counted % 5).unwrap_or(0);
    let whole = series.seconds.len().saturating_sub(fresh);
    draw(series.seconds.get(..whole).unwrap_or_default(), 5, 5, "5 minutes")
}

/// The last six hours, six minutes to a point.
pub(crate) fn hours(series: &Series) -> Chart {
    let counted = usize::try_from(series.counted / 60 % 6).unwrap_or(0);
    let whole = series.minutes.len().saturating_sub(counted);
    draw(series.minutes.get(..whole).unwrap_or_default(), 6, 360, "6 hours")
}

/// `per` samples to a point, which are so many seconds.
fn draw(samples: &[Sample], per: usize, seconds: u64, over: &str) -> Chart {
    let points: Vec<(u64, u64)> = samples
        .rchunks(per)
        .take(POINTS)
        .map(|chunk| {
            let sum = |f: fn(&Sample) -> u32| chunk.iter().map(|s| u64::from(f(s))).sum::<u64>();
            (sum(|s| s.requests), sum(|s| s.hrsp_4xx) + sum(|s| s.hrsp_5xx))
        })
        .collect();
    let most = points.iter().map(|(all, bad)| *all.max(bad)).max().unwrap_or(0);
    let all: u64 = points.iter().map(|(all, _)| all).sum();
    let bad: u64 = points.iter().map(|(_, bad)| bad).sum();
    let worst = points.len().max(1);
    let covered = u64::try_from(worst).unwrap_or(1) * seconds;
    let words = if all == 0 {
        format!("No requests in the last {over}.")
    } else {
        format!(
            "Last {over}: {} requests, {}/s on average, at most {}/s; {} answered with 4xx or 5xx.",
            number(all),
            rate(all, covered),
            rate(most, seconds),
            number(bad),
        )
    };
    let area = |value: fn(&(u64, u64)) -> u64| {
        let step = WIDTH / (POINTS - 1);
        let mut path = String::new();
        let mut last = WIDTH;
        for (i, point) in points.iter().enumerate() {
            let x = WIDTH.saturating_sub(i * step);
            let y = HEIGHT - (value(point) * (HEIGHT - 2)).div_ceil(most.max(1)).min(HEIGHT);
            // Writing to a String cannot fail.
            let _ = write!(path, "{}{x} {y}", if i == 0 { "M" } else { "L" });
            last = x;
        }
        if !path.is_empty() {
            let _ = write!(path, "L{last} {HEIGHT}L{WIDTH} {HEIGHT}Z");
        }
        path
    };
    let svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{words}\"><path class=\"chart-all\" d=\"{}\"/>\
         <path class=\"chart-bad\" d=\"{}\"/></svg>",
        area(|p| p.0),
        area(|p| p.1),
    );
    Chart { svg, words }
}

/// Per second, with one decimal where it is small.
fn rate(n: u64, seconds: u64) -> String {
    let tenths = n.saturating_mul(10) / seconds.max(1);
    if tenths < 100 { format!("{}.{}", tenths / 10, tenths % 10) } else { number(tenths / 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(n: u32) -> Series {
        let second = |i: u32| Sample {
            requests: i % 7,
            hrsp_5xx: u32::from(i % 50 == 0),
            ..Sample::default()
        };
        Series {
            counted: n.into(),
            seconds: (0..n.min(300)).map(second).collect(),
            ..Series::default()
        }
    }

    #[test]
    fn a_chart_is_bounded_and_says_in_words_what_it_shows() {
        for n in [0, 1, 4, 5, 7, 299, 300, 301, 4000] {
            let chart = minutes(&series(n));
            assert!(chart.svg.len() < 2500, "{n}: {}", chart.svg.len());
            assert!(chart.svg.contains(&chart.words) && !chart.svg.contains("style"));
            assert_eq!(n < 5, chart.words.starts_with("No requests"), "{}", chart.words);
        }
        assert!(
            minutes(&series(300)).words.contains("3.0/s")
                || minutes(&series(300)).words.contains("2.9/s")
        );
    }

    #[test]
    fn it_changes_only_with_a_whole_point() {
        let mut s = series(300);
        let first = minutes(&s).svg;
        s.seconds.remove(0);
        s.seconds.push(Sample { requests: 500, ..Sample::default() });
        s.counted += 1;
        // The oldest second of the oldest point is gone; what was not whole is not shown.
        assert!(!minutes(&s).svg.is_empty() && minutes(&s).words.contains("at most"));
        assert!(!minutes(&s).words.contains("100/s") && first.contains("<path"));
    }
}
