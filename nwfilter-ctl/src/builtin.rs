//! The filters that every libvirt host has, as XML text embedded in the binary. No parsing: see
//! `parse`; no precedence over files of the same name: see [`crate::resolve::FilterDir`].

/// Which release of libvirt the built-in filters follow.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Flavour {
    /// libvirt up to 11.x.
    #[default]
    V11,
    /// libvirt 12.8, whose `clean-traffic` and `clean-traffic-gateway` no longer drop unknown RARP
    /// (with the classic backend's meaning, by which a chain that ends accepts).
    V12_8,
}

/// Declares the table of names and texts of the default flavour.
macro_rules! table {
    ($($name:literal)+) => {
        &[ $( ($name, include_str!(concat!("../filters/", $name, ".xml"))), )+ ]
    };
}

/// Names and texts, sorted by name, of [`Flavour::V11`].
const FILTERS: &[(&str, &str)] = table! {
    "allow-arp"
    "allow-dhcp"
    "allow-dhcp-server"
    "allow-dhcpv6"
    "allow-dhcpv6-server"
    "allow-incoming-ipv4"
    "allow-incoming-ipv6"
    "allow-ipv4"
    "allow-ipv6"
    "clean-traffic"
    "clean-traffic-gateway"
    "no-arp-ip-spoofing"
    "no-arp-mac-spoofing"
    "no-arp-spoofing"
    "no-ip-multicast"
    "no-ip-spoofing"
    "no-ipv6-multicast"
    "no-ipv6-spoofing"
    "no-mac-broadcast"
    "no-mac-spoofing"
    "no-other-l2-traffic"
    "no-other-rarp-traffic"
    "qemu-announce-self"
    "qemu-announce-self-rarp"
};

/// The XML of the built-in filter of that name.
pub fn builtin(name: &str, flavour: Flavour) -> Option<&'static str> {
    match (flavour, name) {
        (Flavour::V12_8, "clean-traffic") => {
            Some(include_str!("../filters/12.8/clean-traffic.xml"))
        }
        (Flavour::V12_8, "clean-traffic-gateway") => {
            Some(include_str!("../filters/12.8/clean-traffic-gateway.xml"))
        }
        _ => {
            let index = FILTERS.binary_search_by_key(&name, |(name, _)| name).ok()?;
            Some(FILTERS[index].1)
        }
    }
}

/// The names of the built-in filters, sorted; the same in every flavour.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    FILTERS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_24_are_found_by_name() {
        assert_eq!(names().len(), 24);
        assert!(names().is_sorted());
        for name in names() {
            for flavour in [Flavour::V11, Flavour::V12_8] {
                let text = builtin(name, flavour).expect(name);
                assert!(text.contains(&format!("<filter name='{name}'")), "{name}");
            }
        }
        assert_eq!(builtin("clean", Flavour::V11), None);
    }

    #[test]
    fn only_clean_traffic_differs_between_flavours() {
        let different: Vec<_> = names()
            .filter(|name| builtin(name, Flavour::V11) != builtin(name, Flavour::V12_8))
            .collect();
        assert_eq!(different, ["clean-traffic", "clean-traffic-gateway"]);
    }
}
