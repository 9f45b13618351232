//! Three-valued logic: what a test says of a header field that may be missing. Nothing here knows
//! any field.

/// What a test says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Truth {
    /// It does not hold.
    False,
    /// It holds.
    True,
    /// The field should be there and is missing, so nobody can say.
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What a rule says of a frame: the AND of its tests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Match {
    /// Some test is false.
    No,
    /// Every test is true.
    Yes,
    /// No test is false, and one at least is unknown.
    Missing,
}

/// The AND of `tests`.
pub(super) fn all(tests: &[Truth]) -> Match {
    if tests.contains(&Truth::False) {
        Match::No
    } else if tests.contains(&Truth::Unknown) {
        Match::Missing
    } else {
        Match::Yes
    }
}

/// A header field of one frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Field<T> {
    /// It is there.
    Is(T),
    /// It counts as different from whatever it is compared with.
    Different,
    /// It should be there, but the frame is too short or broken.
    Unknown,
    /// This kind of frame has no such field: every test on it is false, negated or not.
    Absent,
}

impl<T> Field<T> {
    /// A test of this field.
    pub(super) fn test(&self, negated: bool, holds: impl FnOnce(&T) -> bool) -> Truth {
        match self {
            Self::Is(value) => Truth::from(holds(value) != negated),
            Self::Different => Truth::from(negated),
            Self::Unknown => Truth::Unknown,
            Self::Absent => Truth::False,
        }
    }

    /// A field that is a part of this one.
    pub(super) fn map<U>(&self, part: impl FnOnce(&T) -> U) -> Field<U> {
        self.then(|value| Field::Is(part(value)))
    }

    /// A field that this one has or has not.
    pub(super) fn then<U>(&self, part: impl FnOnce(&T) -> Field<U>) -> Field<U> {
        match self {
            Self::Is(value) => part(value),
            Self::Different => Field::Different,
            Self::Unknown => Field::Unknown,
            Self::Absent => Field::Absent,
        }
    }

    /// The value, if it is there.
    pub(super) fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_beats_unknown_beats_true() {
        use Truth::{False, True, Unknown};
        assert_eq!(all(&[]), Match::Yes);
        assert_eq!(all(&[True, True]), Match::Yes);
        assert_eq!(all(&[True, Unknown]), Match::Missing);
        assert_eq!(all(&[Unknown, False, True]), Match::No);
    }

    #[test]
    fn negation_turns_only_what_is_there() {
        assert_eq!(Field::Is(1).test(false, |v| *v == 1), Truth::True);
        assert_eq!(Field::Is(1).test(true, |v| *v == 1), Truth::False);
        assert_eq!(Field::<u8>::Different.test(false, |_| true), Truth::False);
        assert_eq!(Field::<u8>::Different.test(true, |_| true), Truth::True);
        assert_eq!(Field::<u8>::Unknown.test(true, |_| true), Truth::Unknown);
        assert_eq!(Field::<u8>::Absent.test(true, |_| true), Truth::False);
    }
}
