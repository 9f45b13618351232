//! The filters that are measured.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use anyhow::{Result, anyhow};
use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    builtin::Flavour,
    model::Semantics,
    parse::parse_filter,
    prepare::{Prepared, prepare},
    resolve::{FilterDir, FilterSource, LoadedFilter, SourceError},
};
use nwfilter_tests::bind::binding;

/// The VM of the benchmarks.
pub(crate) const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Its address.
pub(crate) const IP: [u8; 4] = [10, 0, 0, 1];

/// The built-in filters, and some more.
struct Filters(FilterDir, BTreeMap<String, Arc<LoadedFilter>>);

impl FilterSource for Filters {
    fn get(&self, name: &str) -> Result<Arc<LoadedFilter>, SourceError> {
        self.1
            .get(name)
            .map_or_else(|| self.0.get(name), |filter| Ok(Arc::clone(filter)))
    }
}

/// Tables of a built-in filter for a port.
pub(crate) fn builtin(port: &str, name: &str) -> Result<Prepared> {
    bind(port, name, BTreeMap::new())
}

/// Tables of a filter given as XML.
pub(crate) fn given(port: &str, text: &str) -> Result<Prepared> {
    let (filter, findings) = parse_filter(text, Semantics::Strict);
    let filter = filter.ok_or_else(|| anyhow!("{findings:?}"))?;
    let name = filter.name.clone();
    let loaded = Arc::new(LoadedFilter::new(filter, text, None));
    bind(port, &name, [(name.clone(), loaded)].into())
}

fn bind(port: &str, filter: &str, more: BTreeMap<String, Arc<LoadedFilter>>) -> Result<Prepared> {
    let ip = std::net::Ipv4Addr::from(IP).to_string();
    let binding = binding(port, MAC, filter, &[("IP", &ip)]);
    let builtin = FilterDir::builtin(Flavour::default(), Semantics::Strict);
    Ok(prepare(
        &binding,
        &Filters(builtin, more),
        Semantics::Strict,
    )?)
}

/// How the rules of a long filter relate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Each rule is about another source network, as lists of peers are.
    Sparse,
    /// Rules overlap in all fields.
    Dense,
}

/// A filter of so many rules, none of which matches the benchmark's frame; then one that accepts it.
pub(crate) fn long(shape: Shape, rules: u32) -> String {
    let mut text = format!("<filter name='long-{shape:?}-{rules}' chain='ipv4'>\n");
    // A small linear congruential generator: the same filter every time.
    let mut state = 12345u32;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for i in 0..rules {
        let tests = match shape {
            Shape::Sparse => {
                let (b, c) = (i / 256, i % 256);
                let port = 1 + random(60000);
                format!(
                    "srcipaddr='172.{}.{c}.0' srcipmask='24' protocol='tcp' dstportstart='{port}'",
                    16 + b
                )
            }
            Shape::Dense => {
                let (source, destination) = (random(32), random(32));
                let (low, port) = (1024 + random(30000), random(2000));
                format!(
                    "srcipaddr='10.{source}.0.0' srcipmask='{}' dstipaddr='10.{destination}.0.0' \
                     dstipmask='{}' protocol='tcp' srcportstart='{low}' srcportend='{}' \
                     dstportstart='{port}' dstportend='{}'",
                    9 + random(8),
                    9 + random(8),
                    low + random(20000),
                    port + random(1000),
                )
            }
        };
        let _ = writeln!(
            text,
            "<rule action='drop' direction='out' priority='500'><ip {tests}/></rule>"
        );
    }
    text.push_str(
        "<rule action='accept' direction='out' priority='900'><ip protocol='tcp'/></rule></filter>",
    );
    text
}
