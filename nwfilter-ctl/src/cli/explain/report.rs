//! What `explain` prints, frame by frame, and how it ends.

use std::{fmt::Write as _, io::Write, time::Duration};

use nwfilter_common::{Fault, Field, FrameDirection, LeafVerdict, TableLayer};
use serde_json::{Value, json};

use super::{
    super::{
        CliError, Outcome, compile,
        condition::{self, condition},
        load::Loaded,
        place,
    },
    capture::Frame,
    judge::{By, Decision, Sight, Why},
};
use crate::compile::{Condition, Considered, Ending, Entry, Known, Seen};

/// Prints frames and remembers what was seen.
pub(super) struct Report<'a, O, E> {
    loaded: &'a Loaded,
    out: &'a mut O,
    errors: &'a mut E,
    /// The frames of the JSON document, if that is what is printed.
    json: Option<Vec<Value>>,
    /// When the first frame was captured.
    start: Option<Duration>,
    accepted: usize,
    dropped: usize,
    failed: bool,
}

impl<'a, O: Write, E: Write> Report<'a, O, E> {
    pub(super) fn new(loaded: &'a Loaded, json: bool, out: &'a mut O, errors: &'a mut E) -> Self {
        Self {
            loaded,
            out,
            errors,
            json: json.then(Vec::new),
            start: None,
            accepted: 0,
            dropped: 0,
            failed: false,
        }
    }

    /// Warns of a frame that is not all there.
    pub(super) fn cut_off(&mut self, index: usize, frame: &Frame) -> Result<(), CliError> {
        let (captured, length) = (frame.data.len(), frame.length);
        writeln!(
            self.errors,
            "warning: frame {index}: only {captured} of {length} bytes were captured; it is judged \
             as a frame that ends there"
        )?;
        Ok(())
    }

    /// Tells of a frame that the kernel cannot be given.
    pub(super) fn not_run(&mut self, index: usize, length: usize) -> Result<(), CliError> {
        self.failed = true;
        writeln!(
            self.errors,
            "error: frame {index} has {length} bytes and cannot be run in the kernel, which needs whole \
             headers of Ethernet and IP, and not more than fits a page"
        )?;
        Ok(())
    }

    pub(super) fn frame(
        &mut self,
        index: usize,
        direction: FrameDirection,
        frame: &Frame,
        decision: Decision,
        why: &Why<'_>,
    ) -> Result<(), CliError> {
        if why.by_rules().is_some_and(|by_rules| by_rules != decision) {
            self.failed = true;
            writeln!(
                self.errors,
                "error: frame {index}: the tables do not agree with the rules they were made of; \
                 please report this"
            )?;
        }
        match decision.verdict {
            LeafVerdict::Accept | LeafVerdict::NoLayer => self.accepted += 1,
            LeafVerdict::Drop | LeafVerdict::Reject => self.dropped += 1,
        }
        let document = self.document(index, direction, decision);
        if let Some(frames) = &mut self.json {
            frames.push(document);
            return Ok(());
        }
        let text = self.text(index, direction, frame, decision, why);
        self.out.write_all(text.as_bytes())?;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Outcome, CliError> {
        let (accepted, dropped) = (self.accepted, self.dropped);
        if let Some(frames) = self.json {
            writeln!(self.out, "{:#}", json!({ "schema": 1, "frames": frames }))?;
        } else {
            writeln!(self.out, "{accepted} accepted, {dropped} dropped")?;
        }
        Ok(match (self.failed, dropped) {
            (true, _) => Outcome::Failed,
            (false, 0) => Outcome::Done,
            (false, _) => Outcome::Findings,
        })
    }

    fn entry(&self, number: u32) -> Option<&'a Entry> {
        self.loaded.prepared.compiled.entries.get(number as usize)
    }

    fn document(&self, index: usize, direction: FrameDirection, decision: Decision) -> Value {
        let (layer, entry) = match decision.by {
            By::Entry(layer, number) => (Some(place::layer(layer)), self.entry(number)),
            By::Fault(_) => (None, None),
        };
        let origin = match entry {
            Some(Entry::Rule(origin)) => Some(origin),
            _ => None,
        };
        let reason = match decision.by {
            By::Fault(fault) => fault_reason(fault),
            By::Entry(..) => entry.map_or("bad_image", place::reason),
        };
        json!({
            "index": index,
            "direction": compile::direction(direction),
            "verdict": compile::verdict(decision.verdict),
            "layer": layer,
            "filter": origin.map(|origin| origin.filter.as_ref()),
            "rule": origin.map(|origin| origin.rule),
            "line": origin.map(|origin| origin.line),
            "reason": reason,
        })
    }

    fn text(
        &mut self,
        index: usize,
        direction: FrameDirection,
        frame: &Frame,
        decision: Decision,
        why: &Why<'_>,
    ) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "frame {index}, ");
        if let Some(time) = frame.time {
            let since = time.saturating_sub(*self.start.get_or_insert(time));
            let _ = write!(text, "at {:.6} s, ", since.as_secs_f64());
        }
        let _ = writeln!(
            text,
            "{}, {} bytes",
            compile::direction(direction),
            frame.data.len()
        );
        if let Some(sight) = &why.seen {
            for line in self.fields(sight) {
                let _ = writeln!(text, "  {line}");
            }
            let slots = &self.loaded.prepared.record().slots;
            for reached in &why.layers {
                let _ = writeln!(text, "  {} layer", place::layer_title(reached.layer));
                let seen = Seen {
                    class: reached.class,
                    tables: &sight.tables,
                    work: &sight.work,
                    slots,
                    layer: reached.layer,
                    semantics: self.loaded.semantics,
                };
                for considered in &reached.rules {
                    self.considered(considered, &seen, &mut text);
                }
            }
        }
        let verdict = compile::verdict(decision.verdict);
        let _ = match decision.by {
            By::Fault(fault) => writeln!(text, "=> {verdict}: {}\n", fault.as_str()),
            By::Entry(layer, number) => {
                let by = self.entry(number).map_or_else(String::new, |entry| {
                    place::of_entry(entry, &self.loaded.prepared.resolved)
                });
                let layer = match self.entry(number) {
                    // These say it themselves.
                    Some(Entry::EndOfLayer(_) | Entry::Missing(_)) => String::new(),
                    _ => format!(" ({} layer)", place::layer_title(layer)),
                };
                writeln!(text, "=> {verdict}: {by}{layer}\n")
            }
        };
        text
    }

    /// The frame in words: what can be tested, and what is missing.
    fn fields(&self, sight: &Sight) -> Vec<String> {
        let slots = &self.loaded.prepared.record().slots;
        let seen = Seen {
            class: sight.class,
            tables: &sight.tables,
            work: &sight.work,
            slots,
            layer: TableLayer::Inet,
            semantics: self.loaded.semantics,
        };
        let mut known = Vec::new();
        let mut missing = Vec::new();
        for field in Field::ALL {
            let is_low_half = matches!(field, Field::Ip6SrcLow | Field::Ip6DstLow);
            if is_low_half || !is_meaningful(field, sight) {
                continue;
            }
            match seen.known(field) {
                Known::Value(_) => known.push(format!(
                    "{} {}",
                    condition::subject(field),
                    frame_value(&seen, field)
                )),
                Known::Missing => missing.push(condition::subject(field)),
                Known::Ignored | Known::Absent => {}
            }
        }
        let mut lines = vec![known.join(", ")];
        if !missing.is_empty() {
            lines.push(format!("missing: {}", missing.join(", ")));
        }
        lines
    }

    fn considered(&self, considered: &Considered<'_>, seen: &Seen<'_>, text: &mut String) {
        let rule = considered.rule;
        let resolved = &self.loaded.prepared.resolved;
        let at = self
            .entry(rule.entry)
            .map_or_else(String::new, |entry| place::of_entry(entry, resolved));
        let result = match considered.ending {
            Ending::NoMatch => "does not match".into(),
            Ending::Decided(verdict, entry) if entry == rule.entry => {
                compile::verdict(verdict).to_owned()
            }
            Ending::Decided(verdict, _) => {
                format!("{}, a header is missing", compile::verdict(verdict))
            }
            Ending::Skip(_) => "returns from the chain".into(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {at}: {result}");
        for (test, holds) in &considered.tests {
            let says = condition(test, seen.slots);
            let _ = match holds {
                Some(true) => writeln!(text, "      yes  {says}"),
                Some(false) => writeln!(text, "      no   {says}; {}", instead(test, seen)),
                None => writeln!(text, "      ?    {says}; the frame ends before"),
            };
        }
    }
}

/// What a frame has in place of what a condition asks for.
fn instead(test: &Condition, seen: &Seen<'_>) -> String {
    match seen.known(test.field()) {
        Known::Value(value) => match test {
            Condition::In(field, _) => format!("it is {}", condition::value(*field, value)),
            Condition::Slots(test, _) => format!("it is {}", frame_value(seen, test.field)),
            Condition::Bit(_, true) => "it has none".into(),
            Condition::Bit(_, false) => "it has one".into(),
            Condition::Limit(_, true) => "it has not".into(),
            Condition::Set(_, true) => "it is not".into(),
            Condition::Set(_, false) => "it is".into(),
            Condition::Limit(_, false) => "it has more".into(),
        },
        _ => "such frames have none".into(),
    }
}

/// A field's value; of an IPv6 address both halves.
fn frame_value(seen: &Seen<'_>, field: Field) -> String {
    let Known::Value(value) = seen.known(field) else {
        return "none".into();
    };
    match field.low_half() {
        None => condition::value(field, value),
        Some(low) => condition::address6(value, seen.work.fields[low.index()]).to_string(),
    }
}

/// ARP addresses are only there if they are of the usual kinds, and a connection's state if a rule
/// asks for it.
fn is_meaningful(field: Field, sight: &Sight) -> bool {
    let fields = &sight.work.fields;
    match field {
        Field::CtState => sight.connection.is_some(),
        Field::ArpSrcMac | Field::ArpDstMac => fields[Field::ArpMacs.index()] != 0,
        Field::ArpSrcIp | Field::ArpDstIp | Field::ArpGratuitous => {
            fields[Field::ArpIps.index()] != 0
        }
        // Options are looked for if a rule asks, and said there.
        Field::TcpOptionsBroken
        | Field::TcpOptions0
        | Field::TcpOptions1
        | Field::TcpOptions2
        | Field::TcpOptions3 => false,
        _ => true,
    }
}

/// A stable word for a fault.
const fn fault_reason(fault: Fault) -> &'static str {
    match fault {
        Fault::None => "none",
        Fault::ShortFrame => "short_frame",
        Fault::NoRecord => "no_record",
        Fault::NoImage => "no_image",
        Fault::BadImage => "bad_image",
    }
}
