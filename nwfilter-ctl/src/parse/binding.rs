//! `<filterbinding>`: one port and its filter (section 6.1 of the semantics reference).

use nwfilter_common::MacAddr;
use uuid::Uuid;

use super::{
    document::{Reader, quoted, uuid},
    value::mac,
};
use crate::{
    diag::{Code, Diagnostic},
    model::{Binding, Parameters},
    xml::Element,
};

const PARTS: [&str; 5] = ["owner", "portdev", "linkdev", "mac", "filterref"];

/// Reads the root element `<filterbinding>`, or `<filterbindingstatus>` around it.
pub(super) fn binding(reader: &mut Reader, root: &Element<'_>) -> Option<Binding> {
    if root.name == "filterbindingstatus" {
        reader.stray_text(root);
        for child in root
            .children
            .iter()
            .filter(|child| child.name != "filterbinding")
        {
            reader.unknown_element(root, child, ["filterbinding"]);
        }
        let Some(binding) = root.child("filterbinding") else {
            incomplete(
                reader,
                root,
                "no `<filterbinding>`",
                "a `<filterbinding>` inside",
            );
            return None;
        };
        return filterbinding(reader, binding);
    }
    filterbinding(reader, root)
}

fn filterbinding(reader: &mut Reader, root: &Element<'_>) -> Option<Binding> {
    reader.unknown_attributes(root, &[]);
    reader.stray_text(root);
    only_first(reader, root, &PARTS);
    let owner = owner(reader, root);
    let port = device(reader, root, "portdev");
    let link = match root.child("linkdev") {
        Some(_) => device(reader, root, "linkdev").map(Some),
        None => Some(None),
    };
    let mac = mac_address(reader, root);
    let filter = filter(reader, root);
    let (owner_name, owner_uuid) = owner?;
    let (filter, parameters) = filter?;
    Some(Binding {
        owner_name,
        owner_uuid,
        port: port?,
        link: link?,
        mac: mac?,
        filter,
        parameters,
    })
}

fn incomplete(reader: &mut Reader, element: &Element<'_>, what: &str, expected: &str) {
    let message = format!("the binding has {what}");
    reader.report(
        Diagnostic::new(Code::IncompleteBinding, element.name_span, message).expected(expected),
    );
}

/// Warns of children that are unknown or repeated.
fn only_first(reader: &mut Reader, element: &Element<'_>, known: &[&str]) {
    for (index, child) in element.children.iter().enumerate() {
        if !known.contains(&child.name) {
            reader.unknown_element(element, child, known.iter().copied());
        } else if let Some(first) = element.children[..index]
            .iter()
            .find(|first| first.name == child.name)
        {
            let message = format!("only the first `<{}>` counts", child.name);
            reader.report(
                Diagnostic::new(Code::ElementIgnored, child.name_span, message)
                    .also(first.name_span, "this one"),
            );
        }
    }
}

fn owner(reader: &mut Reader, root: &Element<'_>) -> Option<(String, Uuid)> {
    let Some(owner) = root.child("owner") else {
        let expected = "`<owner>` with the `<name>` and the `<uuid>` of a VM";
        incomplete(reader, root, "no owner", expected);
        return None;
    };
    reader.unknown_attributes(owner, &[]);
    reader.stray_text(owner);
    only_first(reader, owner, &["name", "uuid"]);
    let text = |name| owner.child(name).filter(|child| !child.text.is_empty());
    let name = text("name").map(|name| name.text.clone());
    if name.is_none() {
        incomplete(
            reader,
            owner,
            "no name of the owner",
            "`<name>` with the name of a VM",
        );
    }
    let Some(given) = text("uuid") else {
        incomplete(
            reader,
            owner,
            "no UUID of the owner",
            "`<uuid>` with the UUID of a VM",
        );
        return None;
    };
    let parsed = uuid(&given.text);
    if parsed.is_none() {
        let message = format!("`{}` is no UUID", given.text.trim());
        reader.report(
            Diagnostic::new(
                Code::MalformedUuid,
                given.text_span.unwrap_or(given.tag),
                message,
            )
            .expected("32 hexadecimal digits, such as `fce8ae33-e69e-83bf-262e-30786c1f8072`"),
        );
    }
    Some((name?, parsed?))
}

fn device(reader: &mut Reader, root: &Element<'_>, element: &str) -> Option<String> {
    let Some(device) = root.child(element) else {
        let what = format!("no `<{element}>`");
        incomplete(
            reader,
            root,
            &what,
            &format!("`<{element} name='DEVICE'/>`"),
        );
        return None;
    };
    reader.unknown_attributes(device, &["name"]);
    reader.no_content(device);
    let Some(name) = device
        .attribute("name")
        .filter(|name| !name.value.is_empty())
    else {
        reader.missing(device, "name", "the name of a network device");
        return None;
    };
    if name.value.contains('/') {
        let message = format!("`{}` cannot be the name of a device", name.value);
        reader.report(
            Diagnostic::new(Code::IllegalValue, name.span, message).expected("a name without `/`"),
        );
        return None;
    }
    Some(name.value.to_string())
}

fn mac_address(reader: &mut Reader, root: &Element<'_>) -> Option<MacAddr> {
    let Some(element) = root.child("mac") else {
        incomplete(
            reader,
            root,
            "no MAC address",
            "`<mac address='52:54:00:12:34:56'/>`",
        );
        return None;
    };
    reader.unknown_attributes(element, &["address"]);
    reader.no_content(element);
    let Some(address) = element.attribute("address") else {
        reader.missing(
            element,
            "address",
            "a MAC address such as `52:54:00:12:34:56`",
        );
        return None;
    };
    let parsed = mac(&address.value);
    if parsed.is_none() {
        let message = format!("`address` has the illegal value `{}`", address.value);
        reader.report(
            Diagnostic::new(Code::IllegalValue, quoted(address.span), message)
                .expected("a MAC address such as `52:54:00:12:34:56`"),
        );
    }
    parsed
}

fn filter(reader: &mut Reader, root: &Element<'_>) -> Option<(String, Parameters)> {
    let Some(reference) = root.child("filterref") else {
        incomplete(reader, root, "no filter", "`<filterref filter='NAME'/>`");
        return None;
    };
    reader.unknown_attributes(reference, &["filter"]);
    let parameters = reader.parameters(reference);
    let Some(filter) = reference
        .attribute("filter")
        .filter(|filter| !filter.value.is_empty())
    else {
        reader.missing(reference, "filter", "the name of a filter");
        return None;
    };
    Some((filter.value.to_string(), parameters))
}
