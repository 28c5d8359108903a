//! What was found, in tables, and beside what was aimed at.

use crate::calls::Calls;
use crate::idle::Idle;
use crate::instructions::Instructions;
use crate::load::Run;
use crate::plan::{AIM_P99, Case};
use std::fmt::Write as _;

/// Ours and the one it is compared with.
const OURS: &str = "bramble";
const THEIRS: &str = "haproxy";
/// Part of a processor that others may use during a run before its figures mean little.
const NOISE: f64 = 0.12;

/// All runs of one proxy in one case.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    pub(crate) runs: Vec<Run>,
}

impl Row {
    pub(crate) fn of(name: &'static str) -> Self {
        Self { name, runs: Vec::new() }
    }

    /// The median of its runs.
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(of).collect())
    }
}

/// How often HAProxy could answer in a second.
pub(crate) fn rate_of_theirs(rows: &[Row]) -> Option<f64> {
    rows.iter().find(|r| r.name == THEIRS).map(|r| r.median(|run| run.rate))
}

/// A part of HAProxy's.
fn ratio(rows: &[Row], row: &Row, of: fn(&Run) -> f64) -> f64 {
    let theirs = rows.iter().find(|r| r.name == THEIRS);
    theirs.map_or(f64::NAN, |t| row.median(of) / t.median(of))
}

/// Ends the line above the rows with what stands in each column, which is so wide.
fn put_titles(block: &mut String, columns: &[(&str, usize)]) {
    for (title, width) in columns {
        let _ = write!(block, " {title:>width$}");
    }
    block.push('\n');
}

/// A figure, or a dash where there is none.
fn cell(value: f64, width: usize, digits: usize) -> String {
    if value.is_finite() && value > 0.0 {
        format!("{value:>width$.digits$}")
    } else {
        format!("{:>width$}", "-")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Something aimed at.
#[derive(Clone, Debug)]
struct Aim {
    what: String,
    found: f64,
    limit: f64,
}

/// Everything found so far. Each part is printed as it comes.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    text: String,
    aims: Vec<Aim>,
    others: Vec<f64>,
}

impl Findings {
    fn print(&mut self, block: &str) {
        println!("{block}");
        self.text.push_str(block);
        self.text.push('\n');
    }

    fn aim(&mut self, what: String, found: f64, limit: f64) {
        self.aims.push(Aim { what, found, limit });
    }

    pub(crate) fn case(&mut self, case: &Case, rows: &[Row]) {
        const KIB_OF_MIB: f64 = 1024.0;
        let ratio = |row: &Row, of: fn(&Run) -> f64| ratio(rows, row, of);
        let columns: [(&str, usize); 10] = [
            ("us/req", 9),
            ("ratio", 6),
            ("req/s", 9),
            ("ratio", 6),
            ("p50 ms", 8),
            ("p99 ms", 8),
            ("ratio", 6),
            ("RSS MiB", 8),
            ("ratio", 6),
            ("errors", 7),
        ];
        let mut block = format!("{:<40}", case.name);
        put_titles(&mut block, &columns);
        for row in rows {
            let _ = write!(block, "  {:<38}", row.name);
            for (value, width, digits) in [
                (row.median(|r| r.us), 9, 1),
                (ratio(row, |r| r.us), 6, 2),
                (row.median(|r| r.rate), 9, 0),
                (ratio(row, |r| r.rate), 6, 2),
                (row.median(|r| r.p50_ms), 8, 2),
                (row.median(|r| r.p99_ms), 8, 2),
                (ratio(row, |r| r.p99_ms), 6, 2),
                (row.median(|r| r.rss_kib) / KIB_OF_MIB, 8, 1),
                (ratio(row, |r| r.rss_kib), 6, 2),
            ] {
                let _ = write!(block, " {}", cell(value, width, digits));
            }
            let errors = row.runs.iter().map(|r| r.errors).sum::<f64>();
            let _ = writeln!(block, " {errors:>7.0}");
            self.others.extend(row.runs.iter().map(|r| r.others));
        }
        if let Some(ours) = rows.iter().find(|r| r.name == OURS) {
            let name = case.name;
            self.aim(
                format!("{name}: CPU per request, of HAProxy's"),
                ratio(ours, |r| r.us),
                case.aim,
            );
            let p99 = ratio(ours, |r| r.p99_ms);
            // h2load measures none.
            if p99.is_finite() && !case.steady {
                self.aim(format!("{name}: p99, of HAProxy's"), p99, AIM_P99);
            }
            self.aim(format!("{name}: memory, of HAProxy's"), ratio(ours, |r| r.rss_kib), 1.0);
        }
        self.print(&block);
    }

    /// The same case, asked so often a second. How long a proxy's threads wait for a processor, how
    /// unevenly they work and how late the load itself is says what of the slowest requests' times
    /// is the proxy's.
    pub(crate) fn steady(&mut self, case: &Case, rate: f64, rows: &[Row]) {
        let columns: [(&str, usize); 11] = [
            ("us/req", 9),
            ("ratio", 6),
            ("p50 ms", 8),
            ("p99 ms", 8),
            ("ratio", 6),
            ("p99.9 ms", 8),
            ("ratio", 6),
            ("waits us", 8),
            ("busiest", 7),
            ("late ms", 8),
            ("errors", 7),
        ];
        let mut block = format!(
            "{}: {rate:.0} requests a second, due at the same moments for all; times count from \
             when each was due\n{:<40}",
            case.name, ""
        );
        put_titles(&mut block, &columns);
        for row in rows {
            let _ = write!(block, "  {:<38}", row.name);
            for (value, width, digits) in [
                (row.median(|r| r.us), 9, 1),
                (ratio(rows, row, |r| r.us), 6, 2),
                (row.median(|r| r.p50_ms), 8, 2),
                (row.median(|r| r.p99_ms), 8, 2),
                (ratio(rows, row, |r| r.p99_ms), 6, 2),
                (row.median(|r| r.p999_ms), 8, 2),
                (ratio(rows, row, |r| r.p999_ms), 6, 2),
                (row.median(|r| r.waited_us), 8, 1),
                (row.median(|r| if case.threads > 1 { r.busiest } else { 0.0 }), 7, 2),
                (row.median(|r| r.late_ms), 8, 2),
            ] {
                let _ = write!(block, " {}", cell(value, width, digits));
            }
            let errors = row.runs.iter().map(|r| r.errors).sum::<f64>();
            let _ = writeln!(block, " {errors:>7.0}");
            self.others.extend(row.runs.iter().map(|r| r.others));
        }
        if let Some(ours) = rows.iter().find(|r| r.name == OURS) {
            let p99 = ratio(rows, ours, |r| r.p99_ms);
            let what = format!("{}: p99 at a steady rate, of HAProxy's", case.name);
            self.aim(what, p99, AIM_P99);
        }
        self.print(&block);
    }

    pub(crate) fn calls(&mut self, all: &[Calls]) {
        let mut block =
            format!("{:<40} {:>9} {:>9}\n", "system calls per request", "1 KiB", "64 KiB");
        for calls in all {
            let _ = write!(block, "  {:<38}", calls.name);
            for each in &calls.each {
                let _ = write!(block, " {each:>9.2}");
            }
            block.push('\n');
        }
        if let Some(ours) = all.iter().find(|c| c.name == OURS) {
            for (each, (size, limit)) in ours.each.iter().zip([("1 KiB", 4.3), ("64 KiB", 4.5)]) {
                self.aim(format!("{size}, keep-alive: system calls per request"), *each, limit);
            }
        }
        self.print(&block);
    }

    pub(crate) fn idle(&mut self, all: &[Idle]) {
        let mut block = format!(
            "{:<40} {:>10} {:>10} {:>8} {:>9}\n",
            "idle connections", "before KiB", "after KiB", "open", "KiB each"
        );
        for idle in all {
            let _ = writeln!(
                block,
                "  {:<38} {:>10.0} {:>10.0} {:>8} {:>9.2}",
                idle.name,
                idle.before_kib,
                idle.after_kib,
                idle.open,
                idle.each()
            );
        }
        if let Some(ours) = all.iter().find(|i| i.name == OURS) {
            self.aim("idle connection: KiB each".to_owned(), ours.each(), 2.0);
            if let Some(theirs) = all.iter().find(|i| i.name == THEIRS) {
                let ratio = ours.after_kib / theirs.after_kib;
                self.aim("all idle connections: memory, of HAProxy's".to_owned(), ratio, 1.0);
            }
        }
        self.print(&block);
    }

    pub(crate) fn instructions(&mut self, all: &[Instructions]) {
        let mut block =
            format!("{:<40} {:>10} {:>6}\n", "instructions per 1 KiB request", "", "ratio");
        for found in all {
            let theirs = all.iter().find(|i| i.name == THEIRS && i.log == found.log);
            let theirs = theirs.map_or(f64::NAN, |t| t.per_request);
            let name = format!("{}{}", found.name, if found.log { ", with its log" } else { "" });
            let each = found.per_request;
            let _ = writeln!(block, "  {name:<38} {each:>10.0} {:>6.2}", each / theirs);
            if found.name == OURS {
                let (what, limit) = if found.log {
                    ("1 KiB, keep-alive: instructions in user space, with the access log", 30_000.0)
                } else {
                    ("1 KiB, keep-alive: instructions in user space", 25_000.0)
                };
                self.aim(what.to_owned(), each, limit);
            }
        }
        self.print(&block);
    }

    /// The aims, and whether they are met.
    pub(crate) fn summary(&mut self) {
        let mut block = format!("{:<72} {:>9} {:>9}\n", "aim", "found", "at most");
        for aim in &self.aims {
            let digits = if aim.limit > 100.0 { 0 } else { 2 };
            // As precise as it is printed.
            let scale = 10_f64.powi(digits);
            let met = (aim.found * scale).round() <= (aim.limit * scale).round();
            let verdict = if met {
                "met".to_owned()
            } else {
                format!("MISSED by {:.0} %", (aim.found / aim.limit - 1.0) * 100.0)
            };
            let digits = usize::try_from(digits).unwrap_or(0);
            let _ = writeln!(
                block,
                "{:<72} {:>9.digits$} {:>9.digits$}  {verdict}",
                aim.what, aim.found, aim.limit
            );
        }
        if !self.others.is_empty() {
            let (usual, most) =
                (median(self.others.clone()), self.others.iter().copied().fold(0.0, f64::max));
            let _ = write!(
                block,
                "\nWhat else this machine did: usually {:.0} %, at most {:.0} % of a processor.{}\n",
                usual * 100.0,
                most * 100.0,
                if usual > NOISE {
                    " That is too much: measure again when it is quiet."
                } else {
                    ""
                }
            );
        }
        self.print(&block);
    }

    /// All that was printed.
    pub(crate) fn everything(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    fn row(name: &'static str, us: f64) -> Row {
        let run = Run { us, rate: 1.0, p99_ms: 2.0, rss_kib: 1024.0, ..Run::default() };
        Row { name, runs: vec![run; 3] }
    }

    #[test]
    fn an_aim_is_met_or_missed() {
        let case = plan::cases(1).nth(1).unwrap();
        assert!((case.aim - 0.6).abs() < 0.001);
        for (us, verdict) in [(30.2, "0.60  met"), (40.0, "0.60  MISSED by 33 %")] {
            let mut findings = Findings::default();
            findings.case(&case, &[row(OURS, us), row(THEIRS, 50.0)]);
            findings.summary();
            assert!(findings.everything().contains(verdict), "{}", findings.everything());
        }
    }

    #[test]
    fn where_a_steady_rate_is_measured_it_judges_the_slowest_requests() {
        let case = plan::cases(1).next().unwrap();
        let (ours, theirs) = (row(OURS, 1.0), row(THEIRS, 1.0));
        let mut eager = ours.clone();
        eager.runs.iter_mut().for_each(|r| r.p99_ms = 20.0);
        let mut findings = Findings::default();
        findings.case(&case, &[eager, theirs.clone()]);
        findings.steady(&case, 7.0, &[ours, theirs]);
        findings.summary();
        let text = findings.everything();
        assert!(text.contains("p99 at a steady rate, of HAProxy's"), "{text}");
        assert!(text.contains("10.00") && !text.contains("MISSED"), "{text}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 0.001);
        assert!(median(Vec::new()).abs() < 0.001);
    }
}
