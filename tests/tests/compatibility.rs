//! libvirt itself as a judge, of every element, attribute and row of the matrix: a sample in the
//! normal run, everything in the long one (`NWFILTER_TEST_LONG=1`) and in `cargo xtask compatibility`.

use nwfilter_tests::{compat, need};

#[test]
fn libvirt_and_we_agree_or_know_why() {
    if !need::met(&compat::NEEDS) {
        return;
    }
    let long = std::env::var_os("NWFILTER_TEST_LONG").is_some();
    let all = compat::catalogue();
    let batches = if long { all } else { compat::sample(all) };
    let report = compat::run(&batches).unwrap();
    println!("{:?}", report.all);
    assert!(
        report.unexplained.is_empty(),
        "{} differences:\n{}",
        report.unexplained.len(),
        report.unexplained.join("\n")
    );
    assert!(report.all.verdicts > 2_000);
    if long {
        assert_eq!(report.unused(), [], "explain nothing");
    }
}
