//! What a monitor tells people.

use crate::{ChannelName, FileDigest, HeaderDigest, ReleaseId, RepoName, Timestamp};
use serde::Serialize;
use std::fmt;

/// Something that people should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Finding {
    /// The head has fewer entries than it had.
    Shrunk {
        /// Before.
        before: u64,
        /// Now.
        now: u64,
    },
    /// The entries do not lead to the signed root: another history is shown than before, or to others.
    Forked {
        /// Entries of the head.
        size: u64,
    },
    /// The log shows no statement for an entry, or another one.
    Unexplained {
        /// The entry.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// The signer let two different packages out under one name.
    TwoPackages {
        /// `NAME-VERSION-RELEASE.ARCH.rpm`.
        name: String,
        /// The headers.
        headers: Vec<HeaderDigest>,
    },
    /// A release is served whose document is not in the log.
    ReleaseNotLogged {
        /// Which.
        release: ReleaseId,
    },
    /// A package is served that the log does not know.
    NotLogged {
        /// Which.
        nevra: String,
        /// Its header.
        header: HeaderDigest,
    },
    /// A channel shows metadata that no release in the log names.
    MetadataNotLogged {
        /// `channel/repo/arch`.
        place: String,
        /// SHA-256 of its `repomd.xml`.
        repomd: FileDigest,
    },
    /// Metadata lists a package that its release does not.
    NotListed {
        /// `channel/repo/arch`.
        place: String,
        /// Which, by the metadata's word.
        nevra: String,
    },
    /// The same, and a key of the repository's has signed its header, of which the log has no summary.
    SignedNotLogged {
        /// `channel/repo/arch`.
        place: String,
        /// Which, by the metadata's word.
        nevra: String,
        /// Its header.
        header: HeaderDigest,
    },
    /// Nothing new was released for too long: somebody may hold releases back.
    Stale {
        /// The newest release.
        release: ReleaseId,
        /// Its publish instant.
        issued: Timestamp,
    },
    /// Too few of the reader's witnesses have cosigned the head.
    NoQuorum {
        /// Who has, of how many.
        why: String,
    },
    /// The witnesses' word about the head is too old: somebody may hold newer ones back.
    StaleHead {
        /// By when a quorum had seen no newer one.
        seen: Timestamp,
    },
    /// The clock of this machine is behind what was signed: to it nothing is ever too old.
    ClockBehind {
        /// The time of a release, or of the witnesses' word.
        said: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// The keys or the policy are others than the log said before.
    KeysChanged {
        /// The entry.
        index: u64,
        /// What is other, one clause each.
        changes: Vec<String>,
    },
    /// A key is shown to clients that the log does not know, or knows otherwise.
    KeyNotLogged {
        /// Its label.
        label: String,
    },
    /// A channel has pointed for long where the log does not say that it points.
    ChannelNotLogged {
        /// Which.
        channel: ChannelName,
        /// Where it points.
        release: ReleaseId,
    },
    /// A channel was moved to a release whose document is not in the log.
    MovedNowhere {
        /// The entry.
        index: u64,
        /// Which.
        channel: ChannelName,
        /// Where it is said to point.
        release: ReleaseId,
    },
    /// Packages in different repositories have one name.
    OneName {
        /// File name.
        name: String,
        /// Where they are.
        repos: Vec<RepoName>,
    },
    /// A channel was moved.
    ChannelMoved {
        /// The entry.
        index: u64,
        /// Which.
        channel: ChannelName,
        /// Where it pointed.
        from: Option<ReleaseId>,
        /// Where it points.
        to: ReleaseId,
        /// Who did it, by the repository's word.
        actor: String,
    },
    /// A rebuilder that the policy does not list was let in to work, or turned away.
    RebuilderDecided {
        /// The entry.
        index: u64,
        /// Which.
        rebuilder: String,
        /// Who runs it.
        operator: String,
        /// Whether it was let in.
        is_in: bool,
        /// Who decided, by the repository's word.
        actor: String,
    },
    /// Two people set findings aside.
    Waiver {
        /// The entry.
        index: u64,
    },
    /// A rebuilder got something else.
    Differs {
        /// The entry.
        index: u64,
        /// Who.
        rebuilder: String,
        /// The file.
        name: String,
    },
}

impl Finding {
    /// Whether it must not be; the others are to be known only.
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::Shrunk { .. }
            | Self::Forked { .. }
            | Self::Unexplained { .. }
            | Self::TwoPackages { .. }
            | Self::ReleaseNotLogged { .. }
            | Self::NotLogged { .. }
            | Self::MetadataNotLogged { .. }
            | Self::NotListed { .. }
            | Self::SignedNotLogged { .. }
            | Self::Stale { .. }
            | Self::NoQuorum { .. }
            | Self::StaleHead { .. }
            | Self::ClockBehind { .. }
            | Self::Waiver { .. }
            | Self::KeysChanged { .. }
            | Self::KeyNotLogged { .. }
            | Self::ChannelNotLogged { .. }
            | Self::MovedNowhere { .. } => true,
            Self::OneName { .. }
            | Self::ChannelMoved { .. }
            | Self::RebuilderDecided { .. }
            | Self::Differs { .. } => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shrunk { before, now } => {
                write!(f, "the log has shrunk from {before} to {now} entries")
            }
            Self::Forked { size } => write!(
                f,
                "the log has forked: its entries do not lead to the root of the head over {size}"
            ),
            Self::Unexplained { index, why } => write!(f, "entry {index}: {why}"),
            Self::TwoPackages { name, headers } => {
                let (count, name) = (headers.len(), printable(name));
                write!(f, "{count} different packages are called {name}")
            }
            Self::OneName { name, repos } => {
                let repos: Vec<_> = repos.iter().map(ToString::to_string).collect();
                let (name, repos) = (printable(name), repos.join(" and "));
                write!(f, "{repos} have different packages called {name}")
            }
            Self::ReleaseNotLogged { release } => {
                write!(f, "release {release} is served and not in the log")
            }
            Self::NotLogged { nevra, header } => write!(
                f,
                "{nevra} (header {header}) is served, and the log has no summary of it"
            ),
            Self::MetadataNotLogged { place, repomd } => write!(
                f,
                "{place} shows a repomd.xml ({repomd}) that no release in the log names"
            ),
            Self::NotListed { place, nevra } => write!(
                f,
                "{place} lists {}, which its release does not",
                printable(nevra)
            ),
            Self::SignedNotLogged {
                place,
                nevra,
                header,
            } => write!(
                f,
                "{place} lists {} (header {header}): it is signed with a key of the repository's, and the log has \
                 no summary of it",
                printable(nevra)
            ),
            Self::Stale { release, issued } => {
                write!(f, "the newest release is {release} of {issued}")
            }
            Self::NoQuorum { why } => write!(f, "the head of the log: {why}"),
            Self::StaleHead { seen } => {
                write!(
                    f,
                    "no quorum of witnesses has seen the head of the log since {seen}"
                )
            }
            Self::ClockBehind { said, now } => write!(
                f,
                "the clock of this machine is behind: the repository's word is of {said}, and it says {now}"
            ),
            Self::KeysChanged { index, changes } => {
                write!(f, "entry {index}: {}", printable(&changes.join("; ")))
            }
            Self::KeyNotLogged { label } => write!(
                f,
                "the key {} is shown as the log does not know it",
                printable(label)
            ),
            Self::ChannelNotLogged { channel, release } => write!(
                f,
                "channel {channel} points to release {release}, and the log does not say so"
            ),
            Self::MovedNowhere {
                index,
                channel,
                release,
            } => write!(
                f,
                "entry {index}: channel {channel} was moved to a release {release} that is not in the log"
            ),
            Self::ChannelMoved {
                index,
                channel,
                from,
                to,
                actor,
            } => {
                let from = from.map_or_else(|| "nothing".to_owned(), |from| from.to_string());
                let actor = printable(actor);
                write!(
                    f,
                    "entry {index}: {actor} moved channel {channel} from {from} to {to}"
                )
            }
            Self::RebuilderDecided {
                index,
                rebuilder,
                operator,
                is_in,
                actor,
            } => {
                let done = if *is_in { "let in" } else { "turned away" };
                let [rebuilder, operator, actor] =
                    [rebuilder, operator, actor].map(|one| printable(one));
                write!(
                    f,
                    "entry {index}: {actor} {done} rebuilder {rebuilder} of {operator}"
                )
            }
            Self::Waiver { index } => write!(f, "entry {index}: two people waived findings"),
            Self::Differs {
                index,
                rebuilder,
                name,
            } => write!(
                f,
                "entry {index}: {} got another {}",
                printable(rebuilder),
                printable(name)
            ),
        }
    }
}

/// Words of statements must not steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
