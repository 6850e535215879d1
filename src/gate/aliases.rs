//! Names that the same text gives to other places: `ln -s / r; rm -rf r/*`, `mount --bind / /mnt`.

use super::place::{Base, Path, Place};
use crate::shell::{Invocation, RedirectKind, Value};

/// Links that are kept; a text that makes more is not an ordinary one, and the newest count.
const MOST: usize = 64;

/// Learns the links and bind mounts that a command makes.
pub(super) fn learn(invocation: &Invocation, base: &Base, links: &mut Vec<(Path, Path)>) {
    let Some((program, arguments)) = invocation.argv.split_first() else { return };
    let Some(program) = program.as_str().map(|word| word.rsplit('/').next().unwrap_or(word)) else { return };
    if program == "mknod" {
        return learn_node(arguments, base, links);
    }
    if !matches!(program, "ln" | "mount" | "cp") {
        return;
    }
    let options: Vec<&str> =
        arguments.iter().filter_map(Value::as_str).filter(|word| word.starts_with('-')).collect();
    let short =
        |letter: char| options.iter().any(|option| !option.starts_with("--") && option.contains(letter));
    let long = |name: &str| options.iter().any(|option| option.starts_with(name));
    let makes = match program {
        "ln" | "cp" if short('s') || long("--symb") => true,
        // a second name of the same file, which what is written to one is written to
        "ln" | "cp" => {
            let linked = program == "ln" || short('l') || long("--link");
            linked && arguments.iter().any(|word| word.prefix().starts_with(b"/"))
        }
        _ => long("--bind") || long("--rbind") || long("--move") || short('B') || short('R') || short('o'),
    };
    if !makes {
        return;
    }
    let operands: Vec<&Value> = arguments
        .iter()
        .filter(|word| word.prefix().first() != Some(&b'-') && !is_mount_option(word))
        .collect();
    let (from, to) = match operands.as_slice() {
        [from, to] => (*from, *to),
        _ => return,
    };
    let resolve =
        |value: &Value| Place::resolve(value, base).readings.into_iter().next().map(|reading| reading.path);
    let (Some(source), Some(name)) = (resolve(from), resolve(to)) else { return };
    if source.is_loose() || name.is_loose() || name.components.is_empty() {
        return;
    }
    if links.len() >= MOST {
        links.remove(0);
    }
    links.push((name, source));
}

/// `mknod x b 8 0`: whatever its name, it is a disk.
fn learn_node(arguments: &[Value], base: &Base, links: &mut Vec<(Path, Path)>) {
    let mut operands = arguments.iter().filter(|word| word.prefix().first() != Some(&b'-'));
    let (Some(name), Some(kind)) = (operands.next(), operands.next()) else { return };
    let named = Place::resolve(name, base).readings.into_iter().next().map(|reading| reading.path);
    let Some(named) = named.filter(|path| !path.is_loose()) else { return };
    if kind.as_known() == Some(b"b") && links.len() < MOST {
        links.push((named, Path::literal("/dev/sda")));
    }
}

/// Learns the names under which a command puts a program: `cp /bin/rm ./x`, `ln -s /bin/rm x`.
pub(super) fn learn_program(invocation: &Invocation, base: &Base, names: &mut Vec<(Path, Value)>) {
    let Some((program, arguments)) = invocation.argv.split_first() else { return };
    let Some(program) = program.as_str().map(|word| word.rsplit('/').next().unwrap_or(word)) else { return };
    let written = match program {
        "ln" | "cp" | "install" | "mv" => None,
        // `cat /bin/rm > x`
        "cat" => invocation.redirects.iter().find(|redirect| redirect.kind == RedirectKind::Write),
        _ => return,
    };
    let operands = arguments.iter().filter(|word| word.prefix().first() != Some(&b'-'));
    let operands: Vec<&Value> = operands.chain(written.map(|redirect| &redirect.target)).collect();
    let [from, to] = operands.as_slice() else { return };
    let resolved = Place::resolve(to, base).readings.into_iter().next().map(|reading| reading.path);
    let Some(name) = resolved.filter(|path| !path.is_loose()) else { return };
    if names.len() < MOST {
        // Into a directory it keeps its name.
        if let Some(kept) = from.as_str().and_then(|path| path.rsplit('/').next()) {
            let mut inside = name.clone();
            inside.push(kept.as_bytes());
            names.push((inside, (*from).clone()));
        }
        names.push((name, (*from).clone()));
    }
}

/// Learns what `hash -p PATH NAME` makes of a name.
pub(super) fn learn_hashed(invocation: &Invocation, hashed: &mut Vec<(Vec<u8>, Value)>) {
    let [program, option, path, names @ ..] = invocation.argv.as_slice() else { return };
    let (Some("hash"), Some(option)) = (program.as_str(), option.as_str()) else { return };
    // `-p/bin/rm ls` and `-p /bin/rm ls`
    let attached = option.strip_prefix("-p").filter(|path| !path.is_empty()).map(Value::known);
    let (path, names) = match attached {
        Some(attached) => (attached, invocation.argv.get(2..).unwrap_or_default()),
        None if option == "-p" => (path.clone(), names),
        None => return,
    };
    let room = MOST.saturating_sub(hashed.len());
    let names = names.iter().filter_map(Value::as_known).take(room);
    hashed.extend(names.map(|name| (name.to_vec(), path.clone())));
}

fn is_mount_option(word: &Value) -> bool {
    word.as_str().is_some_and(|text| {
        matches!(text, "bind" | "rbind" | "rw" | "ro") || text.contains("bind,") || text.contains(",bind")
    })
}
