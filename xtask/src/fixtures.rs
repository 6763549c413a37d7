//! Recording the protocol fixtures again.

use anyhow::Result;

use crate::tools;

pub(crate) fn run() -> Result<()> {
    tools::run("make test vectors", &mut tools::command("python3", &["protocol-fixtures/make_vectors.py"]))?;
    tools::run("record conversations", &mut tools::command("python3", &["protocol-fixtures/record.py"]))
}
