//! Checks `docs/`, writes what is made of the code, and builds the book.

use clap::Args;

use crate::{
    run::{cargo, command, run, say},
    setup,
};

/// `cargo xtask docs`
#[derive(Debug, Args)]
pub struct Docs {
    /// Write `docs/reference/` anew, as the code says it
    #[arg(long)]
    write: bool,
    /// Also build the book into target/book; installs mdBook, which takes some minutes once
    #[arg(long)]
    book: bool,
}

impl Docs {
    /// Checks all that needs no root. The tutorials need it: `cargo xtask test` runs them.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut test = cargo();
        test.args(["test", "--quiet", "--package", "sillon", "--test", "docs", "--"]);
        test.args(["pages::", "reference::"]);
        if self.write {
            test.env("SILLON_WRITE_DOCS", "1");
        }
        run(&mut test)?;
        if self.book {
            setup::book()?;
            run(command("mdbook").env("PATH", setup::path()?).args(["build", "docs"]))?;
            say("the book is in target/book");
        }
        Ok(())
    }
}
