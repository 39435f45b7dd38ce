//! The parts of an effect.

use crate::migrate::effect::lock_mode::LockMode;

/// What a statement does to relations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::migrate) struct Effect {
    pub(in crate::migrate) touches: Vec<Touch>,
    /// The relations that it creates, as it names them.
    pub(in crate::migrate) creates: Vec<String>,
    /// The relations that it drops.
    pub(in crate::migrate) drops: Vec<String>,
    /// Whether it runs code that its text does not show: `DO`, `CALL`, `DROP .. CASCADE`.
    pub(in crate::migrate) opaque: bool,
}

/// One relation that a statement names.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::migrate) struct Touch {
    /// As the statement names it.
    pub(in crate::migrate) name: String,
    pub(in crate::migrate) mode: LockMode,
    pub(in crate::migrate) reach: Reach,
    pub(in crate::migrate) links: Vec<Link>,
    pub(in crate::migrate) work: Work,
}

/// Which related relations are locked in the same mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::migrate) enum Reach {
    /// No other relation, not even the tables behind a view.
    Name,
    Alone,
    /// Also partitions and tables that inherit.
    Tree,
    /// Also partitions.
    Partitions,
    /// Also partitions. Since PostgreSQL 18 tables that inherit are locked too.
    PartitionsAndHeirs,
}

/// Other tables that are locked because they are tied to this one.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::migrate) enum Link {
    /// The tables that its foreign keys point to.
    Referenced(LockMode),
    /// The tables whose foreign keys point to it.
    Referencing(LockMode),
    /// The tables whose foreign keys point to it, on DELETE: they are read, or changed if the key
    /// says so.
    OnDelete,
    /// The table that this constraint points to, if it is a foreign key.
    Constraint(String, LockMode),
    /// The tables at the other end of a foreign key with this column.
    Column(String, LockMode),
    /// The table that it is a partition of.
    Parent(LockMode),
    /// Its partitions, and the tables that inherit from it.
    Descendants(LockMode),
    /// The table that it is an index of.
    TableOfIndex(LockMode),
}

/// How much of a table is read or written while it is locked.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::migrate) enum Work {
    Nothing,
    /// The server scans it.
    Scan,
    /// The server rewrites it.
    Rewrite,
    /// The server rewrites it if one of these functions is volatile.
    RewriteIfVolatile(Vec<String>),
    /// The server rewrites it unless the column's values stay as they are under the new type.
    RewriteForType {
        column: String,
        to: String,
    },
    /// The server scans it unless a constraint shows that the column has no NULL.
    ScanForNull {
        column: String,
    },
}

impl Effect {
    pub(in crate::migrate) fn touch(
        &mut self,
        name: impl Into<String>,
        mode: LockMode,
    ) -> &mut Touch {
        let index = self.touches.len();
        self.touches.push(Touch {
            name: name.into(),
            mode,
            reach: Reach::Alone,
            links: Vec::new(),
            work: Work::Nothing,
        });
        &mut self.touches[index]
    }

    pub(in crate::migrate) fn touch_all(
        &mut self,
        names: impl IntoIterator<Item = String>,
        mode: LockMode,
    ) {
        for name in names {
            self.touch(name, mode);
        }
    }
}

impl Touch {
    pub(in crate::migrate) fn reach(&mut self, reach: Reach) -> &mut Self {
        self.reach = reach;
        self
    }

    pub(in crate::migrate) fn link(&mut self, link: Link) -> &mut Self {
        self.links.push(link);
        self
    }

    pub(in crate::migrate) fn work(&mut self, work: Work) -> &mut Self {
        self.work = work;
        self
    }
}
