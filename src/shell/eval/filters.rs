//! More of what small filters print: encoders, editors of lines, and what stands in front of them without changing anything.

use regex::bytes::RegexBuilder;

/// The command behind programs that change nothing about what it prints: `env echo x`, `timeout 5 echo x`.
pub(super) fn bare<'a>(argv: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut rest = argv.to_vec();
    for _ in 0..4 {
        let Some((program, words)) = rest.split_first() else { break };
        let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let plain = words.first().is_some_and(|word| !word.starts_with(b"-") && !word.contains(&b'='));
        let skip = match name {
            b"env" | b"command" | b"builtin" | b"exec" | b"nohup" | b"sudo" | b"doas" | b"busybox"
            | b"toybox" | b"setsid" | b"nice" | b"ionice" | b"time"
                if plain =>
            {
                1
            }
            b"timeout" if plain && words.len() > 1 => 2,
            b"stdbuf" => 1 + words.iter().take_while(|word| word.starts_with(b"-")).count(),
            _ => break,
        };
        rest.drain(..skip);
    }
    rest
}

/// Whether what such a command prints costs as much to find out as a small program costs.
pub(super) fn interprets(argv: &[&[u8]]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"sed", b"gsed", b"awk", b"gawk", b"mawk", b"nawk", b"grep", b"egrep", b"perl", b"xargs", b"sh",
        b"bash",
    ];
    argv.iter()
        .take(4)
        .filter_map(|word| word.rsplit(|byte| *byte == b'/').next())
        .any(|name| NAMES.contains(&name))
}

/// The output of a filter of this name.
pub(super) fn output(name: &[u8], args: &[&[u8]], stdin: Option<&[u8]>) -> Option<Vec<u8>> {
    let decodes = args.iter().any(|arg| matches!(*arg, b"-d" | b"-D" | b"--decode" | b"-di" | b"-id"));
    let among = |known: &[&[u8]]| args.iter().all(|arg| known.contains(arg));
    match name {
        b"base64" if !decodes && among(&[b"-", b"-w0", b"-w", b"0", b"--wrap=0"]) => {
            Some(wrapped(&encoded(stdin?), args.is_empty().then_some(76)))
        }
        b"basenc" if decodes && among(&[b"--base64", b"--base64url", b"-d", b"--decode", b"-i", b"-"]) => {
            super::constants::base64(stdin?)
        }
        b"base32" if decodes && among(&[b"-d", b"--decode", b"-i", b"-"]) => base32(stdin?),
        b"basenc" if decodes && among(&[b"--base32", b"-d", b"--decode", b"-i", b"-"]) => base32(stdin?),
        b"basenc" if decodes && among(&[b"--base16", b"-d", b"--decode", b"-i", b"-"]) => hex(stdin?),
        b"openssl"
            if decodes && among(&[b"enc", b"base64", b"-base64", b"-a", b"-A", b"-d"]) && args.len() > 1 =>
        {
            super::constants::base64(stdin?)
        }
        b"python" | b"python3" if args.starts_with(&[b"-m", b"base64"]) && decodes && args.len() <= 4 => {
            super::constants::base64(stdin?)
        }
        b"xxd" if among(&[b"-p", b"-ps"]) && !args.is_empty() => {
            let digits: String = stdin?.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(wrapped(digits.as_bytes(), Some(60)))
        }
        b"dd" if args.iter().all(|arg| arg.starts_with(b"status=") || arg.starts_with(b"bs=")) => {
            stdin.map(<[u8]>::to_vec)
        }
        b"rot13" if args.is_empty() => Some(stdin?.iter().map(rotated).collect()),
        // a format without anything to fill in
        b"date" => match args {
            [format] if !format.contains(&b'%') => Some([format.strip_prefix(b"+")?, b"\n"].concat()),
            _ => None,
        },
        // letters that all of them write alike
        b"iconv" if args.iter().all(|arg| arg.len() < 16) && stdin.is_some_and(<[u8]>::is_ascii) => {
            let narrow =
                |arg: &&[u8]| !arg.windows(2).any(|pair| matches!(pair, b"16" | b"32" | b"-o" | b"EB"));
            if args.iter().all(narrow) { stdin.map(<[u8]>::to_vec) } else { None }
        }
        b"jq" => queried(args, stdin),
        b"sort" => sorted(args, stdin?),
        b"uniq" if args.is_empty() => {
            let mut lines: Vec<&[u8]> = lines(stdin?);
            lines.dedup();
            Some(ended(&lines))
        }
        b"fold" => folded(args, stdin?),
        b"grep" | b"egrep" | b"fgrep" => found_by_grep(name, args, stdin?),
        b"paste" => pasted(args, stdin?),
        b"sed" | b"gsed" => {
            let arguments =
                super::sed::Arguments::read(args).filter(|read| read.files.is_empty() && !read.in_place);
            Some(arguments?.run(stdin?)?.text)
        }
        b"perl" => match args {
            [b"-pe", code] | [b"-p", b"-e", code] => super::sed::substituted_by_perl(code, stdin?),
            _ => None,
        },
        b"awk" | b"gawk" | b"mawk" | b"nawk" => super::awk::output(args, stdin),
        _ => None,
    }
}

fn rotated(byte: &u8) -> u8 {
    match byte {
        b'a'..=b'm' | b'A'..=b'M' => byte + 13,
        b'n'..=b'z' | b'N'..=b'Z' => byte - 13,
        other => *other,
    }
}

/// Lines without their ends.
pub(super) fn lines(input: &[u8]) -> Vec<&[u8]> {
    let text = input.strip_suffix(b"\n").unwrap_or(input);
    if input.is_empty() { Vec::new() } else { text.split(|byte| *byte == b'\n').collect() }
}

/// Lines with an end each.
pub(super) fn ended(lines: &[&[u8]]) -> Vec<u8> {
    let mut out = lines.join(&b'\n');
    if !lines.is_empty() {
        out.push(b'\n');
    }
    out
}

/// `sort` of few lines, as the C locale has it.
fn sorted(args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let mut lines = lines(input);
    lines.sort_unstable();
    match args {
        [] => {}
        [b"-r"] => lines.reverse(),
        [b"-u"] => lines.dedup(),
        _ => return None,
    }
    // others sort letters by language
    let plain = lines.len() < 2 || lines.iter().all(|line| line.iter().all(u8::is_ascii_digit));
    plain.then(|| ended(&lines))
}

fn folded(args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let width = match args {
        [b"-w" | b"-bw", width] | [b"-b", b"-w", width] => width,
        [joined] => joined.strip_prefix(b"-w")?,
        _ => return None,
    };
    let width: usize = std::str::from_utf8(width).ok()?.parse().ok().filter(|width| *width > 0)?;
    let folded: Vec<&[u8]> = lines(input)
        .into_iter()
        .flat_map(|line| line.chunks(width).chain(line.is_empty().then_some(line)))
        .collect();
    let mut out = ended(&folded);
    if !input.ends_with(b"\n") {
        out.pop();
    }
    Some(out)
}

/// `jq -r .` of a string, and `jq -nr` of one: with what jq decodes.
fn queried(args: &[&[u8]], stdin: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut filter = None;
    let (mut raw, mut null) = (false, false);
    for arg in args {
        match *arg {
            b"-r" | b"--raw-output" => raw = true,
            b"-n" | b"--null-input" => null = true,
            b"-nr" | b"-rn" => (raw, null) = (true, true),
            text if filter.is_none() && !text.starts_with(b"-") => filter = Some(text),
            _ => return None,
        }
    }
    let filter = std::str::from_utf8(filter?).ok()?;
    let mut steps = filter.split('|').map(str::trim);
    let first = steps.next()?;
    let source = if first == "." && !null { stdin? } else { first.as_bytes() };
    let mut text: String = serde_json::from_slice(source).ok()?;
    for step in steps {
        match step {
            "." => {}
            "@base64d" => text = String::from_utf8(super::constants::base64(text.as_bytes())?).ok()?,
            "fromjson" => text = serde_json::from_str(&text).ok()?,
            "ascii_downcase" => text.make_ascii_lowercase(),
            _ => return None,
        }
    }
    raw.then(|| format!("{text}\n").into_bytes())
}

fn wrapped(text: &[u8], width: Option<usize>) -> Vec<u8> {
    let Some(width) = width else { return text.to_vec() };
    let mut out = Vec::with_capacity(text.len() + text.len() / width + 1);
    for line in text.chunks(width) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

fn encoded(input: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(input).into_bytes()
}

fn base32(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in input.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xFFFF;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).unwrap_or_default());
        }
    }
    Some(out)
}

fn hex(input: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = input.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// `paste -s`: the lines as one.
fn pasted(args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let delimiter = match args {
        [b"-s"] | [b"-s", b"-"] => b"\t",
        [b"-s", b"-d", delimiter]
        | [b"-s", b"-d", delimiter, b"-"]
        | [b"-sd", delimiter]
        | [b"-sd", delimiter, b"-"]
        | [b"-d", delimiter, b"-s"]
        | [b"-d", delimiter, b"-s", b"-"] => *delimiter,
        [joined] | [joined, b"-"] => joined.strip_prefix(b"-sd")?,
        [b"-s", joined] | [b"-s", joined, b"-"] => joined.strip_prefix(b"-d")?,
        _ => return None,
    };
    let delimiter: &[u8] = match delimiter {
        b"\\0" => b"",
        b"\\n" => b"\n",
        [] => delimiter,
        [one] if *one != b'\\' => delimiter,
        _ => return None,
    };
    let mut out = lines(input).join(delimiter);
    out.push(b'\n');
    Some(out)
}

/// The lines that grep finds, or with `-o` what it finds in them.
fn found_by_grep(name: &[u8], args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let (mut extended, mut fixed) = (name == b"egrep", name == b"fgrep");
    let (mut folds, mut inverted, mut only) = (false, false, false);
    let mut pattern = None;
    for arg in args {
        match arg.strip_prefix(b"-") {
            Some(letters) if !letters.is_empty() && pattern.is_none() => {
                for letter in letters {
                    match letter {
                        b'E' => extended = true,
                        b'F' => fixed = true,
                        b'i' => folds = true,
                        b'v' => inverted = true,
                        b'o' => only = true,
                        b'h' | b'a' | b'e' => {}
                        _ => return None,
                    }
                }
            }
            _ if pattern.is_none() => pattern = Some(*arg),
            _ => return None,
        }
    }
    let pattern = pattern.filter(|pattern| !pattern.contains(&b'\n'))?;
    let regex = if fixed {
        let escaped = regex::escape(std::str::from_utf8(pattern).ok()?);
        RegexBuilder::new(&escaped).unicode(false).case_insensitive(folds).build().ok()?
    } else {
        super::sed::regex(pattern, extended, folds)?
    };
    let lines = lines(input).into_iter().filter(|line| regex.is_match(line) != inverted);
    let found: Vec<&[u8]> = if only {
        let all =
            lines.flat_map(|line| regex.find_iter(line).map(|found| found.as_bytes()).collect::<Vec<_>>());
        all.filter(|found| !found.is_empty()).collect()
    } else {
        lines.collect()
    };
    Some(ended(&found))
}
