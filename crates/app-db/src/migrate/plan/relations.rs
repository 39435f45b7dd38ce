//! The relations that a statement locks: the ones that it names, and the ones that are linked to these.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Error};

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::effect::touch::{Effect, Link, Reach, Touch, Work};
use crate::migrate::plan::catalogue_facts as facts;
use crate::migrate::plan::planned::PlannedRelation;

/// The findings about one statement.
pub(super) struct Relations<'a> {
    client: &'a Client,
    /// The locked relations by their OID.
    found: BTreeMap<u32, Locked>,
}

/// How a relation is locked, and what is done to it.
#[derive(Clone, Copy)]
struct Locked {
    mode: LockMode,
    rewrite: bool,
    scan: bool,
}

impl<'a> Relations<'a> {
    /// The relations of one statement, by name. `created` has the names that earlier statements create.
    pub(super) async fn of(
        client: &'a Client,
        effect: &Effect,
        created: &BTreeSet<String>,
    ) -> Result<Vec<PlannedRelation>, Error> {
        let mut relations = Self {
            client,
            found: BTreeMap::new(),
        };
        let mut planned: Vec<PlannedRelation> = Vec::new();
        for touch in &effect.touches {
            match facts::oid(client, &touch.name).await? {
                Some(oid) => relations.add(oid, touch).await?,
                None => planned.extend(absent(touch, created)),
            }
        }
        planned.dedup_by(|second, first| second.relation == first.relation);
        for (oid, locked) in relations.found {
            if let Some(described) = facts::describe(client, oid).await? {
                planned.push(PlannedRelation {
                    relation: described.name,
                    lock_mode: locked.mode,
                    exists: true,
                    size_bytes: described.size_bytes,
                    rows: described.rows,
                    rewrite: locked.rewrite,
                    scan: locked.scan,
                });
            }
        }
        planned.sort_by(|a, b| a.relation.cmp(&b.relation));
        Ok(planned)
    }

    async fn add(&mut self, oid: u32, touch: &Touch) -> Result<(), Error> {
        let client = self.client;
        let (rewrite, scan) = self.work(oid, &touch.work).await?;
        let locked = Locked {
            mode: touch.mode,
            rewrite,
            scan,
        };
        self.lock(oid, locked);
        let reached = match touch.reach {
            Reach::Name | Reach::Alone => Vec::new(),
            Reach::Tree => facts::related(client, facts::DESCENDANTS, oid).await?,
            Reach::Partitions | Reach::PartitionsAndHeirs => {
                facts::related(client, facts::PARTITIONS, oid).await?
            }
        };
        if touch.reach == Reach::PartitionsAndHeirs && facts::locks_heirs(client).await? {
            let heirs = facts::related(client, facts::DESCENDANTS, oid).await?;
            self.lock_all(heirs, touch.mode);
        }
        for other in &reached {
            self.lock(*other, locked);
        }
        // A view locks what it reads, and so does the refresh of a materialized view.
        if touch.reach != Reach::Name
            && (touch.mode <= LockMode::RowExclusive || touch.work != Work::Nothing)
        {
            let behind = facts::related(client, facts::BEHIND_VIEW, oid).await?;
            let mode = match touch.work {
                Work::Nothing => touch.mode,
                _ => LockMode::AccessShare,
            };
            self.lock_all(behind, mode);
        }
        for link in &touch.links {
            self.follow(oid, link).await?;
            for other in &reached {
                self.follow(*other, link).await?;
            }
        }
        Ok(())
    }

    async fn follow(&mut self, oid: u32, link: &Link) -> Result<(), Error> {
        let client = self.client;
        let (tied, mode) = match link {
            Link::Referenced(mode) => {
                (facts::related(client, facts::REFERENCED, oid).await?, *mode)
            }
            Link::Referencing(mode) => (
                facts::related(client, facts::REFERENCING, oid).await?,
                *mode,
            ),
            Link::Parent(mode) => (facts::related(client, facts::PARENT, oid).await?, *mode),
            Link::Descendants(mode) => (
                facts::related(client, facts::DESCENDANTS, oid).await?,
                *mode,
            ),
            Link::TableOfIndex(mode) => (
                facts::related(client, facts::TABLE_OF_INDEX, oid).await?,
                *mode,
            ),
            Link::OnDelete => {
                let changed = facts::related(client, facts::CHANGED_ON_DELETE, oid).await?;
                self.lock_all(changed, LockMode::RowExclusive);
                let looked_at = facts::related(client, facts::REFERENCING, oid).await?;
                (looked_at, LockMode::RowShare)
            }
            Link::Constraint(name, mode) => (
                facts::named(client, facts::OF_CONSTRAINT, oid, name).await?,
                *mode,
            ),
            Link::Column(name, mode) => (
                facts::named(client, facts::OF_COLUMN, oid, name).await?,
                *mode,
            ),
        };
        self.lock_all(tied, mode);
        Ok(())
    }

    /// Whether the work rewrites the relation, and whether it scans it.
    async fn work(&self, oid: u32, work: &Work) -> Result<(bool, bool), Error> {
        Ok(match work {
            Work::Nothing => (false, false),
            Work::Scan => (false, true),
            Work::Rewrite => (true, false),
            Work::RewriteIfVolatile(functions) => {
                (facts::any_volatile(self.client, functions).await?, false)
            }
            Work::RewriteForType { column, to } => (
                !facts::keeps_values(self.client, oid, column, to).await?,
                false,
            ),
            Work::ScanForNull { column } => (
                false,
                !facts::is_without_null(self.client, oid, column).await?,
            ),
        })
    }

    fn lock_all(&mut self, oids: Vec<u32>, mode: LockMode) {
        for oid in oids {
            let locked = Locked {
                mode,
                rewrite: false,
                scan: false,
            };
            self.lock(oid, locked);
        }
    }

    fn lock(&mut self, oid: u32, locked: Locked) {
        let known = self.found.entry(oid).or_insert(locked);
        known.mode = known.mode.max(locked.mode);
        known.rewrite |= locked.rewrite;
        known.scan |= locked.scan;
    }
}

/// A relation that does not exist. A query also names other things, so in a query only relations count
/// that another pending statement creates.
fn absent(touch: &Touch, created: &BTreeSet<String>) -> Option<PlannedRelation> {
    let is_relation = touch.mode > LockMode::RowShare || created.contains(&touch.name);
    is_relation.then(|| PlannedRelation {
        relation: touch.name.clone(),
        lock_mode: touch.mode,
        exists: false,
        size_bytes: None,
        rows: None,
        rewrite: false,
        scan: false,
    })
}
