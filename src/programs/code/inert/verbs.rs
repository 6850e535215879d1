//! Words that change something, in code and in SQL.

use super::{is_number, words};

/// Words that change something where whoever is called means it: what an imported module does is known by its names alone.
const VERBS: &[&str] = &[
    "delete",
    "remove",
    "unlink",
    "rmtree",
    "rmdir",
    "drop",
    "truncate",
    "destroy",
    "purge",
    "wipe",
    "erase",
    "kill",
    "terminate",
    "exec",
    "system",
    "spawn",
    "popen",
    "shutdown",
    "reboot",
    "install",
    "upload",
    "publish",
    "deploy",
    "chmod",
    "chown",
    "symlink",
    "rename",
    "sudo",
    "shell",
    "sendmail",
    "send_mail",
    "extractall",
    "commit",
    "migrate",
    "flushall",
    "flushdb",
    "savetxt",
    "to_sql",
    "to_csv",
    "to_excel",
    "put_object",
    "allow_pickle",
    "unlock",
    "revoke",
    "grant",
    "transfer",
    "refund",
    "charge",
    "cancel",
    "disable",
    "rollback",
    "downgrade",
    "reset_",
    "clear_",
    "update_",
    "insert_",
    "write",
    "save",
    "evict",
    "restore",
    "overwrite",
    "replace_",
    "run_cmd",
    "run_command",
    "run_shell",
    "run_bash",
    "run_script",
    "run_sql",
    "run_query",
    "run_migrations",
    "run_process",
    "run_raw",
    "runcmd",
    "check_output",
    "check_call",
];

/// Words that hold such a word, and change nothing: what loses rows of a table in memory, layers of a network, nouns.
const NO_CHANGES: &[&str] = &[
    "drop_duplicates",
    "dropna",
    "dropout",
    "droplevel",
    "reset_index",
    "executor",
    "executors",
    "threadpoolexecutor",
    "processpoolexecutor",
    "executable",
    "execution",
    "execution_time",
    "filesystem",
    "filesystems",
    "ecosystem",
    "systems",
    "installed",
    "published",
    "dropped",
    "removed",
    "deleted",
    "saved",
    "written",
    "writer",
    "pdfwriter",
    "dictwriter",
    "summarywriter",
    "writerow",
    "writerows",
    "writeheader",
    "commits",
    "skill",
    "skills",
    "run_id",
    "run_name",
    "shells",
    "update_layout",
    "update_traces",
    "update_xaxes",
    "update_yaxes",
    "saveable",
    "transferred",
    "discharge",
    "surcharge",
    "disabled",
    "cancelled",
    "remove_nodes_from",
    "remove_edges_from",
    "remove_node",
    "remove_edge",
    "update_page_form_field_values",
    "canceled",
];

/// Whether a word of a text names a change, and stands for more than a part of speech in what is printed.
pub(super) fn names_a_change(text: &str) -> bool {
    words(text).any(|word| {
        let word = word.to_ascii_lowercase();
        VERBS.iter().any(|verb| word.contains(verb)) && !NO_CHANGES.contains(&word.as_str())
    })
}

/// Whether a word is one of those itself.
pub(super) fn is_verb(word: &str) -> bool {
    VERBS.contains(&word.to_ascii_lowercase().as_str())
}

/// What tells that a text speaks to a database, where a method may be a statement.
const DATABASES: &[&str] = &[
    "OBJECTS.",
    "SESSION",
    "MONGO",
    "DB.",
    "DB[",
    "CURSOR",
    "ENGINE",
    "CONNECT",
    "COLLECTION",
    "TABLE(",
    "FIRESTORE",
    "DYNAMO",
    "SUPABASE",
];

/// Statements of SQL that do more than ask.
pub(super) fn changes_data(text: &str) -> bool {
    const STATEMENTS: &[&str] = &[
        "DROP",
        "DELETE",
        "UPDATE",
        "INSERT",
        "ALTER",
        "TRUNCATE",
        "ATTACH",
        "GRANT",
        "REVOKE",
        "REPLACE INTO",
        "FLUSHALL",
        "FLUSHDB",
        "VACUUM",
    ];
    let upper = text.to_ascii_uppercase();
    // `d.update(x)` is no statement where no database is spoken to
    let database = DATABASES.iter().any(|name| upper.contains(name));
    let method = |word: &str| {
        if database {
            return false;
        }
        let at = word.as_ptr().addr() - upper.as_ptr().addr();
        upper.get(..at).is_some_and(|before| before.ends_with('.'))
            && upper.get(at + word.len()..).is_some_and(|behind| behind.starts_with('('))
    };
    words(&upper).any(|word| STATEMENTS.contains(&word) && !method(word))
}

/// Whether a text in Ruby may change what the models of an application hold, or set something going.
pub(in crate::programs) fn changes_models(text: &str) -> bool {
    const ASKING: &[&str] = &[
        "count",
        "size",
        "length",
        "first",
        "last",
        "all",
        "where",
        "pluck",
        "pick",
        "limit",
        "offset",
        "order",
        "find",
        "find_by",
        "exists",
        "any",
        "none",
        "empty",
        "present",
        "blank",
        "sum",
        "average",
        "minimum",
        "maximum",
        "group",
        "joins",
        "includes",
        "select",
        "distinct",
        "ids",
        "id",
        "name",
        "names",
        "email",
        "to_sql",
        "inspect",
        "attributes",
        "column_names",
        "columns",
        "keys",
        "values",
        "map",
        "each",
        "class",
        "table_name",
        "to_a",
        "to_s",
        "to_h",
        "to_i",
        "to_json",
        "as_json",
        "routes",
        "application",
        "config",
        "env",
        "version",
        "root",
        "grep",
        "uniq",
        "sort",
        "sort_by",
        "join",
        "spec",
        "path",
        "valid",
        "errors",
        "full_messages",
        "not",
        "take",
        "explain",
        "reject",
        "compact",
        "flatten",
        "min",
        "max",
        "tally",
        "zone",
        "now",
        "ago",
        "days",
        "created_at",
        "updated_at",
    ];
    let asks = |rest: Option<&str>| {
        rest.and_then(|rest| words(rest).next())
            .is_some_and(|method| ASKING.contains(&method) || is_number(method))
    };
    text.contains(['!', '=', '<', '`'])
        || names_a_change(text)
        || changes_data(text)
        || text.split('.').skip(1).any(|rest| !asks(Some(rest)))
        || text.match_indices("&:").any(|(at, sign)| !asks(text.get(at + sign.len()..)))
}
