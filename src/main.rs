//! The `mpq` command.

fn main() {}
