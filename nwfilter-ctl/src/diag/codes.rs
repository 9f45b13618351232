//! The registry of all findings. The CLI's `explain-code` and the page `docs/diagnostics.md` come
//! from this table.

use std::fmt::{self, Write};

use super::Severity;

macro_rules! codes {
    ($( $variant:ident = $number:literal, $severity:ident, $name:literal, $title:literal; )+) => {
        /// A kind of finding. Numbers are never used again for something else.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Code { $( #[doc = $title] $variant = $number, )+ }

        impl Code {
            /// All, by number.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Its usual severity.
            pub const fn severity(self) -> Severity {
                match self { $( Self::$variant => Severity::$severity, )+ }
            }

            /// A short name in kebab-case.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// One line.
            pub const fn title(self) -> &'static str {
                match self { $( Self::$variant => $title, )+ }
            }

            /// What it means, with an example, in Markdown.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $( Self::$variant => include_str!(concat!("explain/", $name, ".md")), )+
                }
            }
        }
    };
}

codes! {
    // The document as XML.
    DocumentTooLarge = 1, Error, "document-too-large", "the document is larger than 16 MiB";
    NotUtf8 = 2, Error, "not-utf8", "the document is not UTF-8";
    MalformedXml = 3, Error, "malformed-xml", "the document is not well-formed XML";
    RepeatedXmlAttribute = 4, Error, "repeated-xml-attribute", "an attribute appears twice in a tag";
    NestedTooDeeply = 5, Error, "nested-too-deeply", "elements are nested too deeply";
    TooManyElements = 6, Error, "too-many-elements", "the document has too many elements";
    DoctypeRefused = 7, Error, "doctype-refused", "document type declarations are refused";
    UnknownEntity = 8, Error, "unknown-entity", "a reference to an unknown entity";
    WrongRoot = 9, Error, "wrong-root", "the document is of another kind";
    TooManyFindings = 10, Warning, "too-many-findings", "not all findings are listed";

    // What is refused.
    MissingAttribute = 20, Error, "missing-attribute", "a required attribute is missing";
    IllegalValue = 21, Error, "illegal-value", "an attribute has an illegal value";
    MalformedVariable = 22, Error, "malformed-variable", "a value begins with `$` but is no variable";
    BadChain = 23, Error, "bad-chain", "no chain can have this name";
    BadChainPriority = 24, Error, "bad-chain-priority", "a chain priority is no number from -1000 to 1000";
    MalformedUuid = 25, Error, "malformed-uuid", "a UUID is malformed";
    PortsWithoutProtocol = 26, Error, "ports-without-protocol", "ports need a literal protocol that has ports";
    IncompleteBinding = 27, Error, "incomplete-binding", "a binding lacks a required part";
    FilterLoop = 28, Error, "filter-loop", "filters refer to each other in a loop";
    DuplicateFilter = 29, Error, "duplicate-filter", "two documents define the same filter";

    // What is silently ignored or changed.
    UnknownAttribute = 40, Warning, "unknown-attribute", "an unknown attribute is ignored";
    UnknownElement = 41, Warning, "unknown-element", "an unknown element is ignored";
    ElementIgnored = 42, Warning, "element-ignored", "a known element is ignored where it stands";
    RulePriorityReplaced = 43, Warning, "rule-priority-replaced", "an unusable rule priority becomes 500";
    ChainPriorityIgnored = 44, Warning, "chain-priority-ignored", "a priority without a chain is ignored";
    ParameterDropped = 45, Warning, "parameter-dropped", "a parameter is dropped";
    CommentTruncated = 46, Warning, "comment-truncated", "a comment is cut to 256 bytes";
    OddKeyword = 47, Warning, "odd-keyword", "a keyword is spelled in a way that means something else";
    AttributeOverwritten = 48, Warning, "attribute-overwritten", "an attribute of a rule is given twice";
    TextIgnored = 49, Warning, "text-ignored", "text is ignored";
    NumberWraps = 50, Warning, "number-wraps", "a negative number wraps around";
    SurprisingAddress = 51, Warning, "surprising-address", "an address is read in an old spelling";
    StpPriority = 52, Warning, "stp-priority", "an `stp` chain's default priority is 0";

    // What libvirt reads in another way than it is written.
    PortNegation = 60, Warning, "port-negation", "libvirt negates destination ports as source ports";
    SignChanged = 61, Warning, "sign-changed", "libvirt gives an attribute the sign of another one";
    IpSetLost = 62, Warning, "ipset-lost", "libvirt loses an address set";
    NegatedList = 63, Warning, "negated-list", "libvirt negates each value of a variable by itself";
    NotRead = 64, Warning, "not-read", "libvirt documents it but does not read it";
    RangeEndFamily = 65, Warning, "range-end-family", "libvirt reads an IPv6 range end as an IPv4 address";
    DscpIsTos = 66, Warning, "dscp-is-tos", "libvirt compares `dscp` of `ip` with the whole TOS byte";
    EncapProtocolDead = 67, Warning, "encap-protocol-dead", "libvirt compares `encap-protocol` with another number";
    VariableVanishes = 68, Warning, "variable-vanishes", "libvirt drops a test whose value is a variable";
    ArpMaskLeaks = 69, Warning, "arp-mask-leaks", "libvirt gives the target the sender's mask";

    // What fails, or does nothing, when a filter is bound.
    IncompletePair = 80, Warning, "incomplete-pair", "an attribute does nothing without its partner";
    RangeShadowed = 81, Warning, "range-shadowed", "an address range is ignored next to an address";
    EmptyRange = 82, Warning, "empty-range", "a range ends before it starts";
    ContinueInInet = 83, Warning, "continue-in-inet", "libvirt cannot bind `continue` in the inet layer";
    IcmpTypeInOut = 84, Warning, "icmp-type-inout", "an ICMP type in both directions yields no rule";
    ConnlimitOneWay = 85, Warning, "connlimit-one-way", "a connection limit works one way only";
    CannotBind = 86, Warning, "cannot-bind", "libvirt refuses the rule when it is bound";
    EmptyState = 87, Warning, "empty-state", "a list of states is empty";

    // What is likely meant in another way.
    HiddenRule = 100, Warning, "hidden-rule", "an earlier rule hides a rule";
    NeverMatches = 101, Warning, "never-matches", "a rule can never match";
    NoCatchAll = 102, Warning, "no-catch-all", "a filter ends without a catch-all";
    ChainEndAccepts = 103, Warning, "chain-end-accepts", "the end of a chain accepts";
    BackendsDiffer = 104, Warning, "backends-differ", "libvirt's two backends read a rule differently";
    RejectIsDrop = 105, Warning, "reject-is-drop", "`reject` answers nothing in the Ethernet layer";
    DropBothWays = 106, Warning, "drop-both-ways", "a drop in the inet layer acts both ways";
    InOutReceiver = 107, Warning, "inout-receiver", "`inout` is written from the receiver's side";
    ChainWithoutEffect = 108, Warning, "chain-without-effect", "a chain has no effect on a rule of the inet layer";
    ChainPrioritiesDiffer = 109,
        Warning,
        "chain-priorities-differ",
        "filters give one chain different priorities";
    ChainOrder = 110, Warning, "chain-order", "nothing fixes the order of two chains";

    // What a binding and its filters do not agree on.
    MissingFilter = 120, Error, "missing-filter", "a filter that is referred to does not exist";
    MisnamedFilter = 121, Error, "misnamed-filter", "a file holds a filter of another name";
    MissingVariable = 122, Error, "missing-variable", "a variable has no value";
    UnequalLists = 123, Error, "unequal-lists", "lists that are read in step differ in length";
    UnfitValue = 124, Error, "unfit-value", "the value of a variable does not fit the attribute";
    TooLarge = 125, Error, "too-large", "a binding's rules exceed a limit";
    Unsupported = 126, Error, "unsupported", "the datapath lacks a test";
    ReadDifferently = 127, Warning, "read-differently", "libvirt's tools read a variable's value differently";
}

impl Code {
    /// The code as it is printed: `NWF0012`.
    pub fn id(self) -> String {
        self.to_string()
    }

    /// The code of `NWF0012`, `12` or a name, in any case.
    pub fn find(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix("NWF")
            .or_else(|| text.strip_prefix("nwf"))
            .unwrap_or(text);
        let number = bare.parse::<u16>().ok();
        Self::ALL
            .iter()
            .copied()
            .find(|code| Some(*code as u16) == number || code.name().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NWF{:04}", *self as u16)
    }
}

/// The page of all codes, in Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Diagnostics\n\n\
         What `nwfilter-ctl` finds in filters and bindings. Errors refuse a document; warnings name what\n\
         libvirt ignores, changes or reads in another way than it is written, and what is likely a mistake.\n\
         `nwfilter-ctl explain-code NWF0021` prints one entry.\n\n\
         This page is generated; see the test of `diag`.\n\n\
         | code | name | severity | |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| [{code}](#{}) | {} | {} | {} |",
            code.id().to_lowercase(),
            code.name(),
            code.severity().as_str(),
            code.title()
        );
    }
    for code in Code::ALL {
        let _ = write!(
            page,
            "\n## {code}\n\n**{}**: {}\n\n{}",
            code.name(),
            code.title(),
            code.explanation()
        );
    }
    page
}
