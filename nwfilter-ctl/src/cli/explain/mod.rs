//! `nwfilter-ctl explain`: what happens to frames, and why. Frames go in order through one engine,
//! in userspace or, with `--kernel`, through the real program.

mod capture;
mod judge;
mod kernel;
mod report;

use std::{
    fs::File,
    io::{Read as _, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use nwfilter_common::{FrameDirection, MacAddr};

pub use self::capture::CaptureError;
use self::{capture::Frame, judge::Judge, report::Report};
use super::{
    CliError, Global, Outcome,
    load::{self, BindingArgs},
};

/// Say what happens to packets, which rule decides and why
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// What to explain.
    #[command(flatten)]
    pub source: BindingArgs,

    /// Seen from the VM; without it, what a pcapng file says of each frame, else a frame with the
    /// binding's MAC as source is one that goes out
    #[arg(long, value_enum)]
    pub direction: Option<DirectionArg>,

    /// Frames to explain.
    #[command(flatten)]
    pub frames: FramesArgs,

    /// Run the frames through the program in the kernel (root)
    #[arg(long)]
    pub kernel: bool,
}

/// Where the frames come from.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct FramesArgs {
    /// A frame from its Ethernet header on, in hexadecimal; blanks and `:` may stand between
    /// octets. May be given several times
    #[arg(long, value_name = "HEX")]
    pub packet: Vec<String>,

    /// A pcap or pcapng file of Ethernet frames
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// `--direction`
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum DirectionArg {
    /// Enters the VM
    In,
    /// Leaves the VM
    Out,
}

impl From<DirectionArg> for FrameDirection {
    fn from(value: DirectionArg) -> Self {
        match value {
            DirectionArg::In => Self::In,
            DirectionArg::Out => Self::Out,
        }
    }
}

/// Why a text is no packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PacketError {
    /// Something else than a digit.
    #[error("character {0} is no hexadecimal digit")]
    NoDigit(usize),
    /// Half an octet.
    #[error("{0} hexadecimal digits, expected two for each octet")]
    Odd(usize),
    /// Nothing at all.
    #[error("expected two hexadecimal digits for each octet")]
    Empty,
}

/// Most bytes of a capture file; all of it is read before anything is decided.
const MAX_CAPTURE: u64 = 256 << 20;

/// Explains frames.
///
/// # Errors
///
/// See [`CliError`].
pub fn run(
    args: &ExplainArgs,
    global: &Global,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> Result<Outcome, CliError> {
    let frames = frames(&args.frames)?;
    let Some(loaded) = load::load(&args.source, global, out, errors)? else {
        return Ok(Outcome::Findings);
    };
    let given = args.direction.map(FrameDirection::from);
    let mac = loaded.binding.mac;
    let frames: Vec<(FrameDirection, Frame)> = frames
        .into_iter()
        .map(|frame| (given.unwrap_or_else(|| direction(&frame, mac)), frame))
        .collect();
    let mut from_kernel = if args.kernel {
        Some(kernel::decide_all(&loaded, &frames)?.into_iter())
    } else {
        None
    };
    // The kernel goes by its own clock, and gets all frames at once.
    let mut judge = Judge::new(&loaded, !args.kernel);
    let mut report = Report::new(&loaded, global.json, out, errors);
    for (index, (direction, frame)) in frames.iter().enumerate() {
        if frame.data.len() < frame.length {
            report.cut_off(index, frame)?;
        }
        let decision = match from_kernel.as_mut().and_then(Iterator::next) {
            None => None,
            Some(Some(decision)) => Some(decision),
            Some(None) => {
                report.not_run(index, frame.data.len())?;
                continue;
            }
        };
        let why = judge.judge(frame, *direction);
        let decision = decision.unwrap_or(why.decision);
        report.frame(index, *direction, frame, decision, &why)?;
    }
    report.finish()
}

fn frames(args: &FramesArgs) -> Result<Vec<Frame>, CliError> {
    let Some(path) = &args.pcap else {
        let packet = |text: &String| {
            packet(text)
                .map(Frame::whole)
                .map_err(|source| CliError::Packet {
                    text: text.clone(),
                    source,
                })
        };
        return args.packet.iter().map(packet).collect();
    };
    let failed = |source| CliError::File {
        path: path.clone(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_CAPTURE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let read = if bytes.len() as u64 > MAX_CAPTURE {
        Err(CaptureError::TooLarge(MAX_CAPTURE))
    } else {
        capture::read(&bytes)
    };
    read.map_err(|source| CliError::Capture {
        path: path.clone(),
        source,
    })
}

/// A frame's direction where nobody says it.
fn direction(frame: &Frame, mac: MacAddr) -> FrameDirection {
    frame.direction.unwrap_or_else(|| {
        if frame.data.get(6..12) == Some(&mac.0[..]) {
            FrameDirection::Out
        } else {
            FrameDirection::In
        }
    })
}

/// Octets in hexadecimal.
fn packet(text: &str) -> Result<Vec<u8>, PacketError> {
    let bare = text.strip_prefix("0x").unwrap_or(text);
    let skipped = text.len() - bare.len();
    let mut digits = Vec::new();
    for (position, character) in (skipped + 1..).zip(bare.chars()) {
        match character.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None if character == ':' || character.is_ascii_whitespace() => {}
            None => return Err(PacketError::NoDigit(position)),
        }
    }
    match digits.as_chunks::<2>() {
        ([], []) => Err(PacketError::Empty),
        (octets, []) => Ok(octets.iter().map(|[high, low]| high << 4 | low).collect()),
        _ => Err(PacketError::Odd(digits.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_hexadecimal() {
        assert_eq!(packet("0xFfa0"), Ok(vec![0xff, 0xa0]));
        assert_eq!(packet("ff:a0 01\n02"), Ok(vec![0xff, 0xa0, 1, 2]));
        assert_eq!(packet("ffa"), Err(PacketError::Odd(3)));
        assert_eq!(packet("ff-a0"), Err(PacketError::NoDigit(3)));
        assert_eq!(packet("0xz"), Err(PacketError::NoDigit(3)));
        assert_eq!(packet(""), Err(PacketError::Empty));
    }
}
