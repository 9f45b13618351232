//! What real stacks send through bound ports: connections, large frames, fragments, extension
//! headers; between namespaces and from a virtual machine. Only whether it arrives, not how fast.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod extensions;
mod fragments;
mod holes;
mod stacks;
mod tcp;
mod udp;
mod vm;

use nwfilter_tests::need::Need;

const NEEDS: [Need; 2] = [Need::NetworkNamespace, Need::Program("ip")];
