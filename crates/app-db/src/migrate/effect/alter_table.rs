//! `ALTER TABLE`: every action has a lock of its own, and the strongest counts.

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::effect::touch::{Effect, Link, Reach, Work};
use crate::migrate::words::Words;

/// Reads what follows `ALTER TABLE`.
pub(super) fn read(words: &mut Words<'_>, effect: &mut Effect) {
    words.take("if exists");
    let only = words.take("only");
    let Some(table) = words.name() else {
        return;
    };
    words.take("*");
    if words.take("attach partition") {
        let parent = effect.touch(table, LockMode::ShareUpdateExclusive);
        parent.link(Link::Referenced(LockMode::ShareRowExclusive));
        if let Some(partition) = words.name() {
            let partition = effect.touch(partition, LockMode::AccessExclusive);
            partition.reach(Reach::Tree).work(Work::Scan);
        }
    } else if words.take("detach partition") {
        let partition = words.name();
        let concurrently = words.is("concurrently") || words.is("finalize");
        let mode = if concurrently {
            LockMode::ShareUpdateExclusive
        } else {
            LockMode::AccessExclusive
        };
        effect.touch(table, mode);
        effect.touch_all(partition, LockMode::AccessExclusive);
    } else if words.take("rename to") {
        effect.touch(table.clone(), LockMode::AccessExclusive);
        effect.drops.push(table);
        effect.creates.extend(words.name());
    } else if words.take("set schema") || words.take("rename constraint") {
        effect.touch(table, LockMode::AccessExclusive);
    } else if words.take("rename") {
        let reach = if only { Reach::Alone } else { Reach::Tree };
        effect.touch(table, LockMode::AccessExclusive).reach(reach);
    } else {
        let actions: Vec<Action> = words.split().into_iter().map(action).collect();
        let Some(strongest) = actions.iter().map(|action| action.mode).max() else {
            return;
        };
        for action in actions {
            let reach = if only { Reach::Alone } else { action.reach };
            let touch = effect.touch(table.clone(), strongest).reach(reach);
            touch.work(action.work).links = action.links;
            for (name, mode) in action.others {
                effect.touch(name, mode).reach(Reach::Partitions);
            }
        }
    }
}

/// One action, with the lock that it needs on the table.
struct Action {
    mode: LockMode,
    reach: Reach,
    work: Work,
    links: Vec<Link>,
    /// Other tables that it names.
    others: Vec<(String, LockMode)>,
}

impl Action {
    fn of(mode: LockMode) -> Self {
        Self {
            mode,
            reach: Reach::Alone,
            work: Work::Nothing,
            links: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Extends the action to tables that inherit, or only to partitions.
    fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    fn with(mut self, work: Work) -> Self {
        self.work = work;
        self
    }

    fn linked(mut self, link: Link) -> Self {
        self.links.push(link);
        self
    }
}

fn action(mut words: Words<'_>) -> Action {
    let exclusive = Action::of(LockMode::AccessExclusive);
    if words.take("add") {
        return add(words);
    }
    if words.take("drop") {
        return drop(words);
    }
    if words.take("alter constraint") {
        return exclusive.reaching(Reach::Partitions);
    }
    if words.take("alter") {
        return alter_column(words);
    }
    if words.take("validate constraint") {
        let action = Action::of(LockMode::ShareUpdateExclusive)
            .reaching(Reach::Tree)
            .with(Work::Scan);
        return match words.name() {
            Some(name) => action.linked(Link::Constraint(name, LockMode::RowShare)),
            None => action,
        };
    }
    if words.take_any(&["enable", "disable"]).is_some() {
        words.take_any(&["replica", "always"]);
        let triggers = words.is("trigger");
        return if triggers {
            Action::of(LockMode::ShareRowExclusive).reaching(Reach::Partitions)
        } else {
            exclusive
        };
    }
    if words.take("no inherit") {
        return other(exclusive, &mut words, LockMode::AccessShare);
    }
    if words.take("inherit") {
        return other(exclusive, &mut words, LockMode::ShareUpdateExclusive);
    }
    if words.take("cluster on") || words.take("set without cluster") {
        return Action::of(LockMode::ShareUpdateExclusive);
    }
    if words.take("set") || words.take("reset") {
        if words.is("(") {
            let catalog = words.has("user_catalog_table");
            return if catalog {
                exclusive
            } else {
                Action::of(LockMode::ShareUpdateExclusive)
            };
        }
        let rewrites = ["logged", "unlogged", "tablespace", "access"];
        if rewrites.iter().any(|word| words.is(word)) {
            return exclusive.with(Work::Rewrite);
        }
    }
    exclusive
}

fn other(mut action: Action, words: &mut Words<'_>, mode: LockMode) -> Action {
    action.others.extend(words.name().map(|name| (name, mode)));
    action
}

fn add(mut words: Words<'_>) -> Action {
    if words.take("constraint") {
        words.name();
        return add_constraint(words);
    }
    let constraints = ["check", "unique", "primary", "exclude", "foreign"];
    if constraints.iter().any(|word| words.is(word)) {
        return add_constraint(words);
    }
    words.take("column");
    words.take("if not exists");
    words.name();
    add_column(words)
}

fn add_constraint(mut words: Words<'_>) -> Action {
    let is_valid = !(words.has("not") && words.has("valid"));
    let scan = if is_valid { Work::Scan } else { Work::Nothing };
    if words.take("foreign key") {
        words.group();
        words.take("references");
        let action = Action::of(LockMode::ShareRowExclusive)
            .reaching(Reach::PartitionsAndHeirs)
            .with(scan);
        return other(action, &mut words, LockMode::ShareRowExclusive);
    }
    let action = Action::of(LockMode::AccessExclusive).reaching(Reach::PartitionsAndHeirs);
    if words.is("check") {
        action.reaching(Reach::Tree).with(scan)
    } else if words.has("using") && words.has("index") && !words.is("exclude") {
        action
    } else {
        action.with(Work::Scan)
    }
}

/// Reads what follows the name of a new column.
fn add_column(mut words: Words<'_>) -> Action {
    let mut action = Action::of(LockMode::AccessExclusive).reaching(Reach::Tree);
    let serial = [
        "serial",
        "bigserial",
        "smallserial",
        "serial2",
        "serial4",
        "serial8",
    ];
    let generated = words.has("generated") && (words.has("stored") || words.has("identity"));
    if serial.iter().any(|kind| words.is(kind)) || generated {
        action.work = Work::Rewrite;
    } else if words.has("default") {
        let mut default = words.clone();
        default.skip_past("default");
        action.work = Work::RewriteIfVolatile(default.called());
    } else if ["unique", "primary", "check"]
        .iter()
        .any(|word| words.has(word))
    {
        action.work = Work::Scan;
    }
    if words.skip_past("references") {
        action = other(action, &mut words, LockMode::ShareRowExclusive);
    }
    action
}

fn drop(mut words: Words<'_>) -> Action {
    let action = Action::of(LockMode::AccessExclusive).reaching(Reach::Tree);
    let constraint = words.take("constraint");
    if !constraint {
        words.take("column");
    }
    words.take("if exists");
    match words.name() {
        Some(name) if constraint => {
            action.linked(Link::Constraint(name, LockMode::AccessExclusive))
        }
        Some(name) => action.linked(Link::Column(name, LockMode::AccessExclusive)),
        None => action,
    }
}

fn alter_column(mut words: Words<'_>) -> Action {
    words.take("column");
    let Some(column) = words.name() else {
        return Action::of(LockMode::AccessExclusive);
    };
    let exclusive = Action::of(LockMode::AccessExclusive).reaching(Reach::Tree);
    if words.take("set data type") || words.take("type") {
        let link = Link::Column(column.clone(), LockMode::AccessExclusive);
        let work = if words.has("using") {
            Work::Rewrite
        } else {
            let mut to = words.split().first().map(Words::text).unwrap_or_default();
            if let Some(at) = to.to_ascii_lowercase().find(" collate ") {
                to.truncate(at);
            }
            Work::RewriteForType { column, to }
        };
        return exclusive.with(work).linked(link);
    }
    if words.take("set not null") {
        return exclusive.with(Work::ScanForNull { column });
    }
    if words.take("set statistics") {
        return Action::of(LockMode::ShareUpdateExclusive).reaching(Reach::Tree);
    }
    if words.take("set (") || words.take("reset (") {
        return Action::of(LockMode::ShareUpdateExclusive);
    }
    exclusive
}
