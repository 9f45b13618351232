//! Properties that hold for any filter: resolving is deterministic, bounded and complete.

use proptest::prelude::*;

use super::{Filters, top};
use crate::model::Semantics;
use crate::resolve::{Limits, ResolveError};

/// An access of one of three variables, or a literal.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[1-9]",
        "\\$[ABC]",
        "\\$[ABC]\\[@[0-3]\\]",
        "\\$[ABC]\\[[0-2]\\]",
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let attrs = [
        "srcportstart",
        "srcportend",
        "dstportstart",
        "dscp",
        "option",
    ];
    let tests = attrs.map(|attr| {
        proptest::option::of((value(), any::<bool>())).prop_map(move |test| match test {
            Some((value, negated)) => format!(" {}{attr}={value}", if negated { "!" } else { "" }),
            None => String::new(),
        })
    });
    (-3..3, Vec::from(tests))
        .prop_map(|(priority, tests)| format!("out accept {priority} tcp{}\n", tests.concat()))
}

fn list() -> impl Strategy<Value = String> {
    prop::collection::vec(1..5_u8, 1..4).prop_map(|values| {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        values.join(",")
    })
}

/// `top` with rules and references to `low`, which has rules; and the binding's parameters.
fn case() -> impl Strategy<Value = (Filters, String)> {
    let reference = proptest::option::of(list()).prop_map(|values| match values {
        Some(values) => format!("ref low A={values}\n"),
        None => "ref low\n".into(),
    });
    let entry = prop_oneof![3 => rule(), 1 => reference];
    (
        prop::collection::vec(entry, 0..5),
        prop::collection::vec(rule(), 0..4),
        [list(), list(), list()],
    )
        .prop_map(|(entries, low, [a, b, c])| {
            let filters = top(&entries.concat()).root("low", &low.concat());
            (filters, format!("A={a} B={b} C={c}"))
        })
}

proptest! {
    #[test]
    fn resolving_twice_gives_the_same((filters, parameters) in case()) {
        for semantics in [Semantics::Strict, Semantics::Libvirt] {
            let outcome = || match filters.resolve(&parameters, semantics) {
                Ok(resolved) => Ok((resolved.instances, resolved.warnings)),
                Err(error) => Err(error.to_string()),
            };
            prop_assert_eq!(outcome(), outcome());
        }
    }

    #[test]
    fn tests_have_the_values_that_the_semantics_allow((filters, parameters) in case()) {
        for semantics in [Semantics::Strict, Semantics::Libvirt] {
            let Ok(resolved) = filters.resolve(&parameters, semantics) else { continue };
            for test in resolved.instances.iter().flat_map(|instance| &instance.tests) {
                let may_be_several = test.negated && semantics == Semantics::Strict;
                prop_assert!(!test.values.is_empty());
                prop_assert!(test.values.len() == 1 || may_be_several, "{}", test);
            }
        }
    }

    #[test]
    fn without_negation_both_semantics_agree((filters, parameters) in case()) {
        let mut positive = Filters::default();
        for (name, filter) in &filters.0 {
            positive = positive.root(name, &filter.text().replace('!', ""));
        }
        let instances = |semantics| {
            let resolved = positive.resolve(&parameters, semantics);
            resolved.map(|resolved| resolved.instances).map_err(|error| error.to_string())
        };
        prop_assert_eq!(instances(Semantics::Strict), instances(Semantics::Libvirt));
    }

    #[test]
    fn no_limit_is_exceeded((filters, parameters) in case(), rules in 0..20_usize, tests in 0..40_usize) {
        let limits = Limits { rules, tests, ..Limits::default() };
        match filters.resolve_within(&parameters, limits) {
            Ok(resolved) => {
                prop_assert!(resolved.instances.len() <= rules);
                let values = resolved.instances.iter().flat_map(|instance| &instance.tests);
                prop_assert!(values.map(|test| test.values.len()).sum::<usize>() <= tests);
            }
            Err(ResolveError::Limit { .. }) => {}
            Err(error) => {
                let unlimited = filters.resolve(&parameters, Semantics::Strict);
                prop_assert_eq!(unlimited.unwrap_err().to_string(), error.to_string());
            }
        }
    }
}
