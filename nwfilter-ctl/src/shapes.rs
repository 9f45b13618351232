//! What bindings have in common. Two VMs with the same filters and different addresses have the same
//! tables and differ in their slots alone; so the tables are made once, as a *shape*, and for every
//! further VM only the slots are. No I/O, and nothing of the kernel.

mod learning;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use learning::Lack;
use nwfilter_common::Slot;

use crate::{
    compile::{Entry, Image, SlotSource},
    format::format_rule,
    kernel::{Bind, Learn},
    model::{self, Binding, Datum, Rule, Semantics},
    prepare::{PrepareError, Prepared, prepare},
    resolve::{FilterSource, Resolved, read_value, standard_parameters},
};

/// What bindings have in common.
#[derive(Debug)]
pub struct Shape {
    /// The match tables.
    pub image: Image,
    /// What their leaves refer to.
    pub entries: Vec<Entry>,
    /// What each entry is, whatever its number and line: a rule of the same filter with the same
    /// text is the same rule.
    pub identities: Arc<[u64]>,
    /// Names of all filters that the rules are from.
    pub filters: BTreeSet<Arc<str>>,
}

/// A binding that is ready to be enforced.
#[derive(Clone, Debug)]
pub struct Shaped {
    /// Shared with others.
    pub shape: Arc<Shape>,
    /// Its own.
    pub slots: Box<[Slot]>,
    /// What the VM's addresses are learned from.
    pub learn: Learn,
    /// The shape of the binding's own filter, while that is not enforced because addresses are
    /// unknown.
    pub own: Option<Arc<Shape>>,
}

impl Shaped {
    /// What to tell the datapath to enforce this on a port.
    pub fn bind<'a>(&'a self, port: &'a str) -> Bind<'a> {
        Bind {
            port,
            image: Some(&self.shape.image),
            slots: &self.slots,
            entries: self.shape.entries.len() as u32,
            identities: Some(&self.shape.identities),
            learn: self.learn,
        }
    }

    /// Whether a filter is part of the binding's.
    pub fn uses(&self, filter: &str) -> bool {
        self.own
            .as_ref()
            .unwrap_or(&self.shape)
            .filters
            .contains(filter)
    }
}

/// How to make the slots of a binding that differs from another one only in its addresses.
#[derive(Clone, Debug)]
struct Template {
    shape: Arc<Shape>,
    /// Variables of the binding by name: the number of their values, and the values where they are
    /// in the tables.
    variables: Vec<(String, usize, Option<Vec<String>>)>,
    sources: Vec<SlotSource>,
    /// Number of slots.
    slots: usize,
}

/// The shapes in use.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    semantics: Semantics,
    /// By the binding's filter.
    templates: HashMap<String, Vec<Template>>,
    /// What bindings lack, by their filter.
    lacking: HashMap<String, Vec<Lack>>,
}

impl Shapes {
    /// None yet.
    pub fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            templates: HashMap::new(),
            lacking: HashMap::new(),
        }
    }

    /// Those that a change of a filter leaves as they are.
    pub fn without(&self, filter: &str) -> Self {
        let mut shapes = self.clone();
        shapes.lacking.clear();
        shapes.retain(|template| !template.shape.filters.contains(filter));
        shapes
    }

    /// Forgets shapes that no binding has any more.
    pub fn collect(&mut self) {
        self.retain(|template| Arc::strong_count(&template.shape) > 1);
    }

    fn retain(&mut self, keep: impl Fn(&Template) -> bool) {
        self.templates.retain(|_, templates| {
            templates.retain(&keep);
            !templates.is_empty()
        });
    }

    /// Makes a binding ready. All calls must be with the same filters.
    ///
    /// # Errors
    ///
    /// See [`PrepareError`].
    pub fn prepare(
        &mut self,
        binding: &Binding,
        filters: &dyn FilterSource,
    ) -> Result<Shaped, PrepareError> {
        let templates = self.templates.get(&binding.filter).into_iter().flatten();
        for template in templates {
            if let Some(slots) = template.slots(binding, self.semantics) {
                return Ok(Shaped {
                    shape: Arc::clone(&template.shape),
                    slots,
                    learn: Learn::default(),
                    own: None,
                });
            }
        }
        let Prepared { resolved, compiled } = prepare(binding, filters, self.semantics)?;
        let shape = Arc::new(Shape {
            identities: identities(&compiled.entries, &resolved).into(),
            filters: resolved.filters.keys().cloned().collect(),
            image: compiled.image,
            entries: compiled.entries,
        });
        let template = Template {
            shape: Arc::clone(&shape),
            variables: variables(binding, &resolved, &compiled.sources),
            sources: compiled.sources,
            slots: compiled.slots.len(),
        };
        let slots: Box<[Slot]> = compiled.slots.into();
        // Where what is in a slot is not what the template would put there, there is no template:
        // several elements of a variable were taken together because they are equal.
        if template.slots(binding, self.semantics).as_ref() == Some(&slots) {
            let same = self.templates.entry(binding.filter.clone()).or_default();
            same.push(template);
        }
        Ok(Shaped {
            shape,
            slots,
            learn: Learn::default(),
            own: None,
        })
    }
}

impl Template {
    /// The slots of a binding, if the shape is its own too.
    fn slots(&self, binding: &Binding, semantics: Semantics) -> Option<Box<[Slot]>> {
        let parameters = standard_parameters(binding).0;
        if parameters.len() != self.variables.len() {
            return None;
        }
        for ((name, values), (own, count, fixed)) in parameters.iter().zip(&self.variables) {
            if name != own || values.len() != *count || !all_different(values) {
                return None;
            }
            if fixed.as_ref().is_some_and(|fixed| fixed != values) {
                return None;
            }
        }
        let mut slots = vec![None; self.slots];
        for source in &self.sources {
            let values = parameters.get(&*source.variable.name)?;
            let text = values.get(source.variable.index as usize)?;
            let datum = read_value(source.protocol, source.attr, text, semantics)?;
            let words = words(&datum)?;
            if words.len() != source.masks.len() {
                return None;
            }
            let places = slots.iter_mut().skip(source.first.into());
            for ((place, word), &mask) in places.zip(words).zip(&source.masks) {
                let value = word & mask;
                let slot = Slot { value, mask };
                // Two ways to read the same text must agree.
                if place.replace(slot).is_some_and(|other| other != slot) {
                    return None;
                }
            }
        }
        slots.into_iter().collect()
    }
}

fn all_different(values: &[String]) -> bool {
    let mut seen = HashSet::new();
    values.len() < 2 || values.iter().all(|value| seen.insert(value))
}

/// An address as slots hold it.
fn words(datum: &Datum) -> Option<Vec<u64>> {
    Some(match datum {
        Datum::Mac(mac) => vec![mac.to_u64()],
        Datum::Ipv4(address) => vec![u64::from(u32::from(*address))],
        Datum::Ipv6(address) => {
            let bits = u128::from(*address);
            vec![(bits >> 64) as u64, bits as u64]
        }
        _ => return None,
    })
}

/// The variables of a binding, with their values unless these are nowhere but in slots.
fn variables(
    binding: &Binding,
    resolved: &Resolved,
    sources: &[SlotSource],
) -> Vec<(String, usize, Option<Vec<String>>)> {
    let mut fixed: BTreeSet<&str> = BTreeSet::new();
    for instance in &resolved.instances {
        for test in &instance.tests {
            let Some(variable) = &test.variable else {
                continue;
            };
            let read = |source: &SlotSource| {
                source.variable.name == variable.name
                    && (source.protocol, source.attr) == (instance.protocol, test.attr)
            };
            if !sources.iter().any(read) {
                fixed.insert(&variable.name);
            }
        }
    }
    // A name that a reference gives a value, too, may stand for either.
    for filter in resolved.filters.values() {
        for entry in &filter.filter().entries {
            if let model::Entry::Reference(reference) = entry {
                fixed.extend(reference.parameters.0.keys().map(String::as_str));
            }
        }
    }
    let parameters = standard_parameters(binding).0;
    let variables = parameters.into_iter().map(|(name, values)| {
        let count = values.len();
        let values = fixed.contains(name.as_str()).then_some(values);
        (name, count, values)
    });
    variables.collect()
}

/// What each entry is.
fn identities(entries: &[Entry], resolved: &Resolved) -> Vec<u64> {
    // Rules of a filter by number: their text, and how many of the same text come before.
    let mut rules: BTreeMap<&str, Vec<(String, usize)>> = BTreeMap::new();
    for (name, filter) in &resolved.filters {
        let mut before: HashMap<String, usize> = HashMap::new();
        let rule = |rule: &Rule| {
            let text = format_rule(rule);
            let count = before.entry(text.clone()).or_default();
            *count += 1;
            (text, *count)
        };
        let entries = filter.filter().entries.iter();
        let own = entries.filter_map(|entry| match entry {
            model::Entry::Rule(rule) => Some(rule),
            model::Entry::Reference(_) => None,
        });
        rules.insert(name, own.map(rule).collect());
    }
    let identity = |entry: &Entry| {
        let mut hasher = DefaultHasher::new();
        match entry {
            Entry::Rule(origin) => {
                let own = rules.get(&*origin.filter);
                let rule = own.and_then(|rules| rules.get(origin.rule as usize));
                (&origin.filter, rule).hash(&mut hasher);
            }
            other => other.hash(&mut hasher),
        }
        hasher.finish()
    };
    entries.iter().map(identity).collect()
}

#[cfg(test)]
mod tests {
    use nwfilter_common::MacAddr;
    use proptest::prelude::*;

    use super::*;
    use crate::{builtin::Flavour, model::Parameters, parse::parse_filter, resolve::LoadedFilter};

    fn filters(documents: &[&str]) -> BTreeMap<String, Arc<LoadedFilter>> {
        let parsed = documents.iter().map(|text| {
            let filter = parse_filter(text, Semantics::Strict).0.unwrap();
            let name = filter.name.clone();
            (name, Arc::new(LoadedFilter::new(filter, *text, None)))
        });
        parsed.collect()
    }

    fn binding(filter: &str, mac: u8, parameters: &[(&str, &[&str])]) -> Binding {
        let list = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        let parameters = parameters.iter();
        Binding {
            owner_name: "vm".into(),
            owner_uuid: uuid::Uuid::nil(),
            port: format!("vm{mac}"),
            link: None,
            mac: MacAddr([2, 0, 0, 0, 0, mac]),
            filter: filter.into(),
            parameters: Parameters(
                parameters
                    .map(|(name, values)| ((*name).to_owned(), list(values)))
                    .collect(),
            ),
        }
    }

    /// The shapes of some bindings of one filter, each checked against what is made from scratch.
    fn shaped(
        filters: &dyn FilterSource,
        bindings: &[Binding],
        semantics: Semantics,
    ) -> Vec<Result<Shaped, String>> {
        let mut shapes = Shapes::new(semantics);
        let each = bindings.iter().map(|binding| {
            let shared = shapes.prepare(binding, filters);
            let alone = prepare(binding, filters, semantics);
            match (&shared, &alone) {
                (Ok(shared), Ok(alone)) => {
                    assert_eq!(shared.shape.image, alone.compiled.image, "{binding:?}");
                    assert_eq!(shared.shape.entries, alone.compiled.entries);
                    assert_eq!(*shared.slots, *alone.compiled.slots, "{binding:?}");
                }
                (Err(shared), Err(alone)) => assert_eq!(shared.to_string(), alone.to_string()),
                other => panic!("{other:?}"),
            }
            shared.map_err(|error| error.to_string())
        });
        each.collect()
    }

    fn same(shaped: &[Result<Shaped, String>], one: usize, other: usize) -> bool {
        let shape = |number: usize| &shaped[number].as_ref().unwrap().shape;
        Arc::ptr_eq(shape(one), shape(other))
    }

    #[test]
    fn vms_with_other_addresses_share_their_tables() {
        let builtin = crate::resolve::FilterDir::builtin(Flavour::default(), Semantics::Strict);
        let bind = |mac, ips: &[&str]| binding("clean-traffic", mac, &[("IP", ips)]);
        let shaped = shaped(
            &builtin,
            &[
                bind(1, &["10.0.0.1"]),
                bind(2, &["10.0.0.2"]),
                bind(3, &["10.0.0.3", "10.0.0.4"]),
                bind(4, &["10.0.0.5", "10.0.0.5"]),
                bind(5, &["nonsense"]),
                bind(6, &["10.0.0.7", "10.0.0.6"]),
            ],
            Semantics::Strict,
        );
        assert!(same(&shaped, 0, 1));
        assert!(!same(&shaped, 0, 2));
        assert!(same(&shaped, 2, 5));
        assert!(shaped[4].is_err());
    }

    #[test]
    fn what_is_in_the_tables_is_not_shared_by_those_who_differ_in_it() {
        let filters = filters(&[
            "<filter name='f'>
               <rule action='accept' direction='out'><tcp srcipaddr='$A' dstportstart='$P'/></rule>
               <rule action='drop' direction='inout'/>
             </filter>",
            "<filter name='outer'><filterref filter='f'><parameter name='A' value='10.0.0.1'/>
             </filterref><filterref filter='g'/></filter>",
            "<filter name='g'><rule action='drop' direction='in'><ip srcipaddr='$A'/></rule></filter>",
        ]);
        let bind =
            |filter, mac, a: &str, p: &str| binding(filter, mac, &[("A", &[a]), ("P", &[p])]);
        let shaped = shaped(
            &filters,
            &[
                bind("f", 1, "10.0.0.1", "80"),
                bind("f", 2, "10.0.0.2", "80"),
                bind("f", 3, "10.0.0.1", "81"),
                bind("outer", 4, "10.0.0.1", "80"),
                bind("outer", 5, "10.0.0.2", "80"),
                bind("outer", 6, "10.0.0.2", "80"),
            ],
            Semantics::Strict,
        );
        assert!(same(&shaped, 0, 1));
        assert!(!same(&shaped, 0, 2));
        assert!(!same(&shaped, 3, 4));
        assert!(same(&shaped, 4, 5));
    }

    #[test]
    fn a_rule_is_the_same_wherever_it_stands() {
        let rule = |port: u16| {
            format!("<rule action='drop' direction='out'><tcp dstportstart='{port}'/></rule>\n")
        };
        let identities = |ports: &[u16]| {
            let rules: String = ports.iter().map(|port| rule(*port)).collect();
            let filters = filters(&[&format!("<filter name='f'>{rules}</filter>")]);
            let mut shapes = Shapes::new(Semantics::Strict);
            let shaped = shapes.prepare(&binding("f", 1, &[]), &filters).unwrap();
            let first = Entry::DEFAULTS.len();
            shaped.shape.identities[first..].to_vec()
        };
        let [one, two] = identities(&[1, 2])[..] else {
            panic!("two rules");
        };
        assert_eq!(identities(&[2, 3, 1])[..1], [two]);
        assert_eq!(identities(&[2, 3, 1])[2..], [one]);
        let twice = identities(&[1, 1]);
        assert_eq!(twice[0], one);
        assert_ne!(twice[1], one);
    }

    proptest! {
        /// Whatever the values are, one after the other, the shared way is as good as the other.
        #[test]
        fn slots_are_what_they_would_be(
            lists in proptest::collection::vec(
                (
                    proptest::collection::vec(0_u8..4, 1..4),
                    proptest::collection::vec(0_u8..4, 1..4),
                    0_u8..3,
                ),
                1..8,
            ),
            strict: bool,
        ) {
            let filters = filters(&[
                "<filter name='f'>
                   <rule action='return' direction='out'><ip srcipaddr='$A' match='no'/></rule>
                   <rule action='drop' direction='out'><ip srcipaddr='$A' srcipmask='$M'/></rule>
                   <rule action='accept' direction='in'>
                     <ip srcipaddr='$A' dstipaddr='$B[@1]'/></rule>
                   <rule action='drop' direction='inout'><arp arpsrcipaddr='$B'/></rule>
                 </filter>",
            ]);
            let semantics = if strict { Semantics::Strict } else { Semantics::Libvirt };
            let text = |value: &u8| format!("10.0.0.{value}");
            let bindings: Vec<Binding> = lists
                .iter()
                .map(|(a, b, mask)| {
                    let (a, b): (Vec<_>, Vec<_>) =
                        (a.iter().map(text).collect(), b.iter().map(text).collect());
                    let [a, b] = [&a, &b]
                        .map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
                    let mask = (24 + mask).to_string();
                    binding("f", 1, &[("A", &a), ("B", &b), ("M", &[&mask])])
                })
                .collect();
            shaped(&filters, &bindings, semantics);
        }
    }
}
