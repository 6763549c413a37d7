//! A stock worker starts, connects, and is gone afterwards.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use testkit::worker::{StockWorker, WorkerKind, WorkerOptions};

#[test]
fn a_stock_worker_connects_and_stops_with_its_handle() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let venv = WorkerKind::NEWEST.venv().unwrap();
    let mut worker =
        StockWorker::start(WorkerKind::NEWEST, &venv, &WorkerOptions::new(port, "w1", "pa'ss\\")).unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    connection.write_all(b"").unwrap();
    assert!(worker.exited().unwrap().is_none(), "{}", worker.log());
    let basedir = worker.basedir().to_path_buf();
    worker.signal(testkit::worker::Signal::TERM).unwrap();
    assert!(worker.wait(Duration::from_secs(20)).is_ok());
    drop(worker);
    assert!(!basedir.exists());
}
