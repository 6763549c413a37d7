//! `ganger change`.

use clap::Args;

use super::parse_property;
use crate::{
    cli::Remote,
    control::{ChangeAdded, NewChange, Request},
    exit::{Exit, Failure},
    output,
};

/// Report a change, for schedulers to act on.
#[derive(Args, Debug)]
pub(crate) struct Change {
    /// Paths of the files it touches.
    files: Vec<String>,

    /// Who wrote it.
    #[arg(short, long)]
    author: String,

    /// Who put it into the repository, where that is another person.
    #[arg(long)]
    committer: Option<String>,

    /// The commit message.
    #[arg(short = 'm', long, default_value = "")]
    comments: String,

    /// The branch.
    #[arg(short, long)]
    branch: Option<String>,

    /// The commit.
    #[arg(short, long)]
    revision: Option<String>,

    /// Where the code lives.
    #[arg(long, default_value = "")]
    repository: String,

    /// The project it belongs to.
    #[arg(long, default_value = "")]
    project: String,

    /// The codebase it belongs to.
    #[arg(long, default_value = "")]
    codebase: String,

    /// A word to filter by.
    #[arg(long)]
    category: Option<String>,

    /// A page about it.
    #[arg(long, default_value = "")]
    revlink: String,

    /// When it was made, in seconds since the epoch; now when left out.
    #[arg(long, value_name = "SECONDS")]
    when: Option<i64>,

    /// A property of its builds; a VALUE that is JSON has its type. Can be repeated.
    #[arg(short, long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    properties: Vec<(String, model::Json)>,

    #[command(flatten)]
    remote: Remote,
}

impl Change {
    /// Waits until the change is stored.
    pub(crate) async fn run(self: Box<Self>) -> Result<Exit, Failure> {
        let change = NewChange {
            author: self.author,
            committer: self.committer,
            comments: self.comments,
            files: self.files,
            branch: self.branch,
            revision: self.revision,
            revlink: self.revlink,
            when_timestamp: self.when,
            category: self.category,
            repository: self.repository,
            codebase: self.codebase,
            project: self.project,
            properties: self.properties.into_iter().collect(),
        };
        let added: ChangeAdded =
            self.remote.connect().await?.call(&Request::ChangeAdd(Box::new(change))).await?;
        if self.remote.json {
            output::json(&added)?;
        } else {
            output::text(format_args!("change {} is stored", added.changeid))?;
        }
        Ok(Exit::Ok)
    }
}
