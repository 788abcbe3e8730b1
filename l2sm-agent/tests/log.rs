//! The object of the feature `log`: the verifier takes its programs, and what they say of a drop arrives
//! in `tracing`. Without the feature there is nothing to test.
#![cfg(feature = "log")]
#![expect(clippy::unwrap_used, reason = "a test: a panic is a failure at its place")]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use aya::{
    EbpfLoader, TestRunOptions,
    programs::{SchedClassifier, TestRun as _, Xdp},
};
use aya_log::EbpfLogger;
use l2sm_agent::datapath::LOG_OBJECT;
use l2sm_common::abi;

/// Where the log goes.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_programs_load_and_a_drop_is_told() {
    let kept = Kept::default();
    let writer = kept.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let mut object = EbpfLoader::new().load(LOG_OBJECT).unwrap();
    let mut logger = EbpfLogger::init(&mut object).unwrap();
    for (_index, name) in abi::PROGS {
        let program: &mut SchedClassifier = object.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
    }
    let xdp: &mut Xdp = object.program_mut(abi::UPLINK_XDP).unwrap().try_into().unwrap();
    xdp.load().unwrap();

    // Loopback is no port: dropped as `no_port`, reason 1.
    let program: &mut SchedClassifier =
        object.program_mut(abi::PORT_RX).unwrap().try_into().unwrap();
    let frame = [2; 60];
    program
        .test_run(TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() })
        .unwrap();
    logger.flush();

    let said = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let line = "dropped: reason 1, slot 0, program 1, device 1, length 60";
    assert!(said.contains(line), "{said:?}");
}
